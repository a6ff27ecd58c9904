//! May this request be served? Decided from its head alone.
//!
//! A browser can be made to send requests by any page it shows, and loopback is no wall against that. So, token or not:
//! - `Host` must be a name of ours. A page that resolves its own name to our address (DNS rebinding) still sends its own name: 421.
//! - `Sec-Fetch-Site` other than `same-origin` or `none`, or an `Origin` that isn't the `Host`, comes from another page: 403. `same-site` is
//!   refused too: every port of localhost is one site.
//!
//! Programs send neither field. Then the token, compared in constant time: 401. `/health` needs none.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use larder_policy::canonical_authority;
use subtle::ConstantTimeEq as _;

use super::AdminSettings;
use super::answer::{Answer, problem, token_wanted};
use crate::config::Secret;
use crate::config::without_port;

/// `Err` holds the refusal.
pub(super) fn check(head: &Parts, settings: &AdminSettings, open: bool) -> Result<(), Box<Answer>> {
    let host = host(&head.headers)?;
    if !is_ours(&host, settings) {
        return refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign-host",
            "the admin port is not known under this Host; name it in admin_hosts if it should be",
        );
    }
    // An absolute-form target names a host as well (RFC 9112 §3.2.2): it must not say something else.
    if head
        .uri
        .authority()
        .is_some_and(|named| canonical(named.as_str()).as_ref() != Some(&host))
    {
        return refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign-host",
            "the target and Host differ",
        );
    }
    if comes_from_another_page(&head.headers, &host) {
        return refuse(
            StatusCode::FORBIDDEN,
            "cross-site",
            "requests from web pages of other origins are refused",
        );
    }
    match &settings.token {
        Some(token) if !open => check_token(&head.headers, token),
        _ => Ok(()),
    }
}

fn refuse(status: StatusCode, code: &str, detail: &str) -> Result<(), Box<Answer>> {
    Err(Box::new(problem(status, code, detail)))
}

/// The one `Host`, canonical.
fn host(headers: &HeaderMap) -> Result<String, Box<Answer>> {
    let mut values = headers.get_all(HOST).iter();
    match (
        values
            .next()
            .and_then(|value| value.to_str().ok())
            .and_then(canonical),
        values.next(),
    ) {
        (Some(host), None) => Ok(host),
        _ => Err(Box::new(problem(
            StatusCode::BAD_REQUEST,
            "bad-host",
            "a request needs one Host",
        ))),
    }
}

fn canonical(authority: &str) -> Option<String> {
    canonical_authority("http", authority)
        .ok()
        .filter(|authority| !authority.is_empty())
}

/// Loopback's names, the address itself, and what the settings name. Ports don't matter: published ports and forwarders change them, and
/// rebinding lies about names only. For that reason, too, any address is ours when we listen on all: an address in `Host` is where the
/// browser really connected to.
fn is_ours(host: &str, settings: &AdminSettings) -> bool {
    let name = without_port(host);
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    if settings
        .hosts
        .iter()
        .any(|ours| ours == name || ours == host)
    {
        return true;
    }
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    bare.parse()
        .is_ok_and(|ip| is_our_address(ip, settings.address))
}

fn is_our_address(ip: IpAddr, listening: SocketAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip == listening.ip().to_canonical() || listening.ip().is_unspecified()
}

fn comes_from_another_page(headers: &HeaderMap, host: &str) -> bool {
    let site = HeaderName::from_static("sec-fetch-site");
    let cross_site = headers
        .get_all(site)
        .iter()
        .any(|site| site != "same-origin" && site != "none");
    let foreign_origin = headers.get_all(ORIGIN).iter().any(|origin| {
        let origin = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://"));
        !origin.is_some_and(|(scheme, authority)| {
            // https is a TLS terminator in front, which keeps the Host.
            matches!(scheme, "http" | "https")
                && canonical_authority(scheme, authority).is_ok_and(|authority| authority == host)
        })
    });
    cross_site || foreign_origin
}

fn check_token(headers: &HeaderMap, token: &Secret) -> Result<(), Box<Answer>> {
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| bearer(value.as_bytes()));
    match shown {
        Some(shown) if bool::from(shown.ct_eq(token.expose().as_bytes())) => Ok(()),
        Some(_) => Err(Box::new(token_wanted(
            r#"Bearer realm="larder admin", error="invalid_token""#,
            "this is not the admin token",
        ))),
        None => Err(Box::new(token_wanted(
            r#"Bearer realm="larder admin""#,
            "show the admin token: Authorization: Bearer TOKEN",
        ))),
    }
}

/// The token of `Bearer TOKEN`; the scheme's case doesn't matter (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests;
