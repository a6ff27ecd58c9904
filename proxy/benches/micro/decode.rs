//! What does it take to read an entry that comes from Redis? The checksum or the MAC over all of it is the most of it; copying the
//! bytes alone is the floor.

use bytes::Bytes;
use divan::{Bencher, black_box, counter::BytesCount};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use larder_policy::{CacheKey, Flags, QueryRules, StoredPolicy, canonical_target};
use larder_proxy::store::{Entry, FieldLines, Kept, Seal, Stamp};
use xxhash_rust::xxh3::xxh3_64;

const BODIES_BYTES: [usize; 3] = [100, 1024, 64 * 1024];

fn entry(body_bytes: usize) -> Entry {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::ETAG, "\"0123456789abcdef\""),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body_bytes));
    let target = canonical_target("/articles?limit=20&page=3", &QueryRules::default()).unwrap();
    Entry {
        key: CacheKey::new("namespace", "http", "api.example.org", &target, None, &[]),
        vary: None,
        selecting: Box::default(),
        status: StatusCode::OK,
        part: None,
        headers: FieldLines::from(&headers),
        body: Bytes::from(vec![b'x'; body_bytes]),
        policy: StoredPolicy {
            response_time_unix_s: 784_111_777,
            initial_age_s: 0,
            lifetime_s: 600,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            flags: Flags::default(),
        },
        began_us: 784_111_777_000_000,
        fetch_ms: 12,
        born: Stamp::default(),
        kept: Kept::default(),
    }
}

fn decode(bencher: Bencher<'_, '_>, seal: &Seal, body_bytes: usize) {
    let form = entry(body_bytes).encode(seal).unwrap();
    bencher
        .counter(BytesCount::new(form.len()))
        .bench_local(|| Entry::decode(black_box(&form), seal).unwrap());
}

#[divan::bench(args = BODIES_BYTES)]
fn with_checksum(bencher: Bencher<'_, '_>, body_bytes: usize) {
    decode(bencher, &Seal::checksum(), body_bytes);
}

#[divan::bench(args = BODIES_BYTES)]
fn with_mac(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let key = b"a key that is known to this program";
    decode(
        bencher,
        &Seal::keyed("namespace", key, None).unwrap(),
        body_bytes,
    );
}

#[divan::bench(args = BODIES_BYTES)]
fn only_copied(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let form = entry(body_bytes).encode(&Seal::checksum()).unwrap();
    bencher
        .counter(BytesCount::new(form.len()))
        .bench_local(|| Bytes::copy_from_slice(black_box(&form)));
}

#[divan::bench(args = BODIES_BYTES)]
fn only_summed(bencher: Bencher<'_, '_>, body_bytes: usize) {
    let form = entry(body_bytes).encode(&Seal::checksum()).unwrap();
    bencher
        .counter(BytesCount::new(form.len()))
        .bench_local(|| xxh3_64(black_box(&form)));
}
