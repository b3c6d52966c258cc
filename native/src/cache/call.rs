//! Call: the future of a builder that is awaited.

use std::pin::Pin;

/// The future of a builder that is awaited.
pub type Call<'a, O> = Pin<Box<dyn Future<Output = O> + Send + 'a>>;

/// Makes a builder one that is awaited: its `run` is what happens then.
macro_rules! awaited {
    ($builder:ident => $output:ty) => {
        impl<'a> std::future::IntoFuture for $builder<'a> {
            type Output = $output;
            type IntoFuture = crate::cache::call::Call<'a, Self::Output>;

            fn into_future(self) -> Self::IntoFuture {
                Box::pin(self.run())
            }
        }
    };
}

/// The options of a builder that says for how long a value is kept.
macro_rules! options {
    (ttl) => {
        /// How long it is fresh. Default: what the cache was built with, 5 minutes if nothing was said.
        pub fn ttl(mut self, ttl: impl Into<crate::cache::terms::Span>) -> Self {
            self.wanted.ttl = Some(ttl.into());
            self
        }
    };
    (ttl, grace, tags) => {
        crate::cache::call::options!(ttl);

        /// How long after that it may be served stale, while one caller loads anew or when that fails. Default: not at all.
        ///
        /// What was invalidated is never served, in its grace or out of it.
        pub fn grace(mut self, grace: impl Into<crate::cache::terms::Span>) -> Self {
            self.wanted.grace = Some(grace.into());
            self
        }

        /// Names by which it can be invalidated along with others; up to 64. Default: none.
        pub fn tags<N: Into<String>>(mut self, tags: impl IntoIterator<Item = N>) -> Self {
            self.wanted.tags.extend(tags.into_iter().map(Into::into));
            self
        }
    };
}

pub(super) use {awaited, options};
