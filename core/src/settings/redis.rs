//! Which Redis to talk to, and as whom.
//!
//! Owns the shape of a Redis URL and the secrecy of what is in it; `many` has what is different where the URL names many servers.
//! Must not know how to connect.
//! Invariant: neither `Debug`, nor `Display`, nor an error shows a password or any part of a URL that could not be read.
//!
//! Read by hand: the usual crate brings Unicode tables for host names that no Redis has, which would outweigh everything
//! else in a browser, and its errors and `Debug` would still have to be kept from showing what is in a URL.

mod many;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use many::Login;

use crate::key::Namespace;

/// Text that is shown nowhere: `Debug` and `Display` give `***`. Overwritten when dropped, so far as safe code can.
///
/// # Examples
///
/// ```
/// use donjon_core::settings::Secret;
///
/// let password = Secret::from("hunter2".to_owned());
/// assert_eq!(format!("{password} {password:?}"), "*** ***");
/// assert_eq!(password.expose(), "hunter2");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself: for whoever sends it to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(HIDDEN)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = core::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        core::hint::black_box(&bytes);
    }
}

/// Where a Redis listens, which of its databases is meant, and who asks.
///
/// # Examples
///
/// ```
/// use donjon_core::settings::RedisTarget;
///
/// let target = RedisTarget::parse("rediss://alice:p%40ss@cache.example:6380/2")?;
/// assert_eq!(target.password().map(|password| password.expose()), Some("p@ss"));
/// assert_eq!(target.to_string(), "rediss://alice:***@cache.example:6380/2");
/// assert_eq!(target.url().expose(), "rediss://alice:p%40ss@cache.example:6380/2");
/// # Ok::<(), donjon_core::settings::InvalidRedisUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisTarget {
    pub(super) address: RedisAddress,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) db: u32,
    pub(super) of_sentinels: Login,
}

/// Where a Redis listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisAddress {
    /// At a host and port.
    Tcp {
        /// A name or an address; an IPv6 address without its brackets.
        host: String,
        /// The port, 6379 where none was given.
        port: u16,
        /// Whether to speak TLS, with the certificate verified.
        tls: bool,
    },
    /// At a socket in the file system.
    Unix {
        /// The absolute path of the socket.
        path: String,
    },
    /// On many servers that share the keys.
    Cluster {
        /// Host and port of some of them, at least one: these know all.
        seeds: Vec<(String, u16)>,
        /// Whether all of them speak TLS.
        tls: bool,
    },
    /// Where sentinels say that it is at the moment.
    Sentinel {
        /// Host and port of each of them, at least one; the port is 26379 where none was given.
        sentinels: Vec<(String, u16)>,
        /// What they call it.
        primary: String,
        /// Whether it and the sentinels speak TLS.
        tls: bool,
    },
}

impl RedisAddress {
    /// Whether one command can ask for all that is in a namespace: on one server, and in a cluster where it is in braces.
    pub fn has_together(&self, namespace: &Namespace) -> bool {
        !matches!(self, Self::Cluster { .. }) || namespace.is_in_braces()
    }
}

impl RedisTarget {
    /// Reads a URL: `redis://[user][:password]@host[:port][/db]`, `rediss://…` for TLS, `unix:///path[?db=…]` for a socket.
    ///
    /// `redis+cluster://host[:port][,host[:port]…]` is a cluster, of which some nodes are named, and
    /// `redis+sentinel://host[:port][,host[:port]…]/name[/db]` what these sentinels call `name`; both also with `rediss`. The options
    /// `sentinel_username` and `sentinel_password` are for the sentinels, which are asked without a name where they are left out.
    ///
    /// User and password are percent-decoded. Host, port and db may be left out (localhost, 6379, 0); IPv6 addresses stand in
    /// brackets. `redis+unix` is `unix`; the options `db`, and for sockets `user` and `pass`, are read, and others refused.
    ///
    /// # Errors
    ///
    /// [`InvalidRedisUrl`], which says what is wrong and shows nothing of the URL.
    pub fn parse(url: &str) -> Result<Self, InvalidRedisUrl> {
        let (scheme, rest) = url.split_once("://").ok_or(InvalidRedisUrl::Scheme)?;
        if url.contains(|one: char| one == '#' || one.is_whitespace() || one.is_control()) {
            return Err(InvalidRedisUrl::Letter);
        }
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let mut target = match scheme.to_ascii_lowercase().as_str() {
            "redis" => Self::parse_tcp(rest, false)?,
            "rediss" => Self::parse_tcp(rest, true)?,
            "unix" | "redis+unix" => Self::parse_unix(rest)?,
            "redis+cluster" => Self::parse_cluster(rest, false)?,
            "rediss+cluster" => Self::parse_cluster(rest, true)?,
            "redis+sentinel" => Self::parse_sentinel(rest, false)?,
            "rediss+sentinel" => Self::parse_sentinel(rest, true)?,
            _ => return Err(InvalidRedisUrl::Scheme),
        };
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let socket = matches!(target.address, RedisAddress::Unix { .. });
            let sentinel = matches!(target.address, RedisAddress::Sentinel { .. });
            match option.split_once('=').ok_or(InvalidRedisUrl::Option)? {
                ("db", number) => target.db = parse_db(number)?,
                ("user" | "username", name) if socket => target.username = part(name)?,
                ("pass" | "password", text) if socket => target.password = part(text)?.map(Secret),
                ("sentinel_username", name) if sentinel => target.of_sentinels.username = part(name)?,
                ("sentinel_password", text) if sentinel => target.of_sentinels.password = part(text)?.map(Secret),
                _ => return Err(InvalidRedisUrl::Option),
            }
        }
        if target.db != 0 && matches!(target.address, RedisAddress::Cluster { .. }) {
            return Err(InvalidRedisUrl::ClusterDb);
        }
        Ok(target)
    }

    /// Where it listens.
    pub fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// Who asks, where the server knows its users by name.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password, if it wants one.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The number of the database.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// Whether TLS is spoken.
    pub fn is_tls(&self) -> bool {
        match self.address {
            RedisAddress::Unix { .. } => false,
            RedisAddress::Tcp { tls, .. } | RedisAddress::Cluster { tls, .. } | RedisAddress::Sentinel { tls, .. } => {
                tls
            }
        }
    }

    /// The whole URL, password included, percent-encoded wherever that could matter.
    pub fn url(&self) -> Secret {
        let username = self.username.as_deref().map(|name| encoded(name, "")).unwrap_or_default();
        let password = self.password.as_ref().map(|password| encoded(password.expose(), ""));
        Secret(self.written(&username, password.as_deref()))
    }

    fn parse_tcp(rest: &str, tls: bool) -> Result<Self, InvalidRedisUrl> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, password, place) = parse_user(authority)?;
        let (host, port) = parse_place(place, DEFAULT_PORT)?;
        let db = if path.is_empty() { 0 } else { parse_db(path)? };
        let address = RedisAddress::Tcp { host, port, tls };
        Ok(Self { address, username, password, db, of_sentinels: Login::default() })
    }

    fn parse_unix(rest: &str) -> Result<Self, InvalidRedisUrl> {
        let start = rest.find('/').ok_or(InvalidRedisUrl::Path)?;
        let (username, password, place) = parse_user(&rest[..start])?;
        let path = decoded(&rest[start..]).ok_or(InvalidRedisUrl::Path)?;
        if !place.is_empty() || path.len() < 2 || path.contains('\0') {
            return Err(InvalidRedisUrl::Path);
        }
        let address = RedisAddress::Unix { path };
        Ok(Self { address, username, password, db: 0, of_sentinels: Login::default() })
    }

    fn written(&self, username: &str, password: Option<&str>) -> String {
        self.written_with(username, password, |secret| encoded(secret.expose(), ""))
    }

    /// `shown` says how the password of the sentinels is written.
    fn written_with(&self, username: &str, password: Option<&str>, shown: impl Fn(&Secret) -> String) -> String {
        let user = match password {
            Some(password) => format!("{username}:{password}@"),
            None if username.is_empty() => String::new(),
            None => format!("{username}@"),
        };
        let scheme = if self.is_tls() { "rediss" } else { "redis" };
        match &self.address {
            RedisAddress::Tcp { host, port, .. } => format!("{scheme}://{user}{}/{}", place(host, *port), self.db),
            RedisAddress::Cluster { seeds, .. } => format!("{scheme}+cluster://{user}{}", many::places(seeds)),
            RedisAddress::Sentinel { sentinels, primary, .. } => {
                let start = format!("{scheme}+sentinel://{user}{}/{primary}/{}", many::places(sentinels), self.db);
                start + &self.of_sentinels.options(shown)
            }
            RedisAddress::Unix { path } => {
                let user = if username.is_empty() { String::new() } else { format!("&user={username}") };
                let password = password.map(|password| format!("&pass={password}")).unwrap_or_default();
                format!("unix://{}?db={}{user}{password}", encoded(path, "/"), self.db)
            }
        }
    }
}

impl fmt::Display for RedisTarget {
    /// The URL with the password hidden; also the name, where there is none, since some tools take it for the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |_: &Secret| HIDDEN.to_owned();
        let shown = match (&self.username, &self.password) {
            (Some(name), Some(_)) => self.written_with(&encoded(name, ""), Some(HIDDEN), hidden),
            (Some(_), None) => self.written_with(HIDDEN, None, hidden),
            (None, password) => self.written_with("", password.as_ref().map(|_| HIDDEN), hidden),
        };
        out.write_str(&shown)
    }
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RedisTarget({self})")
    }
}

impl Default for RedisTarget {
    /// `redis://localhost:6379/0`.
    fn default() -> Self {
        let address = RedisAddress::Tcp { host: "localhost".to_owned(), port: DEFAULT_PORT, tls: false };
        Self { address, username: None, password: None, db: 0, of_sentinels: Login::default() }
    }
}

/// What is wrong with a Redis URL. Shows nothing of it: what cannot be read may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRedisUrl {
    /// It begins with no scheme, or another's.
    #[error(
        "a Redis URL begins with `redis://`, `rediss://` (TLS), `unix://`, `redis+cluster://` or `redis+sentinel://` (`rediss+…` with TLS)"
    )]
    Scheme,
    /// It contains what no URL may.
    #[error("a Redis URL has no spaces and no `#`; in a password, write `%20` and `%23`")]
    Letter,
    /// User or password are not percent-encoded.
    #[error(
        "user and password of a Redis URL are percent-encoded UTF-8: write `%` as `%25`, `/` as `%2F`, `@` as `%40`"
    )]
    User,
    /// The host is no name and no address.
    #[error(
        "the host of a Redis URL is a name, an IPv4 address, or an IPv6 address in brackets; in a password, write `/` as `%2F`"
    )]
    Host,
    /// The port is no port.
    #[error("the port of a Redis URL is a number from 1 to 65535; in a password, write `/` as `%2F`")]
    Port,
    /// The database is no number.
    #[error("the database of a Redis URL is a number such as `/0`; in a password, write `/` as `%2F`")]
    Db,
    /// The path of the socket is missing or stands in the wrong place.
    #[error("the Redis URL of a socket has an absolute path, as in `unix:///run/redis.sock`")]
    Path,
    /// There is an option that is not read.
    #[error(
        "the options of a Redis URL are `db`, for a socket `user` and `pass`, and for sentinels `sentinel_username` and `sentinel_password`; others are not read"
    )]
    Option,
    /// Sentinels are named, and not what they watch.
    #[error(
        "the Redis URL of sentinels says what they call the primary, as in `redis+sentinel://host:26379/mymaster/0`"
    )]
    Primary,
    /// A cluster has one database.
    #[error("a Redis cluster has database 0 alone: leave `/db` out")]
    ClusterDb,
}

/// The host of the setting of that name: as in a URL, the brackets of an IPv6 address left out or not.
pub(super) fn parse_host(text: &str) -> Option<String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<Ipv6Addr>().map_or_else(|_| parse_name(text), |address| Some(address.to_string()))
}

pub(super) fn parse_port(text: &str) -> Option<u16> {
    parse_number(text).filter(|&port| port > 0)
}

/// Digits alone: `from_str` takes a `+` too.
pub(super) fn parse_number<N: core::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Host and port of one server; an IPv6 address stands in brackets.
fn parse_place(place: &str, default_port: u16) -> Result<(String, u16), InvalidRedisUrl> {
    let (host, port) = if let Some(place) = place.strip_prefix('[') {
        let (host, port) = place.split_once(']').ok_or(InvalidRedisUrl::Host)?;
        let host: Ipv6Addr = host.parse().map_err(|_| InvalidRedisUrl::Host)?;
        (host.to_string(), port)
    } else {
        let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
        let host = if host.is_empty() { "localhost" } else { host };
        (parse_name(host).ok_or(InvalidRedisUrl::Host)?, port)
    };
    let port = match port.strip_prefix(':') {
        Some(port) => parse_port(port).ok_or(InvalidRedisUrl::Port)?,
        None if port.is_empty() => default_port,
        None => return Err(InvalidRedisUrl::Port),
    };
    Ok((host, port))
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn parse_db(text: &str) -> Result<u32, InvalidRedisUrl> {
    parse_number(text).ok_or(InvalidRedisUrl::Db)
}

fn parse_name(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (plain && (1..=253).contains(&text.len())).then(|| text.to_owned())
}

type User<'a> = (Option<String>, Option<Secret>, &'a str);

/// User, password, and what comes after the last `@`.
fn parse_user(authority: &str) -> Result<User<'_>, InvalidRedisUrl> {
    let Some((user, place)) = authority.rsplit_once('@') else { return Ok((None, None, authority)) };
    let (username, password) = user.split_once(':').unwrap_or((user, ""));
    Ok((part(username)?, part(password)?.map(Secret), place))
}

fn part(text: &str) -> Result<Option<String>, InvalidRedisUrl> {
    let text = decoded(text).ok_or(InvalidRedisUrl::User)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        bytes.push(if byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { byte });
    }
    String::from_utf8(bytes).ok()
}

fn encoded(text: &str, plain: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let letter = char::from(byte);
        if letter.is_ascii_alphanumeric() || "-._~".contains(letter) || plain.contains(letter) {
            out.push(letter);
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    out
}

const DEFAULT_PORT: u16 = 6_379;
const HIDDEN: &str = "***";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16, tls: bool) -> RedisAddress {
        RedisAddress::Tcp { host: host.to_owned(), port, tls }
    }

    #[test]
    fn a_cluster_has_together_what_is_in_braces() {
        let has = |url: &str, namespace: &str| {
            RedisTarget::parse(url).unwrap().address().has_together(&Namespace::new(namespace).unwrap())
        };
        for url in ["redis://h", "unix:///s", "redis+sentinel://h/main"] {
            assert!(has(url, "app") && has(url, "{app}"), "{url}");
        }
        assert!(has("redis+cluster://h", "{app}") && !has("redis+cluster://h", "app"));
    }

    #[test]
    fn what_a_url_leaves_out_is_the_usual() {
        for url in
            ["redis://", "redis:///", "redis:///0", "redis://localhost", "REDIS://localhost:6379/", "redis://:6379"]
        {
            assert_eq!(RedisTarget::parse(url), Ok(RedisTarget::default()), "{url}");
        }
        let target = RedisTarget::parse("rediss://[2001:db8::1]:6380/99").unwrap();
        assert_eq!((target.address(), target.db()), (&tcp("2001:db8::1", 6_380, true), 99));
        assert_eq!(target.to_string(), "rediss://[2001:db8::1]:6380/99");
        assert_eq!(RedisTarget::parse("redis://[::1]?db=3").unwrap().to_string(), "redis://[::1]:6379/3");
    }

    #[test]
    fn a_password_may_have_any_letter_when_percent_encoded() {
        let target = RedisTarget::parse("redis://al%3Aice:%40%3A%2F%25%23%20%C3%A4@h").unwrap();
        assert_eq!(target.username(), Some("al:ice"));
        assert_eq!(target.password().unwrap().expose(), "@:/%# ä");
        let target = RedisTarget::parse("redis://:p@s:s@h:1").unwrap();
        assert_eq!(target.password().unwrap().expose(), "p@s:s", "the last `@` ends the password");
        assert_eq!(RedisTarget::parse("redis://:@h").unwrap().password(), None);
    }

    #[test]
    fn a_socket_has_a_path_and_takes_its_options_as_other_clients_write_them() {
        let target = RedisTarget::parse("redis+unix:///run/my%20redis.sock?db=2&user=alice&pass=p%26w").unwrap();
        assert_eq!(target.address(), &RedisAddress::Unix { path: "/run/my redis.sock".to_owned() });
        assert_eq!((target.username(), target.db()), (Some("alice"), 2));
        assert_eq!(target.password().unwrap().expose(), "p&w");
        assert_eq!(target.to_string(), "unix:///run/my%20redis.sock?db=2&user=alice&pass=***");
        assert_eq!(RedisTarget::parse("unix://:pw@/run/redis.sock").unwrap().password().unwrap().expose(), "pw");
    }

    #[test]
    fn a_url_that_cannot_be_read_shows_nothing_of_itself() {
        use InvalidRedisUrl as E;
        for (url, error) in [
            ("", E::Scheme),
            ("hunter2", E::Scheme),
            ("localhost:6379", E::Scheme),
            ("http://:hunter2@h", E::Scheme),
            ("://:hunter2@h", E::Scheme),
            ("redis://:hunter2 @h", E::Letter),
            ("redis://:hunter2@h#insecure", E::Letter),
            ("redis://:hunter2\n@h", E::Letter),
            ("redis://:hunter2%@h", E::User),
            ("redis://:hunter2%4@h", E::User),
            ("redis://:hunter2%zz@h", E::User),
            ("redis://:hunter2%ff@h", E::User),
            ("redis://:hunter2/@h", E::Port),
            ("redis://:hunter2?@h", E::Port),
            ("redis://hunter2/x@h", E::Db),
            ("redis://:hunter2@h:0", E::Port),
            ("redis://:hunter2@h:65536", E::Port),
            ("redis://:hunter2@h:", E::Port),
            ("redis://:hunter2@h:+1", E::Port),
            ("redis://:hunter2@::1:6379", E::Port),
            ("redis://:hunter2@[::1", E::Host),
            ("redis://:hunter2@[::x]", E::Host),
            ("redis://:hunter2@[::1]6379", E::Port),
            ("redis://:hunter2@hö", E::Host),
            ("redis://:hunter2@a,b", E::Host),
            ("redis://:hunter2@h/zero", E::Db),
            ("redis://:hunter2@h/0/1", E::Db),
            ("redis://:hunter2@h/-1", E::Db),
            ("redis://:hunter2@h?ssl_cert_reqs=none", E::Option),
            ("redis://h?pass=hunter2", E::Option),
            ("redis://h?hunter2", E::Option),
            ("unix://hunter2", E::Path),
            ("unix://hunter2/run", E::Path),
            ("unix:///", E::Path),
            ("unix:///a%00b?pass=hunter2", E::Path),
        ] {
            let given = RedisTarget::parse(url);
            assert_eq!(given, Err(error), "{url}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_name_without_a_password_may_be_one_and_is_hidden() {
        let target = RedisTarget::parse("redis://hunter2@h").unwrap();
        assert_eq!(format!("{target} {target:?}"), "redis://***@h:6379/0 RedisTarget(redis://***@h:6379/0)");
        assert_eq!(target.url().expose(), "redis://hunter2@h:6379/0");
    }

    proptest! {
        #[test]
        fn a_target_written_as_a_url_is_read_as_itself(
            socket: bool, tls: bool, port in 1_u16.., db: u32, username in "\\PC{0,8}", password in "\\PC{0,8}", path in "/[^\0]{1,9}",
            host in prop_oneof!["[a-z0-9.-]{1,9}", any::<Ipv6Addr>().prop_map(|address| address.to_string())],
        ) {
            let given = |text: String| Some(text).filter(|text| !text.is_empty());
            let address = if socket { RedisAddress::Unix { path } } else { RedisAddress::Tcp { host, port, tls } };
            let target = RedisTarget { address, username: given(username), password: given(password).map(Secret), db, of_sentinels: Login::default() };
            prop_assert_eq!(RedisTarget::parse(target.url().expose()), Ok(target));
        }

        #[test]
        fn no_password_is_ever_shown(url in "(redis|unix|redis\\+cluster|redis\\+sentinel)://[ab,:@/%?=&#\\[\\]]{0,12}SECRET[ab:@/%?=&#\\[\\]0-9]{0,12}") {
            let shown = match RedisTarget::parse(&url) {
                Ok(target) if target.password().is_some_and(|password| password.expose().contains("SECRET")) => {
                    format!("{target} {target:?}")
                }
                Ok(_) => String::new(),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("SECRET"));
        }
    }
}
