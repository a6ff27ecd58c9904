//! Which Redis, as its URL says it: one server, Sentinels that know the master, or a Cluster.
//!
//! Pure: nothing is resolved or connected. A fault never quotes the URL, which may hold a password.
//! One grammar for all forms, since a list of hosts is no authority to the `url` crate.

use std::path::PathBuf;

use super::Secret;

/// The port of a server or a Cluster's node that the URL names without one.
const SERVER_PORT: u16 = 6379;
/// The same for Sentinels.
const SENTINEL_PORT: u16 = 26379;
/// Far more than anybody runs; bounds what connecting may try.
const HOSTS_MAX: usize = 64;

/// Why a text is no URL of Redis, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; write redis://[user:password@]host:6379/0, redis+sentinel://host:26379,host2:26379/master-name, redis+cluster://host:6379,host2:6379 (each also with rediss for TLS), or redis+unix:///path"
)]
pub struct BadRedisUrl(&'static str);

/// Where Redis is and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// How its servers stand to each other.
    pub topology: Topology,
    /// Whether all connections, those to Sentinels included, are encrypted.
    pub tls: bool,
    /// For the servers that hold data.
    pub login: Login,
    /// The number of the database.
    pub db: u16,
}

/// How servers stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server, or something that looks like one.
    Single(Host),
    /// One server on a Unix socket.
    Unix(PathBuf),
    /// Servers of which one is the master; Sentinels know which.
    Sentinel {
        /// Whom to ask.
        sentinels: Vec<Host>,
        /// The name under which the Sentinels know the master.
        master: String,
        /// For the Sentinels themselves.
        login: Login,
    },
    /// Servers that share the keys among them; those to ask first for how.
    Cluster(Vec<Host>),
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// A name or an address, without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// A user and a password; either may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// An ACL user. None: the default one.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

impl RedisUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, BadRedisUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(BadRedisUrl("is not a URL"))?;
        let scheme = scheme.to_ascii_lowercase();
        let tls = scheme.starts_with("rediss");
        match scheme.as_str() {
            "unix" | "redis+unix" => unix(rest),
            "redis" | "rediss" => Parts::of(rest)?.single(tls),
            "redis+sentinel" | "rediss+sentinel" => Parts::of(rest)?.sentinel(tls),
            "redis+cluster" | "rediss+cluster" => Parts::of(rest)?.cluster(tls),
            _ => Err(BadRedisUrl("has the wrong scheme")),
        }
    }
}

/// `user:password@host,host/path?query`.
struct Parts<'a> {
    login: Login,
    hosts: &'a str,
    path: String,
    query: Query,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, BadRedisUrl> {
        if rest.contains('#') {
            return Err(BadRedisUrl("has a # in it, to be written %23"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains('@') || query.contains('@') {
            return Err(BadRedisUrl(
                "has a / or ? before its @; in a password, write / as %2F, ? as %3F and @ as %40",
            ));
        }
        let (login, hosts) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(login, hosts)| (Some(login), hosts));
        let (user, password) = login.map_or((None, None), |login| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (Some(user), Some(password))
        });
        Ok(Self {
            login: Login::new(decoded(user)?, decoded(password)?)?,
            hosts,
            path: decoded(Some(path.trim_end_matches('/')))?.unwrap_or_default(),
            query: Query::of(query)?,
        })
    }

    fn single(self, tls: bool) -> Result<RedisUrl, BadRedisUrl> {
        self.query.nothing_left()?;
        let mut hosts = hosts(self.hosts, SERVER_PORT)?;
        let host = hosts.pop().ok_or(BadRedisUrl("names no host"))?;
        if !hosts.is_empty() {
            return Err(BadRedisUrl(
                "names several hosts, which only redis+sentinel:// and redis+cluster:// do",
            ));
        }
        Ok(RedisUrl {
            topology: Topology::Single(host),
            tls,
            login: self.login,
            db: database(&self.path)?,
        })
    }

    fn sentinel(mut self, tls: bool) -> Result<RedisUrl, BadRedisUrl> {
        let login = Login::new(
            self.query.take("sentinel_user"),
            self.query.take("sentinel_password"),
        )?;
        self.query.nothing_left()?;
        let (master, db) = self.path.split_once('/').unwrap_or((&self.path, ""));
        if master.is_empty() {
            return Err(BadRedisUrl("lacks the master's name after the Sentinels"));
        }
        Ok(RedisUrl {
            topology: Topology::Sentinel {
                sentinels: hosts(self.hosts, SENTINEL_PORT)?,
                master: master.to_owned(),
                login,
            },
            tls,
            db: database(db)?,
            login: self.login,
        })
    }

    fn cluster(self, tls: bool) -> Result<RedisUrl, BadRedisUrl> {
        self.query.nothing_left()?;
        if database(&self.path)? != 0 {
            return Err(BadRedisUrl("names a database, but a Cluster has only 0"));
        }
        Ok(RedisUrl {
            topology: Topology::Cluster(hosts(self.hosts, SERVER_PORT)?),
            tls,
            login: self.login,
            db: 0,
        })
    }
}

impl Login {
    fn new(user: Option<String>, password: Option<String>) -> Result<Self, BadRedisUrl> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (user, password) = (some(user), some(password).map(Secret::new));
        if user.is_some() && password.is_none() {
            return Err(BadRedisUrl("names a user without a password"));
        }
        Ok(Self { user, password })
    }
}

fn unix(rest: &str) -> Result<RedisUrl, BadRedisUrl> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() < 2 {
        return Err(BadRedisUrl("lacks a socket's absolute path"));
    }
    let mut query = Query::of(query)?;
    let login = Login::new(query.take("user"), query.take("pass"))?;
    let db = database(&query.take("db").unwrap_or_default())?;
    query.nothing_left()?;
    Ok(RedisUrl {
        topology: Topology::Unix(decoded(Some(path))?.unwrap_or_default().into()),
        tls: false,
        login,
        db,
    })
}

fn hosts(text: &str, port: u16) -> Result<Vec<Host>, BadRedisUrl> {
    if text.split(',').count() > HOSTS_MAX {
        return Err(BadRedisUrl("names more than 64 hosts"));
    }
    text.split(',').map(|part| host(part, port)).collect()
}

fn host(text: &str, default_port: u16) -> Result<Host, BadRedisUrl> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .ok_or(BadRedisUrl("has a [ without its ]"))?,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if name.is_empty() {
        return Err(BadRedisUrl("names no host"));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_address = text.starts_with('[') && name.parse::<std::net::Ipv6Addr>().is_ok();
    if !is_address && (text.starts_with('[') || !name.bytes().all(is_name)) {
        return Err(BadRedisUrl("has a host that is no name and no address"));
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some(digits) => match digits.parse() {
            Ok(port @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => {
                return Err(BadRedisUrl("has a port that is no number from 1 to 65535"));
            }
        },
        None => return Err(BadRedisUrl("has something after a ] that is no port")),
    };
    Ok(Host {
        name: name.to_owned(),
        port,
    })
}

fn database(text: &str) -> Result<u16, BadRedisUrl> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or(BadRedisUrl("has a database that is no number"))
}

fn decoded(text: Option<&str>) -> Result<Option<String>, BadRedisUrl> {
    const FAULT: BadRedisUrl = BadRedisUrl("has a % that begins no escape of UTF-8");
    let Some(text) = text else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or(FAULT)?;
        let hex = |digit: u8| char::from(digit).to_digit(16);
        let [high, low] = digits.map(hex);
        let (high, low) = high.zip(low).ok_or(FAULT)?;
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| FAULT)?);
        rest = after;
    }
    String::from_utf8(bytes).map(Some).map_err(|_| FAULT)
}

/// The parameters after the question mark; each is taken once.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(text: &str) -> Result<Self, BadRedisUrl> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((name.to_owned(), decoded(Some(value))?.unwrap_or_default()))
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let place = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(place).1)
    }

    fn nothing_left(&self) -> Result<(), BadRedisUrl> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(BadRedisUrl(
                "has a parameter after its ? that is not known here (Sentinels take sentinel_user and sentinel_password, Unix sockets db, user and pass)",
            ))
        }
    }
}

#[cfg(test)]
#[path = "redis_tests.rs"]
mod tests;
