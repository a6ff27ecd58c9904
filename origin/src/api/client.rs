//! Who is asking: the peer, or whom a trusted proxy names. Pure.
//!
//! Each proxy adds the address it was asked from at the right end, so the list is read from there: the first address that is no
//! trusted proxy's is the client. What stands further left was written by strangers. `X-Forwarded-For` is read first, because
//! every proxy adds to it, while many pass a stranger's `Forwarded` (RFC 7239) on as it came; that one counts where the other
//! names nobody.

use axum::http::HeaderMap;
use ipnet::IpNet;
use std::net::IpAddr;

/// Addresses further left are not looked at.
const HOPS_MAX: usize = 32;

/// Whom a request is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    At(IpAddr),
    /// A trusted proxy asks on nobody's behalf. A cache does so: one fetch of its serves many clients, so it names none of them.
    /// To count these would make one busy client's limit everybody's outage; their number is bounded by the proxy itself.
    Proxy(IpAddr),
}

impl Client {
    pub(super) fn address(self) -> IpAddr {
        match self {
            Self::At(address) | Self::Proxy(address) => address,
        }
    }
}

/// Who sent the request that arrived from `peer`.
pub(super) fn client(peer: IpAddr, fields: &HeaderMap, trusted: &[IpNet]) -> Client {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    if !is_trusted(&peer) {
        return Client::At(peer);
    }
    let mut silent = Client::Proxy(peer);
    for hops in [x_forwarded_for(fields), forwarded(fields)] {
        match nearest_stranger(hops, is_trusted) {
            Some(Hop::Stranger(address)) => return Client::At(address),
            Some(Hop::Unreadable(behind)) => return Client::At(behind.unwrap_or(peer)),
            Some(Hop::Trusted(address)) => silent = Client::At(address),
            None => {}
        }
    }
    silent
}

/// Whether the client reached the outermost trusted proxy by https. Only the leftmost word counts: proxies that know the field
/// replace what strangers wrote in it.
pub(super) fn is_https(peer: IpAddr, fields: &HeaderMap, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    if !trusted.iter().any(|network| network.contains(&peer)) {
        return false;
    }
    let x_forwarded = lines(fields, "x-forwarded-proto")
        .flat_map(|line| line.split(','))
        .next();
    let mut forwarded = lines(fields, "forwarded").flat_map(|line| line.split([',', ';']));
    let forwarded = forwarded.find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("proto").then_some(value)
    });
    let scheme = x_forwarded.or(forwarded).unwrap_or_default();
    scheme
        .trim()
        .trim_matches('"')
        .eq_ignore_ascii_case("https")
}

/// Where the walk from the right ends.
enum Hop {
    Stranger(IpAddr),
    /// All of them are trusted; the leftmost.
    Trusted(IpAddr),
    /// What cannot be read ends what can be believed: whoever wrote it stands behind the last address that was read.
    Unreadable(Option<IpAddr>),
}

fn nearest_stranger(
    hops: Vec<Option<IpAddr>>,
    is_trusted: impl Fn(&IpAddr) -> bool,
) -> Option<Hop> {
    let mut nearest = None;
    for hop in hops.into_iter().rev().take(HOPS_MAX) {
        match hop {
            Some(address) if is_trusted(&address) => nearest = Some(address),
            Some(address) => return Some(Hop::Stranger(address)),
            None => return Some(Hop::Unreadable(nearest)),
        }
    }
    nearest.map(Hop::Trusted)
}

/// The addresses from left to right; `None` for what is no address.
fn forwarded(fields: &HeaderMap) -> Vec<Option<IpAddr>> {
    lines(fields, "forwarded")
        .flat_map(|line| line.split(','))
        .map(forwarded_for)
        .collect()
}

fn x_forwarded_for(fields: &HeaderMap) -> Vec<Option<IpAddr>> {
    lines(fields, "x-forwarded-for")
        .flat_map(|line| line.split(','))
        .map(node)
        .collect()
}

fn lines<'a>(fields: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    fields
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or("unreadable"))
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut parameters = element
        .split(';')
        .filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value)
}

/// An address, with or without port, brackets and quotes.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Client {
        Client::At(text.parse().unwrap())
    }

    fn ask(peer: &str, fields: &[(&'static str, &str)]) -> Client {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "::1/128"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        client(peer.parse().unwrap(), &map, &trusted)
    }

    #[test]
    fn a_stranger_is_who_he_is_whatever_he_says() {
        assert_eq!(
            ask("192.0.2.1", &[("x-forwarded-for", "198.51.100.7")]),
            at("192.0.2.1")
        );
        assert_eq!(
            ask("192.0.2.1", &[("forwarded", "for=198.51.100.7")]),
            at("192.0.2.1")
        );
        assert_eq!(ask("::ffff:192.0.2.1", &[]), at("192.0.2.1"));
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let spoofed = "6.6.6.6, 198.51.100.7, 10.0.0.9";
        assert_eq!(
            ask("10.0.0.1", &[("x-forwarded-for", spoofed)]),
            at("198.51.100.7")
        );
        assert_eq!(
            ask(
                "10.0.0.1",
                &[
                    ("x-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "198.51.100.7")
                ]
            ),
            at("198.51.100.7")
        );
    }

    #[test]
    fn forwarded_is_read_in_all_its_spellings() {
        for value in [
            "for=198.51.100.7",
            "For=\"198.51.100.7:4711\";proto=https",
            "proto=http; for=198.51.100.7",
        ] {
            assert_eq!(
                ask(
                    "10.0.0.1",
                    &[("forwarded", value), ("x-forwarded-for", "10.0.0.9")]
                ),
                at("198.51.100.7"),
                "{value}"
            );
        }
        assert_eq!(
            ask("::1", &[("forwarded", "for=\"[2001:db8::7]:4711\"")]),
            at("2001:db8::7")
        );
    }

    #[test]
    fn a_forwarded_that_a_proxy_only_passed_on_changes_nothing() {
        // A load balancer that knows X-Forwarded-For alone, and behind it a proxy that adds to both.
        for spoofed in ["for=6.6.6.6", "for=6.6.6.6, for=10.0.0.9", "for=_hidden"] {
            let fields = [
                ("forwarded", spoofed),
                ("x-forwarded-for", "198.51.100.7, 10.0.0.9"),
            ];
            assert_eq!(ask("10.0.0.1", &fields), at("198.51.100.7"), "{spoofed}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_believed_nor_what_stands_left_of_it() {
        assert_eq!(
            ask("10.0.0.1", &[("forwarded", "for=6.6.6.6, for=_hidden")]),
            at("10.0.0.1")
        );
        assert_eq!(
            ask(
                "10.0.0.1",
                &[("x-forwarded-for", "6.6.6.6, unknown, 10.0.0.9")]
            ),
            at("10.0.0.9")
        );
    }

    #[test]
    fn https_is_believed_of_trusted_proxies_alone() {
        let https = |peer: &str, name: &'static str, value: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(name, value.parse().unwrap());
            is_https(
                peer.parse().unwrap(),
                &fields,
                &["10.0.0.0/8".parse().unwrap()],
            )
        };
        assert!(https("10.0.0.1", "x-forwarded-proto", "https"));
        assert!(https("10.0.0.1", "x-forwarded-proto", "HTTPS, http"));
        assert!(https("10.0.0.1", "forwarded", "for=192.0.2.1;proto=https"));
        assert!(!https("10.0.0.1", "x-forwarded-proto", "http, https"));
        assert!(!https("192.0.2.1", "x-forwarded-proto", "https"));
    }

    #[test]
    fn a_proxy_that_names_nobody_asks_for_itself() {
        assert_eq!(
            ask("10.0.0.1", &[]),
            Client::Proxy("10.0.0.1".parse().unwrap())
        );
    }
}
