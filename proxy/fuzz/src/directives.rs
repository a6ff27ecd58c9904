//! `Cache-Control` and its relatives, of requests and of responses.

use http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use larder_policy::{
    Consideration, Exchange, Lookup, Profile, RequestDirectives, Reuse, Route, Rules, Storable,
    consider, reuse, stale_on_error, storable,
};
use std::time::{Duration, SystemTime};

/// Fields that a line of the input can be; its first byte says which, `Cache-Control` when it says nothing.
const FIELDS: [(u8, &str); 9] = [
    (b'T', "cdn-cache-control"),
    (b'A', "age"),
    (b'D', "date"),
    (b'E', "expires"),
    (b'L', "last-modified"),
    (b'P', "pragma"),
    (b'V', "vary"),
    (b'S', "set-cookie"),
    (b'Z', "authorization"),
];

/// A line of the input is a field line.
pub fn directives(data: &[u8]) {
    let headers = headers(data);
    requests(&headers);
    responses(&headers);
}

fn headers(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(64) {
        let named = line.split_first().and_then(|(first, rest)| {
            let (_, name) = FIELDS.iter().find(|(letter, _)| letter == first)?;
            Some((HeaderName::from_static(name), rest))
        });
        let (name, value) = named.unwrap_or((CACHE_CONTROL, line));
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    headers
}

fn requests(headers: &HeaderMap) {
    let parsed = RequestDirectives::parse(headers);
    // RFC 9111 §5.2: names are case-insensitive, and the values of the request's directives are numbers.
    let mut upper = headers.clone();
    for value in upper.values_mut() {
        let shouted = value.as_bytes().to_ascii_uppercase();
        *value = HeaderValue::from_bytes(&shouted).expect("the same characters");
    }
    assert_eq!(
        RequestDirectives::parse(&upper),
        parsed,
        "{headers:?} in upper case"
    );
    // §5.2.3: unknown directives are ignored.
    if headers.contains_key(CACHE_CONTROL) {
        let mut extended = headers.clone();
        extended.append(
            CACHE_CONTROL,
            HeaderValue::from_static("x-unknown=\"a, no-store\", x"),
        );
        assert_eq!(
            RequestDirectives::parse(&extended),
            parsed,
            "{headers:?} with an unknown one"
        );
    }
}

fn responses(headers: &HeaderMap) {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds);
    let times = Exchange {
        request_time: at(0),
        response_time: at(1),
    };
    let route = Route::default();
    for profile in [Profile::Rfc, Profile::Safe] {
        let rules = Rules {
            profile,
            ..Rules::default()
        };
        let lookup = lookup(headers, &rules);
        let decide = |response: &HeaderMap| {
            let request = HeaderMap::new();
            storable(
                &Method::GET,
                &request,
                &lookup,
                StatusCode::OK,
                response,
                times,
                &rules,
                &route,
            )
        };
        let decided = decide(headers);
        let Storable::Yes(policy) = decided else {
            continue;
        };
        assert!(!says(headers, "no-store"), "{headers:?} is kept");
        assert!(!says(headers, "private"), "{headers:?} is kept");
        for later in [0, 1, 59, 60, 61, 1 << 31, 1 << 33] {
            let now = at(later);
            let fresh = reuse(&policy, &lookup, now) == Reuse::Fresh;
            assert!(
                !fresh || policy.age_s(now) < policy.lifetime_s,
                "{headers:?} is fresh after {later} s"
            );
            stale_on_error(&policy, &lookup, now);
            policy.keep_for(now);
        }
        // §5.2.2.5 is not undone by anything that stands beside it, once the targeted fields are silent.
        let mut forbidden = headers.clone();
        forbidden.remove("cdn-cache-control");
        forbidden.append(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let kept = matches!(decide(&forbidden), Storable::Yes(_));
        assert!(!kept || understood(headers), "{forbidden:?} is kept");
    }
}

/// §5.2.2.3: `must-understand` beside a status that we understand puts `no-store` aside.
fn understood(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CACHE_CONTROL).iter();
    lines.any(|line| {
        line.as_bytes()
            .to_ascii_lowercase()
            .windows(15)
            .any(|part| part == b"must-understand")
    })
}

fn lookup(request: &HeaderMap, rules: &Rules) -> Lookup {
    match consider(&Method::GET, request, false, rules, &Route::default()) {
        Consideration::Lookup(lookup) => lookup,
        Consideration::Pass(_) => Lookup::default(),
    }
}

/// Plainly, without quotes, arguments or another field that would say it better.
fn says(headers: &HeaderMap, directive: &str) -> bool {
    if headers.contains_key("cdn-cache-control") || understood(headers) {
        return false;
    }
    let mut lines = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines.any(|line| {
        !line.contains(['"', '=', '\\']) && line.split(',').any(|member| member.trim() == directive)
    })
}
