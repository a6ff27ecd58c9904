//! What does it take to make a key? The front writes it behind what it knows of the host, for a target that is its own canonical
//! form; the engine makes the canonical form first; a parser of URLs shows what it costs to understand one.

use divan::{Bencher, black_box};
use larder_policy::{
    CacheKey, QueryRules, canonical_authority, canonical_target, is_canonical_target,
};

const TARGETS: [&str; 2] = [
    "/articles",
    "/articles?limit=20&page=3&q=caf%C3%A9&sort=date",
];
const HOST: &str = "api.example.org:8000";

#[divan::bench(args = TARGETS)]
fn at_once(bencher: Bencher<'_, '_>, target: &str) {
    let rules = QueryRules::default();
    let mut key = CacheKey::origin_of("namespace", "http", HOST);
    let origin_bytes = key.len();
    bencher.bench_local(|| {
        key.truncate(origin_bytes);
        assert!(is_canonical_target(black_box(target), &rules));
        CacheKey::extend(&mut key, target, &[]);
        black_box(key.as_slice()).len()
    });
}

#[divan::bench(args = TARGETS)]
fn in_general(bencher: Bencher<'_, '_>, target: &str) {
    let rules = QueryRules::default();
    bencher.bench_local(|| {
        let authority = canonical_authority("http", black_box(HOST)).unwrap();
        let target = canonical_target(black_box(target), &rules).unwrap();
        CacheKey::new("namespace", "http", &authority, &target, None, &[])
    });
}

#[divan::bench(args = TARGETS)]
fn url(bencher: Bencher<'_, '_>, target: &str) {
    let text = format!("http://{HOST}{target}");
    bencher.bench_local(|| url::Url::parse(black_box(&text)).unwrap());
}
