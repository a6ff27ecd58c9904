//! RFC 9111 §4.1.

use http::header::HeaderName;
use larder_policy::{Vary, VarySpec, selecting, selecting_value, vary};
use proptest::prelude::*;

use crate::support::fields;

fn spec(names: &[&str]) -> VarySpec {
    VarySpec::from_names(
        names
            .iter()
            .map(|name| name.parse::<HeaderName>().expect("a name")),
    )
}

#[test]
fn vary_names_fields_or_everything() {
    let rows = [
        ("", Vary::None),
        ("Vary:", Vary::None),
        ("Vary: ,", Vary::None),
        ("Vary: Accept", Vary::Fields(spec(&["accept"]))),
        ("Vary: B, a ,A,,b", Vary::Fields(spec(&["a", "b"]))),
        ("Vary: b\nVary: a", Vary::Fields(spec(&["a", "b"]))),
        ("Vary: *", Vary::Any),
        ("Vary: a, *", Vary::Any),
        ("Vary: *, *", Vary::Any),
        ("Vary:\nVary: *", Vary::Any),
        ("Vary: a b", Vary::Any),
        ("Vary: \"a\"", Vary::Any),
        ("Vary: a;q=1", Vary::Any),
    ];
    for (row, expected) in rows {
        assert_eq!(vary(&fields(row)), expected, "{row}");
    }
}

/// (field, one request, another, do they match)
#[test]
fn values_match_when_they_can_only_mean_the_same() {
    let rows = [
        ("foo", "Foo: 1", "Foo: 1", true),
        ("foo", "Foo: 1", "Foo: 2", false),
        ("foo", "Foo: a", "Foo: A", false),
        ("foo", "Foo: 1", "", false),
        ("foo", "Foo:", "", false),
        ("foo", "", "Bar: 1", true),
        ("foo", "Foo: 1, 2", "Foo: 1\nFoo: 2", true),
        ("foo", "Foo: 1,2", "Foo:  1 ,  2 ", true),
        ("foo", "Foo: 1, 2", "Foo: 2, 1", false),
        ("foo", "Foo: \"1, 2\"", "Foo: \"1,2\"", false),
        ("foo", "Foo: 1 2", "Foo: 1  2", false),
        ("foo", "Foo: 1", "Foo: 1,", false),
        (
            "accept-encoding",
            "Accept-Encoding: gzip, br",
            "Accept-Encoding: br,GZIP",
            true,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip",
            "Accept-Encoding: gzip;q=1.000",
            true,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip",
            "Accept-Encoding: gzip;q=0",
            false,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip;q=0.5",
            "Accept-Encoding: gzip ; Q=0.500",
            true,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip;q=0.5",
            "Accept-Encoding: gzip;q=0.501",
            false,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip, gzip",
            "Accept-Encoding: gzip",
            true,
        ),
        ("accept-encoding", "Accept-Encoding:", "", false),
        (
            "accept-encoding",
            "Accept-Encoding: gzip;q=2",
            "Accept-Encoding: gzip",
            false,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip;q=0.5000",
            "Accept-Encoding: gzip;q=0.5",
            false,
        ),
        (
            "accept-encoding",
            "Accept-Encoding: gzip;x=1",
            "Accept-Encoding: gzip",
            false,
        ),
        (
            "accept-language",
            "Accept-Language: en, de",
            "Accept-Language: de, EN",
            true,
        ),
        (
            "accept-language",
            "Accept-Language: en, de;q=0.5",
            "Accept-Language: de;q=0.5, en",
            true,
        ),
        (
            "accept-language",
            "Accept-Language: en;q=0.5, de",
            "Accept-Language: de;q=0.5, en",
            false,
        ),
        (
            "accept-language",
            "Accept-Language: en, fr",
            "Accept-Language: en-GB, fr",
            false,
        ),
    ];
    for (name, a, b, expected) in rows {
        let spec = spec(&[name]);
        let matches = selecting(&spec, &fields(a)) == selecting(&spec, &fields(b));
        assert_eq!(matches, expected, "{name}: {a:?} {b:?}");
    }
}

#[test]
fn the_encoding_is_what_stores_rely_on() {
    let bytes = selecting(&spec(&["b", "a"]), &fields("B: xy"));
    assert_eq!(bytes, b"\0\x01a\xff\xff\xff\xff\0\x01b\0\0\0\x02xy");
    assert_eq!(
        selecting_value(&HeaderName::from_static("b"), &fields("B: x\nB: y")),
        Some(b"x,y".to_vec())
    );
    assert_eq!(
        selecting_value(&HeaderName::from_static("a"), &fields("B: x")),
        None
    );
}

proptest! {
    #[test]
    fn selections_are_equal_exactly_when_their_values_are(
        a in prop::collection::vec(prop::option::of("[a-b,\" \u{1}]{0,4}"), 2),
        b in prop::collection::vec(prop::option::of("[a-b,\" \u{1}]{0,4}"), 2),
    ) {
        let names = ["x", "y"].map(HeaderName::from_static);
        let request = |values: &[Option<String>]| {
            let mut headers = http::HeaderMap::new();
            for (name, value) in names.iter().zip(values) {
                if let Some(value) = value.as_ref().and_then(|v| v.parse().ok()) {
                    headers.append(name, value);
                }
            }
            headers
        };
        let (a, b) = (request(&a), request(&b));
        let spec = VarySpec::from_names(names.clone());
        let values = |headers| names.each_ref().map(|name| selecting_value(name, headers));
        prop_assert_eq!(selecting(&spec, &a) == selecting(&spec, &b), values(&a) == values(&b));
    }
}
