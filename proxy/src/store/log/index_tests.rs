use http::{HeaderMap, HeaderValue};
use larder_policy::{QueryRules, canonical_target};
use proptest::prelude::*;

use super::*;
use crate::store::log::record::{Purge, Scope};

const EPOCH: u64 = 5;

fn key(host: &str, target: &str) -> CacheKey {
    let target = canonical_target(target, &QueryRules::default()).expect("a path");
    CacheKey::new("n", "http", host, &target, None, &[])
}

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        let name = http::HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    };
    fields.iter().map(pair).collect()
}

fn at(sequence: u64) -> Stamp {
    Stamp {
        epoch: EPOCH,
        sequence,
    }
}

fn record(scope: Scope, soft: bool) -> Record {
    Record::new(&Purge { scope, soft }).expect("short enough")
}

fn index(purges: impl IntoIterator<Item = (Scope, bool, u64)>) -> Index {
    let mut index = Index::new(at(0));
    for (scope, soft, sequence) in purges {
        index.apply(&record(scope, soft), sequence);
        index.applied(sequence);
    }
    index
}

fn prefix(authority: Option<&str>, prefix: &str) -> Scope {
    Scope::Prefix {
        authority: authority.map(str::to_owned),
        prefix: prefix.to_owned(),
    }
}

fn group(host: &str, name: &str) -> Scope {
    Scope::Group {
        origin: key(host, "/").origin().to_vec(),
        name: name.to_owned(),
    }
}

#[test]
fn each_scope_covers_what_it_names_and_nothing_else() {
    let tags = fields(&[
        ("cache-tag", "red, green ,,"),
        ("cache-tag", "blue"),
        ("surrogate-key", "one  two"),
        ("cache-groups", "\"g1\", \"g 2\""),
    ]);
    let tag = |name: &str| Scope::Tag(name.as_bytes().to_vec());
    // scope, does it cover http://h:8000/a/b?x=1 with these tags
    for (scope, covers) in [
        (Scope::All, true),
        (Scope::Url(key("h:8000", "/a/b?x=1")), true),
        (Scope::Url(key("h", "/a/b?x=1")), false),
        (Scope::Url(key("h:8000", "/a/b")), false),
        (Scope::Target("/a/b?x=1".into()), true),
        (Scope::Target("/a/b".into()), false),
        (prefix(None, "/"), true),
        (prefix(None, "/a/"), true),
        (prefix(None, "/a/b?x=1"), true),
        (prefix(None, "/a/b?x=11"), false),
        (prefix(None, "/b"), false),
        (prefix(Some("h:8000"), "/a"), true),
        (prefix(Some("h"), "/a"), false),
        (prefix(Some(""), "/a"), false),
        (tag("red"), true),
        (tag("green"), true),
        (tag("blue"), true),
        (tag("one"), true),
        (tag("two"), true),
        (tag("g1"), true),
        (tag("g 2"), true),
        (tag("Red"), false),
        (tag("re"), false),
        (tag("one  two"), false),
        (group("h:8000", "g1"), true),
        (group("h:8000", "red"), false),
        (group("h", "g1"), false),
    ] {
        let index = index([(scope.clone(), false, 10)]);
        let judged = index.judge(&key("h:8000", "/a/b?x=1"), &tags, at(9));
        let expected = if covers {
            Verdict::Dead
        } else {
            Verdict::Alive
        };
        assert_eq!(judged, expected, "{scope:?}");
        let other = index.judge(&key("other", "/zzz"), &HeaderMap::new(), at(9));
        let all = matches!(scope, Scope::All) || scope == prefix(None, "/");
        assert_eq!(other == Verdict::Dead, all, "{scope:?}");
    }
}

#[test]
fn what_began_before_a_purge_is_covered_and_what_began_with_it_known_is_not() {
    let (hard, soft) = (false, true);
    let (url, all) = (Scope::Url(key("h", "/a")), Scope::All);
    let stale = |sequence| Verdict::Stale { sequence };
    // purges, born, verdict
    type Row = (Vec<(Scope, bool, u64)>, u64, Verdict);
    let rows: Vec<Row> = vec![
        (vec![], 0, Verdict::Alive),
        (vec![(url.clone(), hard, 10)], 9, Verdict::Dead),
        (vec![(url.clone(), hard, 10)], 10, Verdict::Alive),
        (vec![(url.clone(), hard, 10)], 11, Verdict::Alive),
        (vec![(url.clone(), soft, 10)], 9, stale(10)),
        (vec![(url.clone(), soft, 10)], 10, Verdict::Alive),
        (
            vec![(url.clone(), hard, 10), (all.clone(), soft, 12)],
            9,
            Verdict::Dead,
        ),
        (
            vec![(url.clone(), hard, 10), (all, soft, 12)],
            10,
            stale(12),
        ),
        (
            vec![(url.clone(), hard, 10), (url.clone(), soft, 12)],
            9,
            Verdict::Dead,
        ),
        (
            vec![(url.clone(), soft, 10), (url.clone(), hard, 12)],
            11,
            Verdict::Dead,
        ),
        (
            vec![(url.clone(), hard, 12), (url, hard, 10)],
            11,
            Verdict::Dead,
        ),
    ];
    for (purges, born, expected) in rows {
        let judged = index(purges.clone()).judge(&key("h", "/a"), &HeaderMap::new(), at(born));
        assert_eq!(judged, expected, "{purges:?} {born}");
    }
}

#[test]
fn of_another_log_nothing_is_known_but_what_is_purged_here_is_dead() {
    let index = index([(Scope::Url(key("h", "/a")), false, 10)]);
    for (epoch, sequence) in [(0, 0), (4, 11), (6, 11)] {
        let born = Stamp { epoch, sequence };
        let judge = |target| index.judge(&key("h", target), &HeaderMap::new(), born);
        assert_eq!(judge("/b"), Verdict::Unknown);
        assert_eq!(judge("/a"), Verdict::Dead);
    }
}

#[test]
fn the_oldest_of_too_many_purges_leave_a_floor() {
    let mut index = Index {
        records_max: 10,
        ..Index::new(at(0))
    };
    for number in 1..=11_u64 {
        let name = format!("/{}", "x".repeat(number as usize));
        index.apply(&record(prefix(None, &name), false), number);
        index.applied(number);
    }
    assert_eq!((index.len(), index.floor), (5, 6));
    assert_eq!(index.purged.prefix_lengths.len(), 5);
    let judge = |born| index.judge(&key("h", "/y"), &HeaderMap::new(), at(born));
    assert_eq!(judge(5), Verdict::Dead);
    assert_eq!(judge(6), Verdict::Alive);
    let covered = |born| index.judge(&key("h", "/xxxxxxxxxxx"), &HeaderMap::new(), at(born));
    assert_eq!(covered(10), Verdict::Dead);
    assert_eq!(covered(11), Verdict::Alive);
}

#[test]
fn one_thing_purged_again_and_again_takes_one_place() {
    let purges = (1..100_000).map(|number| (Scope::All, false, number));
    assert_eq!(index(purges).len(), 1);
}

/// Few enough that they meet.
fn scope() -> impl Strategy<Value = Scope> {
    let host = prop_oneof![Just("h"), Just("i")];
    let target = prop_oneof![
        Just("/"),
        Just("/a"),
        Just("/a/b"),
        Just("/a?x"),
        Just("/b")
    ];
    prop_oneof![
        (host.clone(), target.clone()).prop_map(|(host, target)| Scope::Url(key(host, target))),
        target
            .clone()
            .prop_map(|target| Scope::Target(target.to_owned())),
        (proptest::option::of(host.clone()), target)
            .prop_map(|(host, target)| prefix(host, target)),
        prop_oneof![Just("t"), Just("u")].prop_map(|tag: &str| Scope::Tag(tag.as_bytes().to_vec())),
        host.prop_map(|host| group(host, "t")),
        Just(Scope::All),
    ]
}

/// What a purge covers, said without the index.
fn covers(scope: &Scope, host: &str, target: &str, tag: Option<&str>, is_group: bool) -> bool {
    match scope {
        Scope::Url(url) => *url == key(host, target),
        Scope::Target(other) => other == target,
        Scope::Prefix { authority, prefix } => {
            authority
                .as_deref()
                .is_none_or(|authority| authority == host)
                && target.starts_with(prefix)
        }
        Scope::Tag(other) => tag.is_some_and(|tag| tag.as_bytes() == other),
        Scope::Group { origin, name } => {
            is_group && tag == Some(name) && key(host, "/").origin() == origin
        }
        Scope::All => true,
    }
}

proptest! {
    #[test]
    fn the_index_says_what_a_walk_through_all_purges_says(
        purges in proptest::collection::vec((scope(), any::<bool>()), 0..20),
        (host, target) in (prop_oneof![Just("h"), Just("i")], prop_oneof![Just("/"), Just("/a"), Just("/a/b"), Just("/a?x")]),
        (tag, is_group) in (prop_oneof![Just(None), Just(Some("t")), Just(Some("u"))], any::<bool>()),
        born in 0..22_u64,
    ) {
        let mut headers = HeaderMap::new();
        if let Some(tag) = tag {
            let (name, value) = match is_group {
                true => ("cache-groups", format!("\"{tag}\"")),
                false => ("cache-tag", tag.to_owned()),
            };
            headers.insert(name, HeaderValue::try_from(value).expect("a field's value"));
        }
        let numbered: Vec<_> = purges.into_iter().zip(1..).map(|((scope, soft), number)| (scope, soft, number)).collect();
        let later = |soft| numbered.iter().rfind(|(scope, is_soft, number)| {
            *is_soft == soft && *number > born && covers(scope, host, target, tag, is_group)
        });
        let expected = match (later(false), later(true)) {
            (Some(_), _) => Verdict::Dead,
            (None, Some((_, _, sequence))) => Verdict::Stale { sequence: *sequence },
            (None, None) => Verdict::Alive,
        };
        let judged = index(numbered.clone()).judge(&key(host, target), &headers, at(born));
        prop_assert_eq!(judged, expected);
    }

    #[test]
    fn any_bytes_are_a_record_that_comes_back_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(record) = Record::from_bytes(bytes.clone()) {
            prop_assert_eq!(record.as_bytes(), &bytes[..]);
            let mut index = Index::new(at(0));
            index.apply(&record, 3);
            prop_assert_eq!(index.len(), 1);
        }
    }

    #[test]
    fn every_purge_is_a_record(scope in scope(), soft: bool) {
        let record = record(scope, soft);
        prop_assert_eq!(Record::from_bytes(record.as_bytes().to_vec()), Some(record));
    }
}
