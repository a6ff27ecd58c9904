//! A second opinion on storability and freshness: `http-cache-semantics`.
//!
//! Where the two disagree the standard's text decides, and a predicate as narrow as the disagreement leaves the case out.
//! Each has a row that shows it, so that none is left behind when the other crate changes its mind.

use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use http_cache_semantics::{CacheOptions, CachePolicy};
use larder_policy::{Flags, NotStorable, Storable, StoredPolicy};
use proptest::prelude::*;

use crate::support::{Case, at, fields, rfc};

/// One exchange as both see it.
#[derive(Debug, Clone)]
struct Exchanged {
    request: &'static str,
    status: u16,
    response: String,
}

impl Exchanged {
    fn headers(&self) -> HeaderMap {
        fields(&self.response)
    }

    fn ours(&self) -> Storable {
        let case = Case {
            request: self.request,
            status: self.status,
            rules: rfc(),
            ..Case::default()
        };
        case.storable(&self.response)
    }

    fn theirs(&self) -> CachePolicy {
        let mut request = Request::new(());
        *request.headers_mut() = fields(self.request);
        let mut response = Response::new(());
        *response.headers_mut() = self.headers();
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        CachePolicy::new_options(&request, &response, at(0), CacheOptions::default())
    }

    /// The lines of `Cache-Control`, one after the other.
    fn cache_control(&self) -> String {
        let headers = self.headers();
        let lines = headers.get_all("cache-control").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().expect("text")).collect();
        lines.join(",")
    }

    /// Has the response a directive whose whole text fulfils this?
    fn says(&self, is: impl Fn(&str) -> bool) -> bool {
        self.cache_control()
            .split(',')
            .any(|directive| is(directive.trim()))
    }

    fn has(&self, name: &str) -> bool {
        self.headers().contains_key(name)
    }

    fn has_explicit_age(&self) -> bool {
        self.says(|said| said.starts_with("max-age=") || said.starts_with("s-maxage="))
    }
}

type Predicate = fn(&Exchanged) -> bool;

/// Where what is kept differs, and an exchange of each kind.
const STORABILITY: [(Predicate, &str, u16, &str); 7] = [
    // §3: a status has to be understood only when it is 206 or 304, or beside must-understand.
    (
        |x| !THEIR_STATUSES.contains(&x.status),
        "",
        503,
        "Cache-Control: max-age=60",
    ),
    // §5.2.2.7: private with field names is about those fields.
    (
        |x| x.says(|said| said.starts_with("private=")),
        "",
        200,
        "Cache-Control: private=\"x\", max-age=60",
    ),
    // §5.2.2.3: must-understand makes no-store void, and forbids statuses that are not understood.
    (
        |x| x.says(|said| said == "must-understand"),
        "",
        200,
        "Cache-Control: must-understand, no-store, max-age=60",
    ),
    // §5.2: directives are case-insensitive.
    (
        spelt_in_capitals,
        "",
        200,
        "Cache-Control: NO-STORE, max-age=60",
    ),
    // §3, note: what is neither fresh nor can be validated need not be kept.
    (
        |x| x.ours() == Storable::No(NotStorable::NoFreshness),
        "",
        200,
        "",
    ),
    // §4.1: what no request matches need not be kept.
    (
        |x| x.ours() == Storable::No(NotStorable::VaryAny),
        "",
        200,
        "Cache-Control: max-age=60\nVary: *",
    ),
    // §3.5: only a directive that is there permits it; theirs reads must-revalidate out of two that conflict.
    (
        |x| x.ours() == Storable::No(NotStorable::Authorization) && has_conflict(x),
        "Authorization: me",
        200,
        "Cache-Control: max-age=1, max-age=2",
    ),
];

/// Where freshness differs, and an exchange of each kind.
const FRESHNESS: [(Predicate, &str); 11] = [
    // §4.2.3: the age may be reckoned by Date, too, which is the careful way.
    (
        |x| kept(x).is_some_and(|policy| policy.initial_age_s > age_field(x)),
        "Cache-Control: max-age=60\nDate: {-30}",
    ),
    // §5.1: of a list of ages the first counts.
    (
        |x| {
            x.headers()
                .get("age")
                .is_some_and(|age| age.as_bytes().contains(&b','))
        },
        "Cache-Control: max-age=60\nAge: 30, 1",
    ),
    // §5.2.2.8: proxy-revalidate says what is to be done once a response is stale, not that it is.
    (
        |x| x.says(|said| said == "proxy-revalidate"),
        "Cache-Control: max-age=60, proxy-revalidate",
    ),
    // §3 does not except responses that set cookies; profile `safe` does.
    (
        |x| x.has("set-cookie"),
        "Cache-Control: max-age=60\nSet-Cookie: a=1",
    ),
    // RFC 8246 §2: immutable concerns the freshness lifetime that there is, and makes none.
    (
        |x| x.says(|said| said == "immutable") && !x.has_explicit_age(),
        "Cache-Control: immutable\nExpires: {+60}",
    ),
    // §4.2.2: how much of a guess is too much is the cache's to say: here, a day.
    (
        |x| {
            kept(x).is_some_and(|policy| {
                policy.flags.contains(Flags::HEURISTIC) && policy.lifetime_s == 86_400
            })
        },
        "Last-Modified: {-900000}",
    ),
    // §1.2.2: greater numbers count as 2^31.
    (
        |x| kept(x).is_some_and(|policy| policy.lifetime_s == 1 << 31),
        "Cache-Control: max-age=99999999999",
    ),
    // §4.2.1: invalid freshness information is best taken as stale, not as absent.
    (
        |x| x.says(|said| said == "max-age" || said == "s-maxage"),
        "Cache-Control: max-age\nExpires: {+60}\nETag: \"a\"",
    ),
    // §5.4: Pragma means nothing in a response.
    (
        |x| x.has("pragma") && !x.has("cache-control"),
        "Pragma: no-cache\nExpires: {+60}",
    ),
    // §5.2.2.4: no-cache with field names is about those fields.
    (
        |x| x.says(|said| said.starts_with("no-cache=")),
        "Cache-Control: no-cache=\"x\", max-age=60",
    ),
    // RFC 9110 §5.6.7: three forms are dates, and those of mail with a zone in figures are none.
    (has_odd_date, "Expires: Tuesday, 14-Nov-23 22:14:20 GMT"),
];

/// Those that the other crate takes for understood.
const THEIR_STATUSES: [u16; 14] = [
    200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501,
];

/// Is there a directive twice, with different arguments, or with quoted ones, which the other crate takes for different?
fn has_conflict(exchanged: &Exchanged) -> bool {
    let said = exchanged.cache_control();
    let name = |directive: &str| directive.split('=').next().map(str::to_owned);
    let directives: Vec<_> = said.split(',').map(str::trim).collect();
    let conflict = |one: &str, other: &str| one != other || one.contains('"');
    (1..directives.len()).any(|at| {
        let (before, after) = directives.split_at(at);
        let mut before = before.iter();
        before.any(|one| name(one) == name(after[0]) && conflict(one, after[0]))
    })
}

fn spelt_in_capitals(exchanged: &Exchanged) -> bool {
    exchanged
        .cache_control()
        .bytes()
        .any(|byte| byte.is_ascii_uppercase())
}

fn has_odd_date(exchanged: &Exchanged) -> bool {
    let headers = exchanged.headers();
    let mut dates = ["date", "expires", "last-modified"]
        .into_iter()
        .filter_map(|name| headers.get(name));
    dates.any(|date| {
        let date = date.to_str().expect("text");
        date.contains('-') || date.ends_with("+0000")
    })
}

fn kept(exchanged: &Exchanged) -> Option<StoredPolicy> {
    match exchanged.ours() {
        Storable::Yes(policy) => Some(policy),
        Storable::No(_) => None,
    }
}

fn age_field(exchanged: &Exchanged) -> u64 {
    let headers = exchanged.headers();
    let age = headers
        .get("age")
        .and_then(|age| age.to_str().ok()?.parse().ok());
    age.unwrap_or(0)
}

/// Seconds of freshness left: ours, theirs.
fn time_left(exchanged: &Exchanged, later_s: i64) -> Option<(u64, u64)> {
    let policy = kept(exchanged)?;
    let now = at(later_s);
    let ours = match policy.flags.contains(Flags::NO_CACHE) {
        true => 0,
        false => u64::try_from(policy.ttl_s(now)).unwrap_or(0),
    };
    Some((ours, exchanged.theirs().time_to_live(now).as_secs()))
}

fn disagree_on_storing(exchanged: &Exchanged) -> bool {
    kept(exchanged).is_some() != exchanged.theirs().is_storable()
}

fn disagree_on_freshness(exchanged: &Exchanged, later_s: i64) -> bool {
    exchanged.theirs().is_storable()
        && time_left(exchanged, later_s).is_some_and(|(ours, theirs)| ours != theirs)
}

#[test]
fn every_kind_of_disagreement_is_there() {
    for (is_of_kind, request, status, response) in STORABILITY {
        let exchanged = Exchanged {
            request,
            status,
            response: response.into(),
        };
        assert!(
            is_of_kind(&exchanged) && disagree_on_storing(&exchanged),
            "{exchanged:?}"
        );
    }
    for (is_of_kind, response) in FRESHNESS {
        let exchanged = Exchanged {
            request: "",
            status: 200,
            response: response.into(),
        };
        assert!(
            is_of_kind(&exchanged) && disagree_on_freshness(&exchanged, 0),
            "{exchanged:?}"
        );
    }
}

fn directive() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(vec![
        "no-store",
        "no-cache",
        "private",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        "no-transform",
        "unknown",
        "unknown=1",
        "max-age",
        "max-age=x",
        "max-age=-1",
        "max-age=\"60\"",
        "max-age=99999999999",
        "s-maxage",
        "s-maxage=0",
        "no-cache=\"x\"",
        "private=\"x\"",
        "MAX-AGE=60",
        "No-Store",
    ]);
    prop_oneof![
        3 => plain.prop_map(str::to_owned),
        2 => (0_u32..200).prop_map(|seconds| format!("max-age={seconds}")),
        1 => (0_u32..200).prop_map(|seconds| format!("s-maxage={seconds}")),
    ]
}

fn line() -> impl Strategy<Value = String> {
    let directives = || prop::collection::vec(directive(), 1..4);
    let seconds = -200_i64..200;
    prop_oneof![
        4 => directives().prop_map(|all| format!("Cache-Control: {}", all.join(", "))),
        2 => seconds.clone().prop_map(|s| format!("Expires: {{{s}}}")),
        1 => Just("Expires: 0".to_owned()),
        1 => Just("Expires: Tuesday, 14-Nov-23 22:14:20 GMT".to_owned()),
        1 => Just("Expires: Tue, 14 Nov 2023 22:14:20 +0000".to_owned()),
        2 => seconds.prop_map(|s| format!("Date: {{{s}}}")),
        2 => Just("Date: {0}".to_owned()),
        2 => (0_u32..200).prop_map(|s| format!("Age: {s}")),
        1 => Just("Age: 9, 5".to_owned()),
        1 => Just("Age: x".to_owned()),
        2 => (0_i64..1_000_000).prop_map(|s| format!("Last-Modified: {{-{s}}}")),
        4 => Just("ETag: \"a\"".to_owned()),
        1 => Just("Vary: Accept".to_owned()),
        1 => Just("Vary: *".to_owned()),
        1 => Just("Set-Cookie: a=1".to_owned()),
        1 => Just("Pragma: no-cache".to_owned()),
    ]
}

fn exchanged() -> impl Strategy<Value = Exchanged> {
    let status = prop_oneof![
        6 => Just(200),
        2 => prop::sample::select(&[203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501][..]),
        1 => prop::sample::select(&[201, 304, 400, 403, 429, 500, 503, 599][..]),
    ];
    let request = prop_oneof![
        4 => Just(""),
        1 => Just("Authorization: me"),
        1 => Just("Cache-Control: no-store"),
        1 => Just("Cache-Control: no-cache"),
    ];
    (request, status, prop::collection::vec(line(), 0..6)).prop_map(|(request, status, lines)| {
        Exchanged {
            request,
            status,
            response: lines.join("\n"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn both_keep_the_same_responses(exchanged in exchanged()) {
        let decided = STORABILITY.iter().any(|(is_of_kind, ..)| is_of_kind(&exchanged));
        prop_assert!(decided || !disagree_on_storing(&exchanged), "ours: {:?}", exchanged.ours());
    }

    #[test]
    fn both_give_them_the_same_time(exchanged in exchanged(), later in 0_i64..300) {
        let decided = FRESHNESS.iter().any(|(is_of_kind, _)| is_of_kind(&exchanged))
            || spelt_in_capitals(&exchanged);
        if !decided {
            prop_assert!(!disagree_on_freshness(&exchanged, later), "{:?} after {}", time_left(&exchanged, later), later);
        }
        // Whoever is the more careful one: where only the age is in question, it is us.
        let by_age = FRESHNESS[0].0(&exchanged) && FRESHNESS[1..].iter().all(|(is_of_kind, _)| !is_of_kind(&exchanged));
        if by_age && !spelt_in_capitals(&exchanged) && exchanged.theirs().is_storable() {
            let (ours, theirs) = time_left(&exchanged, later).unwrap_or_default();
            prop_assert!(ours <= theirs, "{} against {}", ours, theirs);
        }
    }

    #[test]
    fn both_let_a_response_age_alike(age in 0_u64..1000, later in 0_u64..1000) {
        let exchanged = Exchanged { request: "", status: 200, response: format!("Cache-Control: max-age=60\nETag: \"a\"\nAge: {age}") };
        let now = at(i64::try_from(later).expect("small"));
        let ours = kept(&exchanged).map(|policy| Duration::from_secs(policy.age_s(now)));
        prop_assert_eq!(ours, Some(exchanged.theirs().age(now)));
    }
}
