//! Which addresses may be connected to when users name the feeds: public ones only, and networks that the operator permits.
//!
//! Must stay true: what is checked is the address that is then connected to. Names are checked after resolution, inside the
//! client's own resolver, on every connect; literal addresses, which no resolver sees, on every hop.

use crate::source::SourceError;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use url::{Host, Url};

/// Ports on which the web is found. Others are for what must not be asked in our name.
const PORTS: [u16; 4] = [80, 443, 8080, 8443];

/// Networks that are permitted though they are not public, with whatever port.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    permitted: Arc<[IpNet]>,
}

/// Why an address is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("only http and https are fetched")]
    Scheme,
    #[error("an address must not hold a user or a password")]
    Credentials,
    #[error("only the ports 80, 443, 8080 and 8443 are asked")]
    Port,
    #[error("it leads to an address that is not public")]
    Address,
}

impl Guard {
    pub fn new(permitted: &[IpNet]) -> Self {
        Self {
            permitted: permitted.into(),
        }
    }

    /// What can be told from a URL alone; names are judged when they are resolved.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Forbidden::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::Credentials);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(Forbidden::Address),
        };
        if literal.is_some_and(|address| self.is_named(address)) {
            return Ok(());
        }
        // A permitted network's names are as free as its addresses, but a name's network is not known yet.
        let port = url.port_or_known_default().unwrap_or_default();
        if !PORTS.contains(&port) && (literal.is_some() || self.permitted.is_empty()) {
            return Err(Forbidden::Port);
        }
        match literal {
            Some(address) if !is_public(address) => Err(Forbidden::Address),
            _ => Ok(()),
        }
    }

    /// Whether that address may be connected to.
    pub fn permits(&self, address: IpAddr) -> bool {
        self.is_named(address) || is_public(address)
    }

    fn is_named(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        self.permitted
            .iter()
            .any(|network| network.contains(&canonical))
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let permitted: Vec<SocketAddr> = found
                .filter(|address| guard.permits(address.ip()))
                .collect();
            if permitted.is_empty() {
                return Err(Forbidden::Address.into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

impl From<Forbidden> for SourceError {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

/// Whether an address belongs to the public internet. What is not known to be public is not: a list of exceptions would miss
/// the next one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By IANA's registry of special-purpose addresses (RFC 6890 and its updates).
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    // This network, private, shared (CGNAT), loopback, link-local with the clouds' metadata.
    let inside = matches!(
        (a, b),
        (0 | 10 | 127, _) | (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168)
    );
    // Protocol assignments, documentation, AS112, 6to4 relays, AMT, benchmarks; multicast, reserved, broadcast.
    let special = inside
        || matches!(
            (a, b, c),
            (192, 0, 0 | 2)
                | (192, 31, 196)
                | (192, 52, 193)
                | (192, 88, 99)
                | (192, 175, 48)
                | (198, 18..=19, _)
                | (198, 51, 100)
                | (203, 0, 113)
                | (224..=255, _, _)
        );
    // 168.63.129.16 is public in the registry, and in one large cloud the host's own agent.
    !special && address != Ipv4Addr::new(168, 63, 129, 16)
}

/// Global unicast (2000::/3) without what lies in it but is not, and without whatever carries an IPv4 address inside, unless that
/// one is public: a translator on the way would connect to it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inside) = embedded(address) {
        return is_public_v4(inside);
    }
    let [a, b, c, ..] = address.segments();
    if a & 0xe000 != 0x2000 {
        return false;
    }
    // Protocol assignments with Teredo (2001::/23), documentation, AS112, SRv6 and documentation again, the old 6bone.
    let special = matches!(
        (a, b, c),
        (0x2001, 0..=0x01ff | 0x0db8, _)
            | (0x2620, 0x004f, 0x8000)
            | (0x3fff, 0..=0x0fff, _)
            | (0x3ffe, _, _)
    );
    !special
}

/// The IPv4 address inside a mapped, compatible, translated (NAT64) or 6to4 address.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    // Mapped; translated; compatible, where :: and ::1 come out as 0.0.0.0 and 0.0.0.1; NAT64's well-known prefix. Its local one
    // (64:ff9b:1::/48) is no global unicast and so never public.
    let in_the_tail = matches!(
        (a, b, c, d, e, f),
        (0, 0, 0, 0, 0, 0xffff | 0) | (0, 0, 0, 0, 0xffff, 0) | (0x64, 0xff9b, 0, 0, 0, 0)
    );
    if in_the_tail {
        return Some(join(g, h));
    }
    (a == 0x2002).then(|| join(b, c))
}

fn join(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_refused_in_every_dress() {
        let addresses = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:a9fe:a9fe::",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3ffe::1",
        ];
        for text in addresses {
            let address: IpAddr = text.parse().expect(text);
            assert!(!is_public(address), "{text}");
        }
    }

    #[test]
    fn public_addresses_are_permitted() {
        let addresses = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
            "2002:808:808::1",
            "64:ff9b::8.8.8.8",
            "::ffff:8.8.8.8",
        ];
        for text in addresses {
            let address: IpAddr = text.parse().expect(text);
            assert!(is_public(address), "{text}");
        }
    }

    fn check(guard: &Guard, url: &str) -> Result<(), Forbidden> {
        guard.check(&Url::parse(url).expect(url))
    }

    #[test]
    fn urls_are_judged_by_scheme_credentials_port_and_literal_address() {
        let guard = Guard::default();
        let rows = [
            ("https://feeds.example/rss", Ok(())),
            ("http://feeds.example:8080/rss", Ok(())),
            ("ftp://feeds.example/rss", Err(Forbidden::Scheme)),
            ("file:///etc/passwd", Err(Forbidden::Scheme)),
            ("gopher://feeds.example/", Err(Forbidden::Scheme)),
            ("https://user@feeds.example/", Err(Forbidden::Credentials)),
            ("https://:pw@feeds.example/", Err(Forbidden::Credentials)),
            ("http://feeds.example:22/", Err(Forbidden::Port)),
            ("http://feeds.example:6379/", Err(Forbidden::Port)),
            ("http://127.0.0.1/", Err(Forbidden::Address)),
            // As the URL standard reads them, and so every client.
            ("http://2130706433/", Err(Forbidden::Address)),
            ("http://0x7f.1/", Err(Forbidden::Address)),
            ("http://0177.0.0.1/", Err(Forbidden::Address)),
            ("http://[::ffff:7f00:1]/", Err(Forbidden::Address)),
            ("http://[fe80::1]/", Err(Forbidden::Address)),
            ("http://１２７.0.0.1/", Err(Forbidden::Address)),
            ("http://8.8.8.8/", Ok(())),
        ];
        for (url, expected) in rows {
            assert_eq!(check(&guard, url), expected, "{url}");
        }
    }

    #[test]
    fn a_permitted_network_is_free_and_the_others_stay_as_they_were() {
        let guard = Guard::new(&["127.0.0.0/8".parse().expect("a network")]);
        assert_eq!(check(&guard, "http://127.0.0.1:41234/feed"), Ok(()));
        assert_eq!(
            check(&guard, "http://[::ffff:127.0.0.1]:41234/feed"),
            Ok(())
        );
        assert_eq!(check(&guard, "http://10.0.0.1/"), Err(Forbidden::Address));
        assert_eq!(check(&guard, "http://8.8.8.8:22/"), Err(Forbidden::Port));
        assert!(guard.permits("127.0.0.1".parse().expect("an address")));
        assert!(!guard.permits("::1".parse().expect("an address")));
    }

    #[tokio::test]
    async fn a_name_is_judged_by_where_it_leads() {
        let resolve = |guard: Guard| async move {
            guard
                .resolve("localhost".parse().expect("a name"))
                .await
                .map(|found| found.count())
        };
        assert!(resolve(Guard::default()).await.is_err());
        let loopback =
            ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network"));
        assert!(
            resolve(Guard::new(&loopback))
                .await
                .is_ok_and(|found| found > 0)
        );
    }
}
