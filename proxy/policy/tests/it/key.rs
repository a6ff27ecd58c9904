//! Authorities and cache keys.

use std::collections::HashMap;
use std::sync::Arc;

use larder_policy::{BadAuthority, CacheKey, QueryRules, canonical_authority, canonical_target};
use proptest::prelude::*;

#[test]
fn spellings_of_one_authority_become_one() {
    let rows = [
        ("http", "Example.COM", "example.com"),
        ("http", "example.com:80", "example.com"),
        ("http", "example.com:0080", "example.com"),
        ("http", "example.com:", "example.com"),
        ("http", "example.com:443", "example.com:443"),
        ("https", "example.com:443", "example.com"),
        ("https", "example.com:80", "example.com:80"),
        ("http", "example.com:8000", "example.com:8000"),
        ("http", "example.com:08000", "example.com:8000"),
        ("http", "example.com:65535", "example.com:65535"),
        ("http", "127.0.0.1:8000", "127.0.0.1:8000"),
        ("http", "[::1]:80", "[::1]"),
        ("http", "[FE80::A]:81", "[fe80::a]:81"),
        ("http", "a_b-c~d", "a_b-c~d"),
        ("http", "example.com.", "example.com."),
    ];
    for (scheme, authority, expected) in rows {
        assert_eq!(
            canonical_authority(scheme, authority).as_deref(),
            Ok(expected),
            "{authority}"
        );
    }
}

#[test]
fn what_names_no_host_is_refused() {
    let long = "a".repeat(256);
    for authority in [
        "",
        ":80",
        "user@host",
        "user:pw@host",
        "host:65536",
        "host:-1",
        "host:+80",
        "host:8a",
        "host:80:80",
        "ho st",
        " host",
        "host ",
        "host\t",
        "host\n",
        "ho\0st",
        "hóst",
        "host/x",
        "host?x",
        "host#x",
        "host\\x",
        "a,b",
        "%41",
        "[::1",
        "::1",
        "[::1]x",
        "[::1]]",
        "[]",
        "[::g]",
        "[fe80::1%25eth0]",
        "[v1.x]",
        &long,
    ] {
        assert_eq!(
            canonical_authority("http", authority),
            Err(BadAuthority),
            "{authority:?}"
        );
    }
    assert!(canonical_authority("http", &long[1..]).is_ok());
}

fn key(
    namespace: &str,
    authority: &str,
    target: &str,
    identity: Option<&[u8]>,
    keyed: &[(&str, Option<&[u8]>)],
) -> CacheKey {
    let target = canonical_target(target, &QueryRules::default()).expect("a canonical target");
    CacheKey::new(namespace, "http", authority, &target, identity, keyed)
}

#[test]
fn no_part_of_a_key_flows_into_the_next() {
    let keys = [
        key("n", "host", "/a", None, &[]),
        key("nh", "ost", "/a", None, &[]),
        key("n", "host", "/a", Some(b""), &[]),
        key("n", "host", "/a", Some(b"x"), &[]),
        key("n", "host", "/a", None, &[("x", None)]),
        key("n", "host", "/a", None, &[("x", Some(b""))]),
        key(
            "n",
            "host",
            "/a",
            None,
            &[("x", Some(b"1")), ("y", Some(b"2"))],
        ),
        key("n", "host", "/a", None, &[("x", Some(b"1y2"))]),
    ];
    for (i, a) in keys.iter().enumerate() {
        for (j, b) in keys.iter().enumerate() {
            assert_eq!(a == b, i == j, "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_key_is_found_by_its_bytes_and_prints_readably() {
    let key = key("n", "host", "/a", None, &[]);
    let again = CacheKey::from_bytes(Arc::from(key.as_bytes()));
    assert_eq!(again, key);
    let map = HashMap::from([(key.clone(), 1)]);
    assert_eq!(map.get(again.as_bytes()), Some(&1));
    let printed = format!("{key:?}");
    assert!(
        printed.contains("host") && printed.contains("/a") && printed.is_ascii(),
        "{printed}"
    );
}

/// Short parts over a small alphabet, length bytes among it, so that collisions would be found.
fn part() -> impl Strategy<Value = String> {
    "[\u{0}-\u{3}a-b]{0,4}"
}

type Parts = (
    String,
    String,
    String,
    Option<String>,
    Vec<(String, Option<String>)>,
);

fn parts() -> impl Strategy<Value = Parts> {
    (
        part(),
        part(),
        part(),
        prop::option::of(part()),
        prop::collection::vec((part(), prop::option::of(part())), 0..3),
    )
}

fn encoded(parts: &Parts) -> CacheKey {
    let (namespace, scheme, authority, identity, keyed) = parts;
    let target = canonical_target("/", &QueryRules::default()).expect("a canonical target");
    let keyed: Vec<_> = keyed
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_deref().map(str::as_bytes)))
        .collect();
    CacheKey::new(
        namespace,
        scheme,
        authority,
        &target,
        identity.as_deref().map(str::as_bytes),
        &keyed,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn keys_are_equal_exactly_when_their_parts_are(a in parts(), b in parts()) {
        prop_assert_eq!(encoded(&a) == encoded(&b), a == b);
    }

    #[test]
    fn canonical_authorities_are_their_own_canonical_form(authority in "[a-zA-Z0-9.:\\[\\]@-]{0,12}") {
        if let Ok(once) = canonical_authority("http", &authority) {
            prop_assert_eq!(canonical_authority("http", &once), Ok(once));
        }
    }
}

#[test]
fn an_origin_is_what_its_keys_have_in_common_and_no_others() {
    let target = |path| canonical_target(path, &QueryRules::default()).expect("a path");
    let key = |host, path| CacheKey::new("n", "http", host, &target(path), None, &[("x", None)]);
    let origin = CacheKey::origin_of("n", "http", "h");
    assert_eq!(key("h", "/a").origin(), origin);
    assert_eq!(key("h", "/b?c").origin(), origin);
    for other in [key("h:1", "/a"), key("", "/a")] {
        assert_ne!(other.origin(), origin);
    }
    let https = CacheKey::new("n", "https", "h", &target("/a"), None, &[]);
    assert_ne!(https.origin(), origin);
    for bytes in [&b""[..], b"abc", &[0, 0, 0, 9, 1], &[255; 20]] {
        assert!(bytes.starts_with(CacheKey::from_bytes(bytes.into()).origin()));
    }
}
