//! What the operator may choose: the profile, the lists of fields, and what a route says.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderName;

use crate::early::Eagerness;
use crate::target::QueryRules;

/// How far the cache goes with what the standard permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Exactly what RFC 9111 permits a shared cache.
    Rfc,
    /// The standard, minus what has leaked or poisoned in practice.
    #[default]
    Safe,
}

/// A profile's name that is neither `rfc` nor `safe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownProfile;

impl fmt::Display for UnknownProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a profile is `safe` or `rfc`")
    }
}

impl std::error::Error for UnknownProfile {}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        match name {
            "rfc" => Ok(Self::Rfc),
            "safe" => Ok(Self::Safe),
            _ => Err(UnknownProfile),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rfc => "rfc",
            Self::Safe => "safe",
        })
    }
}

/// What holds for every request of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How far to go.
    pub profile: Profile,
    /// Request fields that name the caller.
    pub identity_fields: Vec<HeaderName>,
    /// Targeted cache-control fields (RFC 9213), in order of precedence.
    pub targeted_fields: Vec<HeaderName>,
    /// How long past its freshness a response that says nothing of it may stand in for a failed
    /// upstream. Profile `safe` only.
    pub stale_if_error_default: Duration,
    /// Request fields removed from cacheable requests, because upstreams answer differently by
    /// them without saying so.
    pub unkeyed_fields: Vec<HeaderName>,
    /// How eagerly responses are refreshed before they expire.
    pub early_refresh: Eagerness,
    /// By how many hundredths lifetimes are shortened at most.
    pub ttl_jitter_percent: u8,
}

const IDENTITY_FIELDS: [&str; 8] = [
    "authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "x-amz-security-token",
    "x-csrf-token",
];

/// Fields that are known to have poisoned caches, or that change the method, the host or the path
/// that an application sees.
const UNKEYED_FIELDS: [&str; 22] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-forwarded-ssl",
    "x-host",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-middleware-subrequest",
];

impl Default for Rules {
    fn default() -> Self {
        Self {
            profile: Profile::Safe,
            identity_fields: IDENTITY_FIELDS.map(HeaderName::from_static).to_vec(),
            targeted_fields: vec![HeaderName::from_static("cdn-cache-control")],
            stale_if_error_default: Duration::from_secs(600),
            unkeyed_fields: UNKEYED_FIELDS.map(HeaderName::from_static).to_vec(),
            early_refresh: Eagerness::default(),
            ttl_jitter_percent: 0,
        }
    }
}

/// What a route does with fields that name the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Identity {
    /// The profile's rule.
    #[default]
    Default,
    /// They do not reach the upstream, so its answer cannot depend on them.
    Strip,
    /// They are part of the key, so each caller has responses of their own.
    Key,
}

/// What the configuration says of the paths it matches. The default says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Freshness lifetime when the origin says none.
    pub ttl: Option<Duration>,
    /// `ttl` wins over the origin's explicit freshness too; never over `no-store`, `private` or
    /// `no-cache`.
    pub override_origin: bool,
    /// Applies when the origin says nothing of it.
    pub stale_while_revalidate: Option<Duration>,
    /// Applies when the origin says nothing of it.
    pub stale_if_error: Option<Duration>,
    /// What to do with fields that name the caller.
    pub identity: Identity,
    /// Which query parameters count.
    pub query: QueryRules,
    /// Those of [`Rules::unkeyed_fields`] that this route keys, so they stay.
    pub keyed_fields: Vec<HeaderName>,
    /// Instead of [`Rules::early_refresh`].
    pub early_refresh: Option<Eagerness>,
    /// Instead of [`Rules::ttl_jitter_percent`].
    pub ttl_jitter_percent: Option<u8>,
}
