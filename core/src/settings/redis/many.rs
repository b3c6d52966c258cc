//! Many: what is different in the URL of a cluster, or of sentinels: it names several places, and sentinels have credentials of
//! their own.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{
    DEFAULT_PORT, InvalidRedisUrl, RedisAddress, RedisTarget, Secret, encoded, parse_db, parse_name, parse_place,
    parse_user, place,
};

/// A user, where one is named, and a password: those of the sentinels.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in crate::settings) struct Login {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

impl Login {
    /// Them as the options of a URL; `shown` says how the password is written.
    pub(super) fn options(&self, shown: impl Fn(&Secret) -> String) -> String {
        let name = self.username.as_deref().map(|name| format!("sentinel_username={}", encoded(name, "")));
        let secret = self.password.as_ref().map(|secret| format!("sentinel_password={}", shown(secret)));
        let options: Vec<String> = name.into_iter().chain(secret).collect();
        let mark = if options.is_empty() { "" } else { "?" };
        format!("{mark}{}", options.join("&"))
    }
}

impl RedisTarget {
    /// One server of a cluster, or the one that sentinels name.
    pub fn server(&self, host: &str, port: u16) -> Self {
        let address = RedisAddress::Tcp { host: host.to_owned(), port, tls: self.is_tls() };
        Self { address, of_sentinels: Login::default(), ..self.clone() }
    }

    /// One of the sentinels.
    pub fn sentinel(&self, host: &str, port: u16) -> Self {
        let Login { username, password } = self.of_sentinels.clone();
        Self { username, password, db: 0, ..self.server(host, port) }
    }

    pub(super) fn parse_cluster(rest: &str, tls: bool) -> Result<Self, InvalidRedisUrl> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, password, places) = parse_user(authority)?;
        let seeds = parse_places(places, DEFAULT_PORT)?;
        let db = if path.is_empty() { 0 } else { parse_db(path)? };
        let address = RedisAddress::Cluster { seeds, tls };
        Ok(Self { address, username, password, db, of_sentinels: Login::default() })
    }

    pub(super) fn parse_sentinel(rest: &str, tls: bool) -> Result<Self, InvalidRedisUrl> {
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (username, password, places) = parse_user(authority)?;
        let sentinels = parse_places(places, SENTINEL_PORT)?;
        let (primary, db) = path.split_once('/').unwrap_or((path, ""));
        let primary = parse_name(primary).ok_or(InvalidRedisUrl::Primary)?;
        let db = if db.is_empty() { 0 } else { parse_db(db)? };
        let address = RedisAddress::Sentinel { sentinels, primary, tls };
        Ok(Self { address, username, password, db, of_sentinels: Login::default() })
    }
}

/// Some of them, between commas.
fn parse_places(places: &str, default_port: u16) -> Result<Vec<(String, u16)>, InvalidRedisUrl> {
    places.split(',').map(|place| parse_place(place, default_port)).collect()
}

pub(super) fn places(places: &[(String, u16)]) -> String {
    places.iter().map(|(host, port)| place(host, *port)).collect::<Vec<_>>().join(",")
}

const SENTINEL_PORT: u16 = 26_379;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let target = RedisTarget::parse("redis+cluster://al:p%2C@a,b:7001,[::1]:7002").unwrap();
        let seeds = vec![("a".to_owned(), 6_379), ("b".to_owned(), 7_001), ("::1".to_owned(), 7_002)];
        assert_eq!(target.address(), &RedisAddress::Cluster { seeds, tls: false });
        assert_eq!(target.to_string(), "redis+cluster://al:***@a:6379,b:7001,[::1]:7002");
        assert_eq!(target.url().expose(), "redis+cluster://al:p%2C@a:6379,b:7001,[::1]:7002");
        assert_eq!(target.server("c", 7).url().expose(), "redis://al:p%2C@c:7/0");
        let target = RedisTarget::parse("rediss+cluster://a/0").unwrap();
        assert_eq!(target.server("c", 7).to_string(), "rediss://c:7/0");
        assert_eq!(RedisTarget::parse("redis+cluster://a/1"), Err(InvalidRedisUrl::ClusterDb));
        assert_eq!(RedisTarget::parse("redis+cluster://a?db=1"), Err(InvalidRedisUrl::ClusterDb));
        assert_eq!(RedisTarget::parse("redis+cluster://a,b:0"), Err(InvalidRedisUrl::Port));
        assert_eq!(RedisTarget::parse("redis+cluster://a,b c"), Err(InvalidRedisUrl::Letter));
    }

    #[test]
    fn sentinels_have_credentials_of_their_own_and_say_where_the_primary_is() {
        let url = "redis+sentinel://al:p@a,b:7/my-master/2?sentinel_username=w&sentinel_password=s%26";
        let target = RedisTarget::parse(url).unwrap();
        let sentinels = vec![("a".to_owned(), 26_379), ("b".to_owned(), 7)];
        let primary = "my-master".to_owned();
        assert_eq!(target.address(), &RedisAddress::Sentinel { sentinels, primary, tls: false });
        assert_eq!(target.sentinel("b", 7).url().expose(), "redis://w:s%26@b:7/0");
        assert_eq!(target.server("c", 8).url().expose(), "redis://al:p@c:8/2");
        let shown = "redis+sentinel://al:***@a:26379,b:7/my-master/2?sentinel_username=w&sentinel_password=***";
        assert_eq!(target.to_string(), shown);
        assert_eq!(RedisTarget::parse(target.url().expose()), Ok(target));
        let plain = RedisTarget::parse("rediss+sentinel://:p@a/m").unwrap();
        assert_eq!(plain.to_string(), "rediss+sentinel://:***@a:26379/m/0");
        assert_eq!(plain.sentinel("a", 1).to_string(), "rediss://a:1/0", "they are not told the server's password");
        for (url, why) in [
            ("redis+sentinel://a", InvalidRedisUrl::Primary),
            ("redis+sentinel://a/", InvalidRedisUrl::Primary),
            ("redis+sentinel://a/m/x", InvalidRedisUrl::Db),
            ("redis+sentinel://a/m?user=x", InvalidRedisUrl::Option),
            ("redis://a?sentinel_password=x", InvalidRedisUrl::Option),
        ] {
            assert_eq!(RedisTarget::parse(url), Err(why), "{url}");
        }
    }
}
