//! TLS: whom to believe that a server is the one it says it is.
//!
//! Always verified, names and dates included; there is no switch for less. Must not know what is sent under it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore, crypto::ring};

/// Who may vouch for a server: one of them has to have signed its certificate.
#[derive(Clone)]
pub struct Authorities(Arc<ClientConfig>);

impl Authorities {
    /// Those whose certificates stand in `pem`, and no others.
    ///
    /// # Errors
    ///
    /// [`InvalidAuthorities`] where there is none, or one that cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, InvalidAuthorities> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| InvalidAuthorities::Unreadable)?;
            roots.add(certificate).map_err(|_| InvalidAuthorities::Unreadable)?;
        }
        if roots.is_empty() { Err(InvalidAuthorities::Missing) } else { Ok(Self::of(roots)) }
    }

    /// Those that the system trusts, read once; `SSL_CERT_FILE` and `SSL_CERT_DIR` say where, as for other programs.
    pub(super) fn of_the_system() -> io::Result<Self> {
        static READ: OnceLock<Authorities> = OnceLock::new();
        if let Some(read) = READ.get() {
            return Ok(read.clone());
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = "this system trusts no authority: install ca-certificates, or give the link one of its own";
            return Err(untrusted(why));
        }
        Ok(READ.get_or_init(|| Self::of(roots)).clone())
    }

    /// Speaks TLS on `stream` with the server that is named `host`.
    pub(super) async fn secure<S>(&self, host: &str, stream: S) -> io::Result<Stream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| untrusted("no certificate can bear this name"))?;
        let stream = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }

    fn of(roots: RootCertStore) -> Self {
        // Named: what a process has as its default is for others to choose, or to forget.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Authorities")
    }
}

/// What is wrong with the certificates of authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidAuthorities {
    /// There is no certificate in it.
    #[error("there is no certificate in this text: give those of the authorities, in PEM")]
    Missing,
    /// One is there that cannot be read.
    #[error("one of these certificates cannot be read: give those of the authorities, in PEM")]
    Unreadable,
}

/// Whether a handshake failed because the server's certificate is not to be believed.
pub(super) fn is_untrusted(error: &io::Error) -> bool {
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    matches!(source, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)))
}

fn untrusted(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, rustls::Error::General(why.to_owned()))
}

/// A stream that is encrypted, or is not.
pub(super) enum Stream<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Self::Tls($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $call
            }
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(context, into))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(context))
    }
}
