//! The API that the proxy stands in front of: its address, and the `Host` that it is shown.

use std::net::Ipv6Addr;

use url::Url;

use super::value::{NAMESPACE_BYTES_MAX, Parsed, is_namespace_byte};

/// Where the API is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// TLS?
    pub https: bool,
    /// Its name or address, in lower case; an IPv6 address without brackets. This is what is resolved, and the name in the TLS handshake.
    pub host: String,
    /// Its port, the scheme's usual one when none was written.
    pub port: u16,
}

impl Upstream {
    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Its authority as a `Host` field says it: brackets round IPv6, no default port.
    pub fn authority(&self) -> String {
        let host = self.bracketed_host();
        let default_port = if self.https { 443 } else { 80 };
        if self.port == default_port {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Host and port as resolvers want them: `127.0.0.1:8001`, `[::1]:8001`, `api.example.org:443`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    fn bracketed_host(&self) -> String {
        if self.host.parse::<Ipv6Addr>().is_ok() {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    /// The namespace that holds when none is set: `host:port`, for TLS with `https:` before it. One too long ends in a hash of the whole.
    pub(super) fn namespace(&self) -> String {
        let prefix = if self.https { "https:" } else { "" };
        let whole = format!("{prefix}{}:{}", self.host, self.port);
        if whole.len() <= NAMESPACE_BYTES_MAX && whole.bytes().all(is_namespace_byte) {
            return whole;
        }
        let hash = format!("-{:016x}", xxhash_rust::xxh3::xxh3_64(whole.as_bytes()));
        let head: String = whole
            .chars()
            .filter(|c| u8::try_from(*c).is_ok_and(is_namespace_byte))
            .take(NAMESPACE_BYTES_MAX - hash.len())
            .collect();
        head + &hash
    }
}

/// The `Host` that the API sees.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UpstreamHost {
    /// What the client said: part of the key.
    Client,
    /// The upstream's own authority, for everybody.
    Upstream,
    /// This one, for everybody.
    Name(String),
}

impl UpstreamHost {
    /// What holds when none is set. A server behind TLS is mostly a public one, which knows itself under its own name only.
    pub(super) fn default_for(upstream: &Upstream) -> Self {
        if upstream.https {
            Self::Upstream
        } else {
            Self::Client
        }
    }
}

/// Reads an upstream's URL.
pub(super) fn upstream(text: &str) -> Parsed<Upstream> {
    const RIGHT: &str = "write http://host:port or https://host[:port]";
    let url = Url::parse(text).map_err(|_| format!("is not a URL; {RIGHT}"))?;
    let https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => {
            return Err(format!(
                "{}; {RIGHT}",
                "has neither the scheme http nor https"
            ));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        // Not quoted: it may be a password.
        return Err(format!(
            "carries a user or password, which would go nowhere; {RIGHT}"
        ));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{text:?} has a path, query or fragment, and requests keep their own; {RIGHT}"
        ));
    }
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(format!("{text:?} names no host; {RIGHT}"));
    };
    let host = match host {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(address) => address.to_string(),
        url::Host::Ipv6(address) => address.to_string(),
    };
    if port == 0 {
        return Err(format!(
            "{text:?} has port 0, where nothing listens; {RIGHT}"
        ));
    }
    Ok(Upstream { https, host, port })
}

/// Reads what `Host` the API sees.
pub(super) fn upstream_host(text: &str) -> Parsed<UpstreamHost> {
    match text {
        "client" => Ok(UpstreamHost::Client),
        "upstream" => Ok(UpstreamHost::Upstream),
        // The scheme decides which port is left out, so nothing is left out here: what the operator wrote is what is sent.
        name if larder_policy::canonical_authority("", name).is_ok() => {
            Ok(UpstreamHost::Name(name.to_ascii_lowercase()))
        }
        other => Err(format!(
            "{other:?} is not a host; write client, upstream, or a name such as api.example.org"
        )),
    }
}
