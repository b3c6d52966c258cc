//! The servers and the proxy do what other tests rely on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use donjon_test_redis::{Answer, Cluster, Direction, Proxy, Reply, Rogue, Sentinels, Server};

#[test]
fn a_server_keeps_what_a_foreign_client_writes() {
    let server = Server::start();
    server.ask(&["RPUSH", "list", "a", "b"]);
    server.ask(&[b"SET".as_slice(), b"key", b"\xff\r\n"]);

    assert_eq!(server.ask(&["GET", "key"]).bytes(), Some(b"\xff\r\n".as_slice()));
    assert_eq!(server.ask(&["GET", "other"]), Reply::Nil);
    assert_eq!(server.ask(&["LRANGE", "list", "0", "-1"]).list().len(), 2);
    assert!(server.client().call(&["GET", "list"]).unwrap_err().starts_with("WRONGTYPE"));
}

#[test]
fn a_client_that_tracks_is_told_once_of_what_others_change() {
    let server = Server::start();
    let mut client = server.client();
    client.track().expect("the server tracks");
    assert_eq!(client.call(&["GET", "mine"]), Ok(Reply::Nil));
    assert_eq!(client.call(&["GET", "theirs"]), Ok(Reply::Nil));
    client.call(&["SET", "mine", "1"]).expect("the server takes what it is given");
    server.ask(&["SET", "theirs", "1"]);
    server.ask(&["SET", "theirs", "2"]);
    client.call(&["PING"]).expect("the server lives");
    let told = ["invalidate", "theirs"].map(|word| word.as_bytes().to_vec());
    let [word, key] = told.map(Reply::Text);
    assert_eq!(client.pushed(), [Reply::List(vec![word, Reply::List(vec![key])])]);
    assert_eq!(client.pushed(), []);
}

#[test]
fn a_server_with_a_password_takes_no_other() {
    let server = Server::builder().password("p@ss word").start();

    assert!(said(server.port(), "PING").starts_with("-NOAUTH"));
    assert!(said(server.port(), "AUTH other").starts_with("-WRONGPASS"));
    assert!(said(server.port(), "AUTH 'p@ss word'").starts_with("+OK"));
    assert_eq!(server.ask(&["PING"]).text(), "PONG");
}

#[test]
fn users_may_do_what_their_rules_say() {
    let server = Server::builder().user("app", "on >secret ~app:* +get").user("default", "off").start();

    assert!(said(server.port(), "PING").starts_with("-NOAUTH"));
    let mut app = connect(server.port());
    assert_eq!(ask(&mut app, "AUTH app secret"), "+OK\r\n");
    assert_eq!(ask(&mut app, "GET app:key"), "$-1\r\n");
    assert!(ask(&mut app, "GET other").starts_with("-NOPERM"));
}

#[test]
fn a_server_with_tls_speaks_nothing_else_on_its_port() {
    let server = Server::builder().tls().start();

    assert!(server.authority().starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert!(server.url().starts_with("rediss://localhost:"));
    assert!(!said(server.port(), "PING").starts_with('+'));
}

#[test]
fn a_paused_server_answers_when_it_is_resumed() {
    let server = Server::start();
    let mut client = connect(server.port());
    server.pause();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    client.write_all(b"PING\r\n").unwrap();

    assert!(client.read(&mut [0; 64]).is_err());
    server.resume();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(read(&mut client), "+PONG\r\n");
}

#[test]
fn a_killed_server_refuses_and_comes_back_on_its_port() {
    let server = Server::builder().append_only().start();
    server.ask(&["SET", "key", "value"]);
    let forgetful = Server::start();
    forgetful.ask(&["SET", "key", "value"]);

    server.kill();
    forgetful.kill();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.restart();
    forgetful.restart();

    assert_eq!(said(server.port(), "GET key"), "$5\r\nvalue\r\n");
    assert_eq!(said(forgetful.port(), "GET key"), "$-1\r\n");
}

#[test]
fn a_replica_follows_its_primary_until_it_is_promoted() {
    let (primary, replica) = (Server::builder().password("secret").start(), Server::start());
    primary.ask(&["SET", "key", "value"]);
    replica.replica_of(&primary);

    assert_eq!(said(replica.port(), "GET key"), "$5\r\nvalue\r\n");
    assert!(said(replica.port(), "SET key other").starts_with("-READONLY"));
    replica.promote();
    assert_eq!(said(replica.port(), "SET key other"), "+OK\r\n");
}

#[test]
fn a_full_server_takes_nothing_more() {
    let server = Server::builder().memory(3 << 20, "noeviction").start();
    let mut client = server.client();
    let fill = |key: usize| client.call(&["SET".to_owned(), key.to_string(), "x".repeat(100_000)]);
    let refused = (0..100).map(fill).find_map(Result::err).expect("100 values of 100 kB are more than 3 MB");

    assert!(refused.starts_with("OOM"), "{refused}");
}

#[test]
fn no_server_outlives_its_test() {
    let server = Server::start();
    let port = server.port();
    let folder = server.socket().parent().unwrap().to_owned();
    drop(server);

    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!folder.exists());
}

#[test]
fn a_proxy_forwards_until_it_cuts() {
    let (server, proxy) = behind_proxy();
    let mut client = connect(proxy.port());
    assert_eq!(ask(&mut client, "PING"), "+PONG\r\n");
    proxy.cut();

    assert_eq!(read(&mut client), "");
    assert_eq!(said(proxy.port(), "PING"), "+PONG\r\n");
    assert_eq!(proxy.connections(), 2);
    server.kill();
    assert_eq!(said(proxy.port(), "PING"), "");
}

#[test]
fn a_proxy_cuts_in_the_middle_of_a_reply() {
    let (server, proxy) = behind_proxy();
    proxy.cut_after(Direction::Replies, 3);
    let mut client = connect(proxy.port());

    assert_eq!(ask(&mut client, "INCR n"), ":1\r");
    assert_eq!(read(&mut client), "");
    assert_eq!(ask(&mut connect(proxy.port()), "INCR n"), ":2\r\n");
    proxy.cut_after(Direction::Replies, 0);
    assert_eq!(ask(&mut connect(proxy.port()), "INCR n"), "");
    assert_eq!(server.ask(&["GET", "n"]).text(), "3");
}

#[test]
fn a_proxy_holds_a_direction_and_delivers_it_later() {
    let (server, proxy) = behind_proxy();
    let mut client = connect(proxy.port());
    proxy.hold(Direction::Replies);
    client.write_all(b"INCR n\r\n").unwrap();
    server.wait("the request has come", || server.ask(&["GET", "n"]) != Reply::Nil);
    proxy.hold(Direction::Requests);
    client.write_all(b"INCR n\r\n").unwrap();

    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(client.read(&mut [0; 64]).is_err());
    assert_eq!(server.ask(&["GET", "n"]).text(), "1");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    proxy.release(Direction::Replies);
    assert_eq!(read(&mut client), ":1\r\n");
    proxy.release(Direction::Requests);
    assert_eq!(read(&mut client), ":2\r\n");
}

#[test]
fn a_proxy_delivers_late() {
    let (_server, proxy) = behind_proxy();
    let mut client = connect(proxy.port());
    let late = Duration::from_millis(30);
    proxy.delay(Direction::Requests, late);
    let begun = Instant::now();

    assert_eq!(ask(&mut client, "PING"), "+PONG\r\n");
    assert!(begun.elapsed() >= late);
}

#[test]
fn a_proxy_swallows_a_reply_and_leaves_its_connection_open() {
    let (server, proxy) = behind_proxy();
    let mut client = connect(proxy.port());
    proxy.swallow();
    client.write_all(b"INCR n\r\n").unwrap();
    server.wait("the request has come", || server.ask(&["GET", "n"]) != Reply::Nil);
    client.write_all(b"INCR n\r\n").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();

    assert!(client.read(&mut [0; 64]).is_err());
    assert_eq!(ask(&mut connect(proxy.port()), "PING"), "+PONG\r\n");
}

#[test]
fn a_rogue_answers_by_its_rule_and_is_honest_otherwise() {
    let server = Server::start();
    let rogue = Rogue::before(&server, |words| match words[0].as_slice() {
        b"GET" => Answer::error("LOADING not yet"),
        b"PING" => Answer::HonestAfter(b">1\r\n+news\r\n".to_vec()),
        b"QUIT" => Answer::Last(b"$4294967296\r\nabc".to_vec()),
        b"LRANGE" => Answer::nested(3),
        _ => Answer::Honest,
    });
    let mut client = connect(rogue.port());
    let mut says = |command: &str| {
        let words: Vec<_> = command.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        ask(&mut client, format!("*{}\r\n{}", words.len(), words.concat()).trim_end())
    };

    assert_eq!(says("RPUSH list a b"), ":2\r\n");
    assert_eq!(says("SMEMBERS none"), "*0\r\n");
    assert_eq!(says("LINDEX list 1"), "$1\r\nb\r\n");
    assert_eq!(says("GET key"), "-LOADING not yet\r\n");
    assert_eq!(says("PING"), ">1\r\n+news\r\n+PONG\r\n");
    assert_eq!(says("LRANGE list 0 -1"), "*1\r\n*1\r\n*1\r\n:1\r\n");
    assert!(says("HELLO 3").starts_with('%'));
    assert_eq!(says("QUIT"), "$4294967296\r\nabc");
    assert_eq!(read(&mut client), "");
    assert_eq!(rogue.connections(), 1);
}

const PATIENCE: Duration = Duration::from_secs(10);

fn behind_proxy() -> (Server, Proxy) {
    let server = Server::start();
    let proxy = Proxy::to(server.port());
    (server, proxy)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server takes connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket has a read time-out");
    stream
}

fn said(port: u16, command: &str) -> String {
    ask(&mut connect(port), command)
}

/// One short command and its short reply, which may end too early.
fn ask(stream: &mut TcpStream, command: &str) -> String {
    stream.write_all(format!("{command}\r\n").as_bytes()).expect("the server takes commands");
    read(stream)
}

fn read(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 256];
    let count = stream.read(&mut bytes).unwrap_or_else(|error| match error.kind() {
        std::io::ErrorKind::ConnectionReset => 0,
        _ => panic!("no reply: {error}"),
    });
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn a_cluster_is_whole_and_a_slot_moves_with_its_keys() {
    let cluster = Cluster::start();
    let slot = cluster.slot("k");
    cluster.ask("k", &["SET", "k", "v"]);
    let (from, to) = (cluster.owner(slot), cluster.other(slot));
    cluster.open(slot, to);
    cluster.carry(&["k"], to);
    assert!(from.client().call(&["GET", "k"]).unwrap_err().starts_with("ASK "));
    cluster.close(slot, to);
    assert!(from.client().call(&["GET", "k"]).unwrap_err().starts_with("MOVED "));
    assert_eq!(cluster.ask("k", &["GET", "k"]).text(), "v");
}

#[test]
fn a_replica_of_a_cluster_takes_over_when_it_is_told_to_and_when_its_primary_is_gone() {
    let cluster = Cluster::start_with_replicas();
    let slot = cluster.slot("k");
    let first = cluster.owner(slot);
    let second = cluster.hand_over(first);
    assert!(second.has(slot));
    cluster.settle();
    second.kill();
    first.wait("it is a primary again", || first.has(slot));
}

#[test]
fn sentinels_name_another_primary_when_theirs_is_gone() {
    let watched = Sentinels::start();
    let former = watched.primary();
    former.kill();
    watched.wait_for_another(former);
    assert!(watched.primary().is_running());
}
