//! Nothing panics, whatever bytes a stranger sends, and some things never happen.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use larder_policy::{
    Consideration, Exchange, Lookup, Profile, Reuse, Route, Rules, Storable, VarySpec,
    add_conditions, consider, fields_to_store, forwarded_fields, freshen, invalidation_targets,
    not_modified, not_modified_fields, reuse, selecting, shareable_with_waiters, stale_on_error,
    storable, vary,
};
use proptest::prelude::*;

use crate::support::{at, date};

const NAMES: [&str; 22] = [
    "age",
    "authorization",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-location",
    "cookie",
    "date",
    "etag",
    "expires",
    "if-modified-since",
    "if-none-match",
    "last-modified",
    "location",
    "pragma",
    "set-cookie",
    "vary",
    "accept-encoding",
    "accept-language",
    "x-a",
    "content-length",
    "range",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("max-age=".to_owned()),
        Just("s-maxage=".to_owned()),
        Just("no-store".to_owned()),
        Just("private".to_owned()),
        Just("no-cache".to_owned()),
        Just("must-revalidate".to_owned()),
        Just("public".to_owned()),
        Just("stale-if-error=9".to_owned()),
        Just("stale-while-revalidate=9".to_owned()),
        Just(",".to_owned()),
        Just("\"".to_owned()),
        Just("=".to_owned()),
        Just("*".to_owned()),
        Just(";q=".to_owned()),
        "[0-9]{1,25}",
        (-99_999_i64..99_999).prop_map(date),
    ];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::collection::vec(word, 0..6).prop_map(|words| words.concat().into_bytes()),
    ]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((prop::sample::select(&NAMES[..]), value()), 0..8).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        headers
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    any::<bool>().prop_map(|safe| Rules {
        profile: if safe { Profile::Safe } else { Profile::Rfc },
        ..Rules::default()
    })
}

fn looked_up(request: &HeaderMap, rules: &Rules) -> Lookup {
    match consider(&Method::GET, request, false, rules, &Route::default()) {
        Consideration::Lookup(lookup) => lookup,
        Consideration::Pass(_) => Lookup::default(),
    }
}

fn says(response: &HeaderMap, directive: &str) -> bool {
    let lines = response.get_all("cache-control").iter();
    lines.filter_map(|line| line.to_str().ok()).any(|line| {
        !line.contains(['"', '=']) && line.split(',').any(|member| member.trim() == directive)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_bytes_make_any_decision_panic(
        request in headers(), response in headers(), other in headers(), rules in rules(),
        status in 100_u16..1000, later in any::<i32>(), delay in any::<i32>(),
    ) {
        let route = Route::default();
        let lookup = looked_up(&request, &rules);
        let status = StatusCode::from_u16(status).expect("a status");
        let times = Exchange { request_time: at(-i64::from(delay)), response_time: at(0) };
        if let Storable::Yes(policy) = storable(&Method::GET, &request, &lookup, status, &response, times, &rules, &route) {
            let now = at(i64::from(later));
            let fresh = reuse(&policy, &lookup, now) == Reuse::Fresh;
            // never fresh after expiry
            prop_assert!(!fresh || policy.age_s(now) < policy.lifetime_s);
            stale_on_error(&policy, &lookup, now);
            shareable_with_waiters(&policy, &lookup);
            policy.keep_for(now);
        }
        forwarded_fields(&request, &rules, &route);
        fields_to_store(&response);
        not_modified(&request, StatusCode::OK, &response);
        not_modified_fields(&response);
        freshen(&response, &other);
        add_conditions(&mut request.clone(), &response);
        invalidation_targets("/a", "http", "host", &response);
        vary(&response);
        selecting(&VarySpec::from_names(request.keys().cloned()), &request);
    }

    #[test]
    fn what_is_plainly_forbidden_is_never_kept(request in headers(), response in headers(), rules in rules()) {
        let lookup = looked_up(&request, &rules);
        let times = Exchange { request_time: at(0), response_time: at(0) };
        let decided = storable(&Method::GET, &request, &lookup, StatusCode::OK, &response, times, &rules, &Route::default());
        let kept = matches!(decided, Storable::Yes(_));
        let targeted = response.contains_key("cdn-cache-control");
        if kept && !targeted {
            prop_assert!(!says(&response, "no-store"));
            prop_assert!(!says(&response, "private"));
        }
        if kept && rules.profile == Profile::Safe {
            prop_assert!(!response.contains_key("set-cookie"));
        }
    }
}
