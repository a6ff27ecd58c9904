//! The cookies that are set and read here. Not readable by scripts, not sent along with what other sites ask for.
//!
//! Where people come by https, every name begins with `__Host-` (RFC 6265bis §4.1.3.2): browsers take such a cookie from this very
//! host over https alone, so that neither a neighbouring subdomain nor a page by http can plant one. A name without it is then
//! not even looked at.

use super::error::ApiError;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

const HOST_PREFIX: &str = "__Host-";

/// One of our cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    /// A session's token.
    Session,
    /// Binds a permission that is asked for at Reddit to the browser.
    RedditAsking,
    /// Whose connection to Reddit it is, when nobody is signed in.
    RedditOwner,
}

impl Cookie {
    const fn name(self) -> &'static str {
        match self {
            Self::Session => "larder_session",
            Self::RedditAsking => "larder_reddit_asking",
            Self::RedditOwner => "larder_reddit",
        }
    }

    /// Where browsers send it, unless its name demands everywhere.
    const fn path(self) -> &'static str {
        match self {
            Self::RedditAsking => "/auth/reddit",
            Self::Session | Self::RedditOwner => "/",
        }
    }

    /// Its value in a request, the first of several. The name that only https can set is believed over plain http too: what stands
    /// before us need not say how it was asked.
    pub(super) fn read(self, fields: &HeaderMap, https: bool) -> Option<&str> {
        let plain = || match https {
            true => None,
            false => find(fields, |name| name == self.name()),
        };
        find(fields, |name| {
            name.strip_prefix(HOST_PREFIX) == Some(self.name())
        })
        .or_else(plain)
    }

    /// The field that sets it; with an age of 0, the one that takes it away.
    pub(super) fn set(
        self,
        value: &str,
        max_age_secs: i64,
        https: bool,
    ) -> Result<HeaderValue, ApiError> {
        let (name, path) = (self.name(), self.path());
        let text = match https {
            true => format!(
                "{HOST_PREFIX}{name}={value}; Path=/; Max-Age={max_age_secs}; HttpOnly; SameSite=Lax; Secure"
            ),
            false => format!(
                "{name}={value}; Path={path}; Max-Age={max_age_secs}; HttpOnly; SameSite=Lax"
            ),
        };
        HeaderValue::from_str(&text).map_err(|error| ApiError::Internal(error.to_string()))
    }
}

fn find(fields: &HeaderMap, is_wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let lines = fields.get_all(COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| is_wanted(name.trim()));
    found.map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Cookie; 3] = [Cookie::Session, Cookie::RedditAsking, Cookie::RedditOwner];

    #[test]
    fn by_https_every_cookie_is_this_hosts_alone() {
        for cookie in ALL {
            let set = cookie.set("x", 60, true).expect("a value");
            let set = set.to_str().expect("text");
            let name = cookie.name();
            assert!(
                set.starts_with(&format!("__Host-{name}=x; Path=/; ")),
                "{set}"
            );
            assert!(
                set.ends_with("; Secure") && !set.contains("Domain"),
                "{set}"
            );
            let set = cookie.set("x", 60, false).expect("a value");
            let set = set.to_str().expect("text");
            assert!(set.starts_with(&format!("{name}=x; ")), "{set}");
            assert!(!set.contains("Secure"), "{set}");
        }
    }

    #[test]
    fn by_https_a_planted_cookie_is_not_looked_at() {
        for cookie in ALL {
            let name = cookie.name();
            let line = format!("a=b; {name}=planted; __Host-{name}=own; not_{name}=other");
            let mut fields = HeaderMap::new();
            fields.append(COOKIE, line.parse().expect("a value"));
            assert_eq!(cookie.read(&fields, true), Some("own"));
            assert_eq!(cookie.read(&fields, false), Some("own"));
            let mut fields = HeaderMap::new();
            fields.append(COOKIE, "x=y".parse().expect("a value"));
            fields.append(COOKIE, format!("{name}=planted").parse().expect("a value"));
            assert_eq!(cookie.read(&fields, true), None);
            assert_eq!(cookie.read(&fields, false), Some("planted"));
        }
    }
}
