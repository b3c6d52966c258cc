//! Server: a `redis-server` of a test's own, on a free loopback port and in a folder that goes with it.
//!
//! Owns the process from its start to its end: no server outlives the test that started it, not even one that is killed.
//! Must not know what the test keeps in it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tempfile::TempDir;

use crate::certificates::Certificates;
use crate::client::{Client, PASSWORD, Reply, USER};

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    settings: Builder,
    port: u16,
    certificates: Option<Certificates>,
    // Above the folder that it writes to, which goes last.
    process: Mutex<Option<Process>>,
    folder: TempDir,
}

impl Server {
    /// Starts a server that keeps nothing on disk and asks for no password.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server with settings of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The port on 127.0.0.1. With TLS, that of TLS: there is no other.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients connect, with the password if there is one.
    pub fn url(&self) -> String {
        let (scheme, host) = if self.certificates.is_some() { ("rediss", "localhost") } else { ("redis", "127.0.0.1") };
        let password = self.settings.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("{scheme}://{password}{host}:{}", self.port)
    }

    /// The path of the server's unix socket. It speaks no TLS, but asks for passwords.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// The authority that signed the server's certificate, in PEM.
    pub fn authority(&self) -> &[u8] {
        &self.certificates.as_ref().expect("a server that was started with `tls`").authority
    }

    /// A connection that may do everything, and that neither TLS nor passwords stand in the way of.
    pub fn client(&self) -> Client {
        Client::connect(&self.socket()).unwrap_or_else(|error| panic!("the server takes no client: {error}"))
    }

    /// What `redis-cli` would do: one command over a connection of its own. An error reply fails the test.
    pub fn ask<A: AsRef<[u8]>>(&self, words: &[A]) -> Reply {
        self.client().call(words).unwrap_or_else(|error| {
            let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word.as_ref())).collect();
            panic!("{}: {error}", words.join(" "))
        })
    }

    /// A field of `INFO`.
    pub fn info(&self, field: &str) -> Option<String> {
        let info = self.ask(&["INFO", "all"]);
        info.text().lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned()))
    }

    /// Stops the process where it stands: sockets stay open and nobody answers.
    pub fn pause(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).expect("the server can be stopped");
        // The signal is on its way only: wait until it has come.
        let halted = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), halted).expect("the server is a child of this process");
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("the server can be resumed");
    }

    /// Ends the process at once and without a word, as a crash does. Its port refuses from now on.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Kills the server if it runs, and starts it again on the same port and with the same settings. Without
    /// [`append_only`](Builder::append_only) it has forgotten everything.
    pub fn restart(&self) {
        let mut process = self.process();
        *process = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Process::start(self) {
                Ok(started) => break *process = Some(started),
                // Something else may hold the port for a moment.
                Err(Refusal::PortTaken(_)) if Instant::now() < deadline => thread::sleep(POLL),
                Err(refusal) => panic!("{refusal}"),
            }
        }
    }

    /// Makes this server a read-only copy of `primary`, and waits until it is one.
    pub fn replica_of(&self, primary: &Server) {
        self.ask(&["CONFIG", "SET", "masteruser", USER]);
        self.ask(&["CONFIG", "SET", "masterauth", PASSWORD]);
        self.ask(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        self.wait("the replica has caught up", || self.info("master_link_status").as_deref() == Some("up"));
    }

    /// Makes a replica a primary again.
    pub fn promote(&self) {
        self.ask(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Waits until something holds, for as long as a test can spare.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "in vain waited until {what}; the server's log ends:\n{}", self.log());
            thread::sleep(POLL);
        }
    }

    /// Whether it was not killed.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    fn pid(&self) -> Pid {
        let process = self.process();
        let running = process.as_ref().expect("a server that was not killed");
        Pid::from_child(&running.server)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> String {
        last_lines(&self.folder.path().join("redis.log"))
    }
}

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    password: Option<String>,
    tls: bool,
    append_only: bool,
    /// The primary that it watches over as a sentinel, by name and port.
    watches: Option<(String, u16)>,
    options: Vec<String>,
}

impl Builder {
    /// The password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.option("requirepass", &[password])
    }

    /// A user by the rules of an ACL: `user("app", "on >secret ~app:* +get")`. `user("default", "off")` leaves no other.
    pub fn user(self, name: &str, rules: &str) -> Self {
        let words: Vec<_> = std::iter::once(name).chain(rules.split_whitespace()).collect();
        self.option("user", &words)
    }

    /// Speaks TLS and nothing else on its port, by a certificate of an authority made for it.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Keeps what was written on disk, for the next start of the same server.
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// Watches over this primary, as one of three sentinels, and keeps no values.
    pub(crate) fn sentinel_of(mut self, primary: &str, port: u16) -> Self {
        self.watches = Some((primary.to_owned(), port));
        self
    }

    /// How many bytes the server may use, and what it gives up beyond, such as `noeviction` or `allkeys-lru`.
    pub fn memory(self, bytes: u64, policy: &str) -> Self {
        self.option("maxmemory", &[&bytes.to_string()]).option("maxmemory-policy", &[policy])
    }

    /// Any other setting of `redis.conf`.
    pub fn option(mut self, name: &str, words: &[&str]) -> Self {
        self.options.push(format!("--{name}"));
        self.options.extend(words.iter().map(|&word| word.to_owned()));
        self
    }

    /// Starts the server and waits until it answers.
    pub fn start(self) -> Server {
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix("donjon-redis-").tempdir().expect("a folder can be made");
            let certificates = self.tls.then(|| Certificates::make(folder.path()));
            let settings = self.clone();
            let server = Server { settings, port: free_port(), folder, certificates, process: Mutex::new(None) };
            match Process::start(&server) {
                Ok(process) => {
                    *server.process() = Some(process);
                    return server;
                }
                Err(Refusal::PortTaken(_)) => {}
                Err(refusal) => panic!("{refusal}"),
            }
        }
        panic!("found no free port in {TRIES} tries");
    }

    /// What the server is told by a file that it writes to, as a sentinel does.
    fn sentinel_arguments(&self, server: &Server, primary: &str, port: u16) -> Vec<String> {
        let folder = server.folder.path();
        let mut lines = vec![
            format!("bind 127.0.0.1\nport {}\ndir {}", server.port, folder.display()),
            format!("unixsocket {}", server.socket().display()),
            format!("user {USER} on >{PASSWORD} ~* &* +@all"),
            format!("sentinel monitor {primary} 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds {primary} 1000"),
            format!("sentinel failover-timeout {primary} 5000"),
        ];
        let mut options = self.options.iter().peekable();
        while let Some(name) = options.next() {
            let mut line = name.trim_start_matches("--").to_owned();
            while let Some(word) = options.next_if(|word| !word.starts_with("--")) {
                line = format!("{line} {word}");
            }
            lines.push(line);
        }
        let file = folder.join("sentinel.conf");
        fs::write(&file, lines.join("\n") + "\n").expect("the server's folder can be written");
        vec![file.to_str().expect("the temporary folder has a name in UTF-8").to_owned(), "--sentinel".to_owned()]
    }

    fn arguments(&self, server: &Server) -> Vec<String> {
        if let Some((primary, port)) = &self.watches {
            return self.sentinel_arguments(server, primary, *port);
        }
        let path = |path: &Path| path.to_str().expect("the temporary folder has a name in UTF-8").to_owned();
        let port = server.port.to_string();
        let (plain, tls) = if self.tls { ("0", &*port) } else { (&*port, "0") };
        let append_only = if self.append_only { "yes" } else { "no" };
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--port", plain, "--save", "", "--appendonly", append_only]
                .into_iter()
                // What was answered is on disk, also where the server is killed at once: by default it may put writing off by two
                // seconds.
                .chain(["--appendfsync", "always"])
                // A replica gets its copy at once, where the default waits for others to come.
                .chain(["--daemonize", "no", "--repl-diskless-sync-delay", "0"])
                .chain(["--user", USER, "on", &format!(">{PASSWORD}"), "~*", "&*", "+@all"])
                .map(str::to_owned)
                .collect();
        arguments.extend(["--dir".into(), path(server.folder.path())]);
        arguments.extend(["--unixsocket".into(), path(&server.socket())]);
        if let Some(certificates) = &server.certificates {
            arguments.extend(["--tls-port".into(), tls.into(), "--tls-auth-clients".into(), "no".into()]);
            arguments.extend(["--tls-ca-cert-file".into(), path(&certificates.authority_file)]);
            arguments.extend(["--tls-cert-file".into(), path(&certificates.certificate_file)]);
            arguments.extend(["--tls-key-file".into(), path(&certificates.key_file)]);
        }
        arguments.extend(self.options.iter().cloned());
        arguments
    }
}

/// The server's process, and one that ends it should this one die first.
#[derive(Debug)]
struct Process {
    server: Child,
    guard: Child,
}

impl Process {
    fn start(server: &Server) -> Result<Self, Refusal> {
        let log = server.folder.path().join("redis.log");
        let file = File::create(&log).expect("the server's folder can be written");
        let child = spawn(&server.settings.arguments(server), &file)?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &child.id().to_string()])
            .arg(server.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell can be started");
        let mut process = Self { server: child, guard };

        let deadline = Instant::now() + PATIENCE;
        loop {
            // The socket lies in the server's own folder: who answers there is no other test's server.
            let pong = Client::connect(&server.socket()).and_then(|mut client| client.call(&["PING"]));
            let Err(error) = pong else { return Ok(process) };
            if let Some(status) = process.server.try_wait().expect("the server is a child of this process") {
                let log = last_lines(&log);
                let taken = log.contains("Address already in use");
                return Err(if taken { Refusal::PortTaken(log) } else { Refusal::Ended(status, log) });
            }
            if Instant::now() > deadline {
                return Err(Refusal::Silent(error, last_lines(&log)));
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard first: once the server is waited for, its number may belong to somebody else.
        for child in [&mut self.guard, &mut self.server] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads until the process that holds the other end is gone, which may be by a signal that nobody can catch.
const GUARD: &str = r#"trap "" HUP INT TERM; read -r _; kill -KILL "$1"; rm -rf "$2""#;

const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);
const TRIES: u32 = 20;

/// Why a server did not start.
#[derive(Debug)]
enum Refusal {
    PortTaken(String),
    Ended(ExitStatus, String),
    Silent(String, String),
    Missing(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PortTaken(log) => write!(f, "the server's port is taken:\n{log}"),
            Self::Ended(status, log) => write!(f, "the server ended at its start ({status}); its log ends:\n{log}"),
            Self::Silent(error, log) => write!(f, "the server does not answer ({error}); its log ends:\n{log}"),
            Self::Missing(programs) => write!(
                f,
                "these tests need a Redis or Valkey server, and there is no {programs}: on Debian and Ubuntu, \
                 apt-get install redis-server; or name a server by REDIS_SERVER=/path/to/redis-server"
            ),
        }
    }
}

/// Starts the first program that is there.
fn spawn(arguments: &[String], log: &File) -> Result<Child, Refusal> {
    let named = std::env::var("REDIS_SERVER").ok();
    let programs = named.map_or_else(|| vec!["redis-server".into(), "valkey-server".into()], |named| vec![named]);
    for program in &programs {
        let output = || Stdio::from(log.try_clone().expect("a file can be shared"));
        let child =
            Command::new(program).args(arguments).stdin(Stdio::null()).stdout(output()).stderr(output()).spawn();
        match child {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("{program} cannot be started: {error}"),
        }
    }
    Err(Refusal::Missing(programs.join(" and no ")))
}

/// A port that nobody listens on, nor on the one that the nodes of a cluster would talk over, below those that systems hand out to
/// the near end of connections.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    std::iter::repeat_with(|| fastrand::u16(10_000..22_000))
        .find(|&port| is_free(port) && is_free(port + 10_000))
        .expect("the search has no end")
}

/// Waits until something holds that is about several servers.
pub(crate) fn wait_until(what: &str, patience: Duration, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        thread::sleep(POLL * 10);
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
