//! What does it take to decide that a stored response may be served? Facts that were kept with it, against reading its fields
//! again, which a cache must that keeps nothing else.

use divan::{Bencher, black_box};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use larder_policy::{
    Consideration, Exchange, Lookup, Reuse, Route, Rules, Storable, StoredPolicy, consider, reuse,
    storable,
};
use std::time::{Duration, SystemTime};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A request, what is stored for it, and the times of that.
struct Case {
    request: HeaderMap,
    response: HeaderMap,
    rules: Rules,
    route: Route,
    times: Exchange,
    now: SystemTime,
}

impl Case {
    fn new() -> Self {
        let map = |fields: &[(header::HeaderName, &'static str)]| {
            let fields = fields.iter();
            let fields =
                fields.map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            fields.collect::<HeaderMap>()
        };
        let stored = httpdate::parse_http_date(DATE).unwrap();
        Self {
            request: map(&[(header::HOST, "a"), (header::ACCEPT, "*/*")]),
            response: map(&[
                (header::DATE, DATE),
                (
                    header::CACHE_CONTROL,
                    "public, max-age=600, stale-while-revalidate=30",
                ),
                (header::ETAG, "\"a\""),
                (header::CONTENT_TYPE, "application/json"),
            ]),
            rules: Rules::default(),
            route: Route::default(),
            times: Exchange {
                request_time: stored,
                response_time: stored,
            },
            now: stored + Duration::from_secs(60),
        }
    }

    fn lookup(&self) -> Lookup {
        match consider(&Method::GET, &self.request, false, &self.rules, &self.route) {
            Consideration::Lookup(lookup) => lookup,
            Consideration::Pass(pass) => panic!("{pass:?}"),
        }
    }

    fn policy(&self, lookup: &Lookup) -> StoredPolicy {
        let (ok, get) = (StatusCode::OK, Method::GET);
        let (request, response) = (&self.request, &self.response);
        match storable(
            &get,
            request,
            lookup,
            ok,
            response,
            self.times,
            &self.rules,
            &self.route,
        ) {
            Storable::Yes(policy) => policy,
            Storable::No(why) => panic!("{why:?}"),
        }
    }
}

#[divan::bench]
fn from_facts(bencher: Bencher<'_, '_>) {
    let case = Case::new();
    let policy = case.policy(&case.lookup());
    bencher.bench_local(|| {
        let lookup = black_box(&case).lookup();
        assert_eq!(reuse(black_box(&policy), &lookup, case.now), Reuse::Fresh);
    });
}

#[divan::bench]
fn from_fields(bencher: Bencher<'_, '_>) {
    let case = Case::new();
    bencher.bench_local(|| {
        let lookup = black_box(&case).lookup();
        let policy = case.policy(&lookup);
        assert_eq!(reuse(&policy, &lookup, case.now), Reuse::Fresh);
    });
}
