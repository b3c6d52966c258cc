//! A process with a view of the tier of its own, driven one step at a time: nothing happens between two steps but what a test
//! does there.

use std::time::Duration;

use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::lease::{Filling, Lease};
use donjon_core::remote::look::{Look, Step, Want};
use donjon_core::remote::{Remote, Storing};
use donjon_test_redis::{Client, Server};

use crate::wire::ask;

/// The namespace of all processes.
pub const NAMESPACE: &str = "app";

pub struct Process {
    pub remote: Remote<String>,
    client: Client,
    now: Moment,
}

/// What a look-up comes to, where a process has to do something itself.
#[derive(Debug)]
pub enum Found {
    Value(String),
    Stale(String, Lease<String>),
    Load(Lease<String>),
    Later(Box<Look<String>>, Duration),
}

impl Found {
    pub fn value(self) -> String {
        if let Self::Value(text) = self { text } else { panic!("no value: {self:?}") }
    }

    pub fn lease(self) -> Lease<String> {
        if let Self::Load(lease) = self { lease } else { panic!("no lease: {self:?}") }
    }

    pub fn waits(&self) -> bool {
        matches!(self, Self::Later(..))
    }
}

impl Process {
    /// The process of this number, on a server.
    pub fn new(number: u128, server: &Server) -> Self {
        let namespace = Namespace::new(NAMESPACE).expect("the namespace is one");
        let config = Config { early: Early::OFF, load_timeout: Duration::from_secs(30), ..Config::default() };
        let remote = Remote::new(namespace, &config, 1 << 20, Seed(number << 64 | number));
        Self { remote, client: server.client(), now: Moment::from_millis(1_000) }
    }

    /// Looks a key up for a caller that can load, to the point where it has a value, a lease, or to wait.
    pub fn look(&mut self, key: &str) -> Found {
        self.look_for(key, Want { tags: Some([].into()), ..Want::default() })
    }

    pub fn look_for(&mut self, key: &str, want: Want) -> Found {
        let step = self.remote.look(Key::new(key).expect("the key is one"), want, self.now);
        self.advance(step)
    }

    /// What a tagged load asks for.
    pub fn look_tagged(&mut self, key: &str, tags: &[&str]) -> Found {
        self.look_for(key, Want { tags: Some(tags.iter().map(|&tag| tag.into()).collect()), ..Want::default() })
    }

    /// Goes on with a look-up that waited.
    pub fn wake(&mut self, waited: Found) -> Found {
        let Found::Later(look, span) = waited else { panic!("nobody waits: {waited:?}") };
        self.now = self.now.after(span);
        self.advance(look.slept())
    }

    /// Stores what was loaded, to last a minute.
    pub fn fill(&mut self, lease: Lease<String>, text: &str) -> Filled {
        self.fill_as(lease, text, &storing(60.0, 0.0, &[]))
    }

    pub fn fill_as(&mut self, lease: Lease<String>, text: &str, storing: &Storing) -> Filled {
        let clock = self.clock();
        match lease.fill(Payload::json(text.to_owned()), storing, self.now, clock) {
            Filling::Done(filled) => filled,
            Filling::Send(sent, calls) => {
                let replies = self.send(&calls);
                sent.replied(Ok(replies), self.now)
            }
        }
    }

    /// Loads and stores a key that is missing.
    pub fn load(&mut self, key: &str, text: &str) {
        let lease = self.look(key).lease();
        assert_eq!(self.fill(lease, text), Filled::Stored);
    }

    pub fn renew(&mut self, lease: &Lease<String>) -> bool {
        let renewal = lease.renewal().expect("a lease on a placeholder");
        self.send(&[renewal]) == [Reply::Int(1)]
    }

    pub fn set(&mut self, key: &str, text: &str, storing: &Storing) {
        let (noting, calls) = self.remote.note(&storing.tags);
        let replies = self.send(&calls);
        let notes = noting.replied(replies).expect("the tables can be read");
        let clock = self.clock();
        let key = Key::new(key).expect("the key is one");
        let call = self.remote.set(key, &Payload::json(text.to_owned()), storing, &notes, clock);
        assert!(matches!(*self.send(&[call.expect("the value fits")]), [Reply::Bytes(_)]));
    }

    pub fn delete(&mut self, key: &str) {
        let calls = self.remote.delete(Key::new(key).expect("the key is one"));
        self.send(&calls);
    }

    /// Sends away the load of a key that is under way in this process.
    pub fn detach(&mut self, key: &str) {
        self.remote.detach(Key::new(key).expect("the key is one"));
    }

    pub fn invalidate_tag(&mut self, tag: &str) {
        let calls = self.remote.move_tags(&[tag]);
        assert_eq!(self.send(&calls), [Reply::Int(1)]);
    }

    /// Sends commands one after the other, as a pipeline would.
    pub fn send(&mut self, calls: &[Call]) -> Vec<Reply> {
        calls.iter().map(|call| ask(&mut self.client, call)).collect()
    }

    pub fn clock(&mut self) -> Moment {
        let time = self.client.call(&["TIME"]).expect("the server tells the time");
        let part = |index: usize| time.list()[index].text().parse::<u64>().expect("a number");
        Moment::from_nanos((part(0) * 1_000_000 + part(1)) * 1_000)
    }

    fn advance(&mut self, mut step: Step<String>) -> Found {
        loop {
            step = match step {
                Step::Send(pending, calls) => {
                    let replies = self.send(&calls);
                    let clock = self.clock();
                    pending.replied(Ok(replies), self.now, clock)
                }
                Step::Done(payload) => return Found::Value(text(&payload)),
                Step::Stale(payload, lease) => return Found::Stale(text(&payload), lease),
                Step::Load(lease) => return Found::Load(lease),
                Step::Sleep(look, span) => return Found::Later(look, span),
                step => panic!("a process that looks up one key at a time never meets {step:?}"),
            };
        }
    }
}

/// How a value is stored: seconds fresh, seconds of grace, tags.
pub fn storing(ttl: f64, grace: f64, tags: &[&str]) -> Storing {
    Storing {
        ttl: Ttl::from_secs(ttl).expect("a time to live"),
        grace: if grace == 0.0 { Grace::NONE } else { Grace::from_secs(grace).expect("a grace") },
        tags: tags.iter().map(|&tag| tag.into()).collect(),
    }
}

fn text(payload: &Payload) -> String {
    String::from_utf8_lossy(&payload.bytes).into_owned()
}
