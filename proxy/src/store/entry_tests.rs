use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::store::seal::{CHECKED_FORM, SIGNED_FORM};
use http::{HeaderMap, HeaderValue};
use xxhash_rust::xxh3::xxh3_64;

const SEAL: Seal = Seal::checksum();
const CHECKSUM_BYTES: usize = 8;

fn decode(bytes: &[u8]) -> Result<Entry, Damaged> {
    Entry::decode(bytes, &SEAL)
}

fn keyed() -> Seal {
    let key = b"a key that only the tests can know";
    Seal::keyed("tests", key, None).expect("long enough")
}

fn lines(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> FieldLines {
    FieldLines::from(&HeaderMap::from_iter(fields))
}

fn field() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let value = vec(
        prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8],
        0..40,
    );
    ("[a-z][a-z0-9-]{0,20}", value).prop_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a token");
        (
            name,
            HeaderValue::from_bytes(&value).expect("field content"),
        )
    })
}

fn policy() -> impl Strategy<Value = StoredPolicy> {
    (any::<[u64; 5]>(), any::<u16>()).prop_map(|(n, bits)| StoredPolicy {
        response_time_unix_s: n[0],
        initial_age_s: n[1],
        lifetime_s: n[2],
        stale_while_revalidate_s: n[3],
        stale_if_error_s: n[4],
        flags: Flags::from_bits(bits)
            .or_else(|| Flags::from_bits(0))
            .expect("no flag at all is valid"),
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let vary = proptest::option::of(vec(field().prop_map(|(name, _)| name), 0..5));
    let bytes = || vec(any::<u8>(), 0..60);
    (
        (bytes(), vary, bytes(), 100..600_u16),
        (vec(field(), 0..12), vec(any::<u8>(), 0..300)),
        (policy(), any::<u64>(), any::<u32>(), any::<(u64, u64)>()),
        proptest::option::of((any::<u32>(), any::<u64>())),
    )
        .prop_map(
            |((key, vary, selecting, status), (fields, body), facts, place)| {
                let (policy, began_us, fetch_ms, (epoch, sequence)) = facts;
                let mut headers = HeaderMap::new();
                for (name, value) in fields {
                    headers.append(name, value);
                }
                Entry {
                    key: CacheKey::from_bytes(key.into()),
                    vary: vary.map(VarySpec::from_names),
                    selecting: selecting.into(),
                    status: StatusCode::from_u16(status).expect("in range"),
                    part: place.and_then(|(first, more)| {
                        let complete_length = u64::from(first) + body.len() as u64 + more / 2;
                        part_at(first.into(), body.len(), complete_length).map(Box::new)
                    }),
                    headers: FieldLines::from(&headers),
                    body: body.into(),
                    policy,
                    began_us,
                    fetch_ms,
                    born: Stamp { epoch, sequence },
                    kept: Kept::default(),
                }
            },
        )
}

/// With a right checksum, so that the checks behind it are reached.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.extend(xxh3_64(content).to_be_bytes());
    bytes
}

pub(crate) fn small() -> Entry {
    Entry {
        key: CacheKey::from_bytes(Arc::from(&b"key"[..])),
        vary: Some(VarySpec::from_names([http::header::ACCEPT])),
        selecting: Box::from(&b"sel"[..]),
        status: StatusCode::OK,
        part: None,
        headers: lines([(http::header::ETAG, HeaderValue::from_static("\"a\""))]),
        body: Bytes::from_static(b"body"),
        policy: StoredPolicy {
            response_time_unix_s: 1,
            initial_age_s: 2,
            lifetime_s: 3,
            stale_while_revalidate_s: 4,
            stale_if_error_s: 5,
            flags: Flags::from_bits(0).expect("no flag at all is valid"),
        },
        began_us: 6,
        fetch_ms: 7,
        born: Stamp {
            epoch: 8,
            sequence: 9,
        },
        kept: Kept::default(),
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(entry in entry()) {
        let bytes = entry.encode(&SEAL).expect("within the limits");
        prop_assert_eq!(decode(&bytes), Ok(entry));
    }

    #[test]
    fn what_was_written_under_a_key_is_read_back_with_it_and_not_without(entry in entry()) {
        let bytes = entry.encode(&keyed()).expect("within the limits");
        prop_assert_eq!(decode(&bytes), Err(Damaged::Version));
        let plain = entry.encode(&SEAL).expect("within the limits");
        prop_assert_eq!(Entry::decode(&plain, &keyed()), Err(Damaged::Unauthentic));
        prop_assert_eq!(Entry::decode(&bytes, &keyed()), Ok(entry));
    }

    #[test]
    fn a_right_mac_is_no_reason_to_trust_lengths(bytes in vec(any::<u8>(), 0..400)) {
        let mut form = vec![SIGNED_FORM];
        form.extend(bytes);
        keyed().close(&mut form);
        // Whether it is an entry or not is all the same: it comes back.
        let _ = Entry::decode(&form, &keyed());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&bytes).is_err());
        let mut content = vec![CHECKED_FORM];
        content.extend(bytes);
        // Whether it is an entry or not is all the same: it comes back.
        let _ = decode(&sealed(&content));
    }

    #[test]
    fn a_changed_form_with_a_right_checksum_never_panics(
        entry in entry(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let bytes = entry.encode(&SEAL).expect("within the limits");
        let mut content = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        let at = at.index(content.len());
        content[at] = byte;
        let _ = decode(&sealed(&content));
        prop_assert!(decode(&sealed(&content[..cut.index(content.len())])).is_err());
    }
}

#[test]
fn a_part_that_does_not_fit_its_whole_is_damage() {
    let part = |first: u64, complete_length: u64| {
        let span = Span {
            first,
            last: first.saturating_add(3),
        };
        let part = Some(Box::new(Part {
            span,
            complete_length,
        }));
        let entry = Entry { part, ..small() };
        let bytes = entry.encode(&SEAL).expect("within the limits");
        decode(&bytes).map(|decoded| decoded.part == entry.part)
    };
    assert_eq!(part(0, 4), Ok(true));
    assert_eq!(part(6, 10), Ok(true));
    assert_eq!(part(7, 10), Err(Damaged::Value));
    assert_eq!(part(0, 0), Err(Damaged::Value));
    assert_eq!(part(u64::MAX - 4, u64::MAX), Ok(true));
    assert_eq!(part(u64::MAX - 3, u64::MAX), Err(Damaged::Value));
    assert_eq!(part(u64::MAX, u64::MAX), Err(Damaged::Value));
}

#[test]
fn selecting_fields_out_of_order_or_repeated_are_damage() {
    let names = [b"\0\x02", &b"\0\x06accept"[..], b"\0\x06cookie"].concat();
    let entry = Entry {
        vary: Some(VarySpec::from_names([
            http::header::ACCEPT,
            http::header::COOKIE,
        ])),
        ..small()
    };
    let bytes = entry.encode(&SEAL).expect("within the limits");
    let content = &bytes[..bytes.len() - CHECKSUM_BYTES];
    let at = content
        .windows(names.len())
        .position(|window| window == names)
        .expect("the names are written so");
    for other in [[b"accept", b"accept"], [b"cookie", b"accept"]] {
        let mut content = content.to_vec();
        content[at + 4..at + 10].copy_from_slice(other[0]);
        content[at + 12..at + 18].copy_from_slice(other[1]);
        assert_eq!(decode(&sealed(&content)), Err(Damaged::Value));
    }
}

#[test]
fn every_flipped_bit_is_damage() {
    for seal in [SEAL, keyed()] {
        let bytes = small().encode(&seal).expect("within the limits");
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let read = Entry::decode(&changed, &seal);
                assert!(read.is_err(), "{seal:?}, byte {at}, bit {bit}");
            }
        }
    }
}

#[test]
fn every_cut_off_form_with_a_mac_is_refused_as_nobody_s() {
    let bytes = small().encode(&keyed()).expect("within the limits");
    for len in 0..bytes.len() {
        let read = Entry::decode(&bytes[..len], &keyed());
        assert_eq!(read, Err(Damaged::Unauthentic), "{len} bytes");
    }
}

#[test]
fn a_form_with_a_mac_is_one_with_a_checksum_but_for_the_first_byte_and_the_end() {
    let plain = small().encode(&SEAL).expect("within the limits");
    let signed = small().encode(&keyed()).expect("within the limits");
    assert_eq!(plain[1..plain.len() - 8], signed[1..signed.len() - 32]);
    assert_ne!(plain[0], signed[0]);
}

#[test]
fn every_truncation_and_every_addition_is_damage() {
    let bytes = small().encode(&SEAL).expect("within the limits");
    for len in 0..bytes.len() {
        assert!(decode(&bytes[..len]).is_err(), "{len} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(decode(&longer), Err(Damaged::Checksum));
    let content = &bytes[..bytes.len() - CHECKSUM_BYTES];
    assert_eq!(
        decode(&sealed(&[content, b"x"].concat())),
        Err(Damaged::Length)
    );
}

#[test]
fn another_version_is_told_apart_from_damage() {
    let mut bytes = small().encode(&SEAL).expect("within the limits");
    bytes[0] = CHECKED_FORM + 1;
    assert_eq!(decode(&bytes), Err(Damaged::Version));
}

#[test]
fn a_limit_holds_at_exactly_its_value() {
    let mut entry = small();
    entry.selecting = vec![0; SELECTING_BYTES_MAX].into();
    let bytes = entry.encode(&SEAL).expect("at the limit");
    assert_eq!(decode(&bytes), Ok(entry.clone()));
    entry.selecting = vec![0; SELECTING_BYTES_MAX + 1].into();
    assert_eq!(entry.encode(&SEAL), Err(TooLarge));

    let names = |count: usize| (0..count).map(|n| format!("x-{n}").parse().expect("a token"));
    let mut entry = small();
    entry.vary = Some(VarySpec::from_names(names(VARY_NAMES_MAX)));
    assert!(decode(&entry.encode(&SEAL).expect("at the limit")).is_ok());
    entry.vary = Some(VarySpec::from_names(names(VARY_NAMES_MAX + 1)));
    assert_eq!(entry.encode(&SEAL), Err(TooLarge));

    let mut entry = small();
    let fields = |count| lines(names(count).map(|n| (n, HeaderValue::from_static(""))));
    entry.headers = fields(FIELDS_MAX);
    assert!(decode(&entry.encode(&SEAL).expect("at the limit")).is_ok());
    entry.headers = fields(FIELDS_MAX + 1);
    assert_eq!(entry.encode(&SEAL), Err(TooLarge));
}

#[test]
fn a_length_beyond_the_end_is_damage_and_reserves_nothing() {
    let bytes = small().encode(&SEAL).expect("within the limits");
    let body_len_at = bytes.len() - CHECKSUM_BYTES - b"body".len() - 4;
    let mut content = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
    content[body_len_at..body_len_at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(decode(&sealed(&content)), Err(Damaged::Length));
}

#[test]
fn a_body_and_its_fields_keep_no_larger_buffer_alive() {
    let large = Bytes::from(vec![b'x'; 4096]);
    let body = gather([&large[..2], &large[..3]]);
    assert_eq!(&body[..], b"xxxxx");
    let value = HeaderValue::from_maybe_shared(large.slice(0..7)).expect("field content");
    let owned = lines([(http::header::ETAG, value)]);
    assert!(large.is_unique(), "nothing else holds the large buffer");
    assert_eq!(owned.text(), b"ETag: xxxxxxx\r\n");
}

#[test]
fn an_entry_and_its_counts_take_no_more_than_256_bytes() {
    let counts = 2 * size_of::<usize>();
    assert!(size_of::<Entry>() + counts <= 256, "{}", size_of::<Entry>());
}
