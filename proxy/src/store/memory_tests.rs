use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName, HeaderValue};
use larder_policy::{Flags, StoredPolicy};

use super::*;
use crate::store::{FieldLines, Kept};
use http::HeaderMap;

const MIB: u64 = 1024 * 1024;

fn at(unix_s: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(unix_s)
}

fn key(name: &str) -> CacheKey {
    CacheKey::from_bytes(name.as_bytes().into())
}

fn request(fields: &[(HeaderName, &str)]) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_str(text).expect("field content");
    fields
        .iter()
        .map(|(name, text)| (name.clone(), value(text)))
        .collect()
}

/// A response of second 1000, fresh for a minute.
fn entry(name: &str, body: &[u8]) -> Entry {
    Entry {
        key: key(name),
        vary: None,
        selecting: Box::default(),
        status: StatusCode::OK,
        part: None,
        headers: FieldLines::default(),
        body: Bytes::copy_from_slice(body),
        policy: StoredPolicy {
            response_time_unix_s: 1000,
            initial_age_s: 0,
            lifetime_s: 60,
            stale_while_revalidate_s: 10,
            stale_if_error_s: 0,
            flags: Flags::from_bits(0).expect("no flag at all is valid"),
        },
        began_us: 0,
        fetch_ms: 0,
        born: super::super::log::Stamp::default(),
        kept: Kept::default(),
    }
}

fn variant(name: &str, by: HeaderName, value: &str) -> Entry {
    let spec = VarySpec::from_names([by.clone()]);
    Entry {
        selecting: selecting(&spec, &request(&[(by, value)])).into(),
        vary: Some(spec),
        ..entry(name, value.as_bytes())
    }
}

fn put(memory: &Memory, entry: Entry) -> bool {
    memory.put(Arc::new(entry), 0, at(1000))
}

fn body(memory: &Memory, name: &str, request: &HeaderMap) -> Option<Bytes> {
    match memory.get(key(name).as_bytes(), request, at(1000)) {
        InMemory::Hit(held) => Some(held.body.clone()),
        InMemory::VaryMiss | InMemory::Miss => None,
    }
}

#[test]
fn what_was_stored_last_is_found_and_nothing_under_another_key() {
    let (memory, none) = (Memory::new(MIB), HeaderMap::new());
    assert!(put(&memory, entry("a", b"1")));
    assert!(put(&memory, entry("a", b"2")));
    assert_eq!(body(&memory, "a", &none).as_deref(), Some(&b"2"[..]));
    assert!(matches!(
        memory.get(key("b").as_bytes(), &none, at(1000)),
        InMemory::Miss
    ));
    assert_eq!(memory.entries(), 1);
}

#[test]
fn a_request_gets_its_own_variant() {
    let memory = Memory::new(MIB);
    put(&memory, variant("a", ACCEPT_LANGUAGE, "en"));
    put(&memory, variant("a", ACCEPT_LANGUAGE, "de"));
    let asks = |language| request(&[(ACCEPT_LANGUAGE, language)]);
    assert_eq!(body(&memory, "a", &asks("en")).as_deref(), Some(&b"en"[..]));
    assert_eq!(body(&memory, "a", &asks("de")).as_deref(), Some(&b"de"[..]));
    assert!(matches!(
        memory.get(key("a").as_bytes(), &asks("fr"), at(1000)),
        InMemory::VaryMiss
    ));
    assert_eq!(memory.entries(), 2);
}

#[test]
fn another_vary_takes_the_place_of_all_variants() {
    let memory = Memory::new(MIB);
    put(&memory, variant("a", ACCEPT_LANGUAGE, "en"));
    put(&memory, variant("a", ACCEPT, "text/html"));
    assert_eq!(
        body(&memory, "a", &request(&[(ACCEPT_LANGUAGE, "en")])),
        None
    );
    assert!(body(&memory, "a", &request(&[(ACCEPT, "text/html")])).is_some());
    assert_eq!(memory.entries(), 1);
}

#[test]
fn a_removal_takes_all_variants() {
    let memory = Memory::new(MIB);
    put(&memory, variant("a", ACCEPT, "text/html"));
    put(&memory, variant("a", ACCEPT, "text/plain"));
    assert_eq!(memory.remove(&key("a")), 2);
    assert_eq!(memory.remove(&key("a")), 0);
    assert_eq!(body(&memory, "a", &request(&[(ACCEPT, "text/html")])), None);
    assert_eq!((memory.entries(), memory.bytes()), (0, 0));
}

#[test]
fn the_oldest_variant_goes_when_there_are_too_many() {
    let memory = Memory::new(MIB);
    for n in 0..=VARIANTS_MAX {
        put(&memory, variant("a", ACCEPT, &n.to_string()));
    }
    assert_eq!(memory.entries(), VARIANTS_MAX as u64);
    assert_eq!(body(&memory, "a", &request(&[(ACCEPT, "0")])), None);
    assert!(body(&memory, "a", &request(&[(ACCEPT, "1")])).is_some());
}

#[test]
fn nothing_is_found_past_all_its_windows() {
    let (memory, none) = (Memory::new(MIB), HeaderMap::new());
    put(&memory, entry("a", b"1"));
    assert!(matches!(
        memory.get(key("a").as_bytes(), &none, at(1069)),
        InMemory::Hit(_)
    ));
    assert!(matches!(
        memory.get(key("a").as_bytes(), &none, at(1070)),
        InMemory::Miss
    ));
    assert_eq!(memory.entries(), 0, "what is dead is not kept");
}

#[test]
fn a_dead_variant_goes_when_another_is_stored() {
    let memory = Memory::new(MIB);
    put(&memory, variant("a", ACCEPT, "old"));
    let mut new = variant("a", ACCEPT, "new");
    new.policy.response_time_unix_s = 2000;
    memory.put(Arc::new(new), 0, at(2000));
    assert_eq!(memory.entries(), 1);
}

#[test]
fn bytes_stay_below_the_limit_and_the_count_is_true() {
    let bytes_max = 2 * MIB;
    let memory = Memory::new(bytes_max);
    for n in 0..2000 {
        put(&memory, entry(&n.to_string(), &[b'x'; 8000]));
        assert!(memory.bytes() <= bytes_max);
    }
    let none = HeaderMap::new();
    let found = (0..2000).filter(|n| body(&memory, &n.to_string(), &none).is_some());
    assert_eq!(found.count() as u64, memory.entries());
    assert!(memory.bytes() > bytes_max / 2, "most of the memory is used");
}

#[test]
fn an_object_too_large_is_refused_and_the_older_one_goes() {
    let memory = Memory::new(MIB);
    let quarter = vec![b'x'; usize::try_from(MIB / 4).expect("small")];
    assert!(put(&memory, entry("a", b"1")));
    assert!(!put(&memory, entry("a", &quarter)));
    assert_eq!(body(&memory, "a", &HeaderMap::new()), None);
    assert!(put(&memory, entry("b", &quarter[2048..])));
    assert!(body(&memory, "b", &HeaderMap::new()).is_some());
    assert!(!put(&Memory::new(0), entry("c", b"")));
}

#[test]
fn every_size_of_memory_takes_objects_of_its_limit() {
    for bytes_max in [1, 16, 100, 256, 1024].map(|n| n * MIB) {
        let memory = Memory::new(bytes_max);
        let overhead = entry("a", b"").bytes_held() as u64 + SLOT_OVERHEAD_BYTES + 64;
        let size = usize::try_from(memory.slot_bytes_max - overhead).expect("fits");
        assert!(put(&memory, entry("a", &vec![b'x'; size])));
        assert!(
            body(&memory, "a", &HeaderMap::new()).is_some(),
            "{bytes_max} bytes"
        );
    }
}

#[test]
fn variants_together_stay_within_what_one_object_may_take() {
    let memory = Memory::new(MIB);
    for n in 0..10 {
        let large = Bytes::from(vec![b'x'; 60_000]);
        put(
            &memory,
            Entry {
                body: large,
                ..variant("a", ACCEPT, &n.to_string())
            },
        );
        assert!(memory.bytes() <= memory.slot_bytes_max);
    }
    assert_eq!(memory.entries(), 4);
    assert!(body(&memory, "a", &request(&[(ACCEPT, "9")])).is_some());
}

#[test]
fn a_stale_response_asks_below_once() {
    let (memory, none) = (Memory::new(MIB), HeaderMap::new());
    put(&memory, entry("a", b"1"));
    let asks = |now| match memory.get(key("a").as_bytes(), &none, at(now)) {
        InMemory::Hit(held) => held.policy.ttl_s(at(now)) <= 0 && held.kept.asks_below(),
        other => panic!("{other:?}"),
    };
    assert!(!asks(1059));
    assert!(asks(1060));
    assert!(!asks(1061));
}

#[test]
fn what_comes_from_below_never_replaces_something_newer() {
    let memory = Memory::new(MIB);
    let none = HeaderMap::new();
    let below = |time, body: &[u8]| {
        let mut entry = entry("a", body);
        entry.policy.response_time_unix_s = time;
        Arc::new(entry)
    };
    assert!(memory.put_if_newer(&below(1000, b"1"), 0, at(1000)));
    assert!(memory.put_if_newer(&below(999, b"0"), 0, at(1000)));
    assert_eq!(body(&memory, "a", &none).as_deref(), Some(&b"1"[..]));
    assert!(memory.put_if_newer(&below(1001, b"2"), 0, at(1001)));
    assert_eq!(body(&memory, "a", &none).as_deref(), Some(&b"2"[..]));
    let other_vary = Arc::new(variant("a", ACCEPT, "old"));
    assert!(
        !memory.put_if_newer(&other_vary, 0, at(1001)),
        "older, under another Vary"
    );
    assert_eq!(body(&memory, "a", &none).as_deref(), Some(&b"2"[..]));
}

fn part(name: &str, body: &[u8]) -> Entry {
    let span = larder_policy::Span {
        first: 0,
        last: body.len() as u64 - 1,
    };
    Entry {
        status: StatusCode::PARTIAL_CONTENT,
        part: Some(Box::new(larder_policy::Part {
            span,
            complete_length: 100,
        })),
        ..entry(name, body)
    }
}

#[test]
fn a_part_never_takes_the_place_of_a_whole_and_the_whole_always_that_of_a_part() {
    let memory = Memory::new(1 << 20);
    let held = |memory: &Memory| match memory.get(key("a").as_bytes(), &HeaderMap::new(), at(1000))
    {
        InMemory::Hit(held) => held.body.clone(),
        other => panic!("{other:?}"),
    };
    assert!(put(&memory, part("a", b"pa")));
    assert_eq!(held(&memory), "pa");
    assert!(put(&memory, part("a", b"part")));
    assert_eq!(held(&memory), "part");
    assert!(put(&memory, entry("a", b"whole")));
    assert_eq!(held(&memory), "whole");
    assert!(!put(&memory, part("a", b"part")));
    assert_eq!(held(&memory), "whole");
    let newer = |mut entry: Entry| {
        entry.policy.response_time_unix_s += 1;
        Arc::new(entry)
    };
    assert!(memory.put_if_newer(&newer(part("a", b"part")), 0, at(1001)));
    assert_eq!(held(&memory), "whole");
}

#[test]
fn a_part_pushes_out_no_whole_variant_either() {
    let memory = Memory::new(1 << 20);
    put(&memory, variant("a", ACCEPT, "x"));
    assert!(!put(&memory, part("a", b"without vary")));
    let beside = Entry {
        status: StatusCode::PARTIAL_CONTENT,
        part: part("a", b"y").part,
        ..variant("a", ACCEPT, "y")
    };
    assert!(put(&memory, beside));
    for wanted in ["x", "y"] {
        let found = memory.get(key("a").as_bytes(), &request(&[(ACCEPT, wanted)]), at(1000));
        assert!(matches!(found, InMemory::Hit(_)), "{wanted}: {found:?}");
    }
}

#[test]
fn a_whole_that_is_of_no_use_any_more_gives_way_to_a_part() {
    let memory = Memory::new(1 << 20);
    let mut short = entry("a", b"whole");
    short.policy.flags = larder_policy::Flags::default();
    put(&memory, short);
    assert!(!put(&memory, part("a", b"part")));
    let mut late = part("a", b"part");
    late.policy.response_time_unix_s = 5000;
    assert!(memory.put(Arc::new(late), 0, at(5000)));
}

/// Responses that go by before one that took so long gives way to them; they took next to nothing.
fn outlives(fetch_ms: u32) -> usize {
    let memory = Memory::new(MIB);
    let cheap = |n: u32| put(&memory, entry(&n.to_string(), &[0; 10_000]));
    assert!((0..200).all(cheap));
    let this = entry("this", &[0; 10_000]);
    put(&memory, Entry { fetch_ms, ..this });
    let is_there = || memory.slots.peek(&key("this")).is_some();
    let outlived = (200..1000).take_while(|n| is_there() && cheap(*n));
    outlived.count()
}

#[test]
fn what_took_the_upstream_long_outlives_what_did_not() {
    let (cheap, dear) = (outlives(0), outlives(1000));
    assert!(dear >= cheap + 10, "{dear} and {cheap}");
    assert!(dear < 800, "it never goes");
}

#[test]
fn the_budget_holds_when_everything_is_dear_and_nothing_stays_for_ever() {
    let (memory, none) = (Memory::new(MIB), HeaderMap::new());
    let largest = 20_000;
    for n in 0..3000_u32 {
        // Ever dearer, so that each is worth more than the mean.
        let fetch_ms = 10 * (n + 1);
        let dear = entry(&n.to_string(), &vec![0; 100 + n as usize * 7 % largest]);
        put(&memory, Entry { fetch_ms, ..dear });
        assert!(memory.bytes() <= MIB + MIB / 10, "{} bytes", memory.bytes());
    }
    assert!(body(&memory, "0", &none).is_none());
}

#[test]
fn the_budget_holds_when_what_is_dear_is_large() {
    let memory = Memory::new(256 * MIB);
    let body = Bytes::from(vec![0; 8 << 20]);
    let with = |name: String, bytes: usize, fetch_ms: u32| Entry {
        body: body.slice(..bytes),
        fetch_ms,
        ..entry(&name, b"")
    };
    for n in 0..1024 {
        put(&memory, with(format!("cheap {n}"), 1 << 20, 1));
    }
    for n in 0..500 {
        put(&memory, with(format!("dear {n}"), 8 << 20, 10_000));
        // A fifth is the allocator's, and a twentieth and one response are over what is left; seldom another one, which went to a
        // share of the table that had room while others were over theirs.
        let held = memory.bytes() / MIB;
        assert!(held <= 256 * 84 / 100 + 2 * 8, "{held} MiB");
    }
}
