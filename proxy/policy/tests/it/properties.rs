//! What must hold for every response that is written as it should be: the words are valid, their spelling and order are not
//! chosen.

use http::{HeaderMap, Method, StatusCode};
use larder_policy::{
    Exchange, Freshened, Lookup, Profile, Reuse, Route, Rules, Storable, StoredPolicy, freshen,
    reuse, storable,
};
use proptest::prelude::*;

use crate::support::{at, fields, lookup};

fn rules(profile: Profile) -> Rules {
    Rules {
        profile,
        ..Rules::default()
    }
}

fn profile() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::Rfc), Just(Profile::Safe)]
}

fn decide(response: &HeaderMap, lookup: &Lookup, status: u16, profile: Profile) -> Storable {
    let times = Exchange {
        request_time: at(0),
        response_time: at(0),
    };
    let status = StatusCode::from_u16(status).expect("a status");
    let (rules, route) = (rules(profile), Route::default());
    let request = HeaderMap::new();
    storable(
        &Method::GET,
        &request,
        lookup,
        status,
        response,
        times,
        &rules,
        &route,
    )
}

/// In some case, perhaps with white space around it.
fn spelt(word: &'static str) -> impl Strategy<Value = String> {
    (any::<u64>(), "[ \t]{0,2}", "[ \t]{0,2}").prop_map(move |(cases, before, after)| {
        let letters = word
            .chars()
            .enumerate()
            .map(|(at, letter)| match cases >> (at % 64) & 1 {
                0 => letter,
                _ => letter.to_ascii_uppercase(),
            });
        format!("{before}{}{after}", letters.collect::<String>())
    })
}

/// Directives that permit as much as they can.
fn permissive() -> impl Strategy<Value = String> {
    prop_oneof![
        spelt("public"),
        spelt("max-age=600"),
        spelt("s-maxage=600"),
        spelt("max-age=\"600\""),
        spelt("immutable"),
        spelt("stale-while-revalidate=600"),
        spelt("x=\"a, b\""),
        Just(String::new()),
    ]
}

/// `Cache-Control` with this directive somewhere in it, in one line or several.
fn with(word: &'static str) -> impl Strategy<Value = String> {
    let around = || prop::collection::vec(permissive(), 0..4);
    (around(), spelt(word), around(), any::<bool>()).prop_map(|(before, word, after, lines)| {
        let members: Vec<_> = before.into_iter().chain([word]).chain(after).collect();
        match lines {
            true => members
                .iter()
                .map(|member| format!("Cache-Control: {member}\n"))
                .collect(),
            false => format!("Cache-Control: {}\n", members.join(",")),
        }
    })
}

fn forbidding() -> impl Strategy<Value = String> {
    prop_oneof![
        with("no-store"),
        with("private"),
        with("private=\"\""),
        with("no-store=x"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_private_or_not_to_be_stored_goes_to_nobody(
        said in forbidding(), more in "(ETag: \"a\"\n)?(Expires: \\{\\+60\\}\n)?(Vary: x\n)?",
        status in prop_oneof![Just(200), Just(203), Just(301), Just(404), Just(503)], profile in profile(),
    ) {
        let response = fields(&format!("{said}{more}"));
        let decided = decide(&response, &Lookup::default(), status, profile);
        prop_assert!(matches!(decided, Storable::No(_)), "{:?}", decided);
    }

    #[test]
    fn nothing_is_fresh_once_its_lifetime_has_passed(
        lifetime in 0_u32..5000, age in 0_u32..5000, late in 0_u32..5000, later in 0_u32..20_000,
        shared in any::<bool>(), by_date in any::<bool>(), profile in profile(),
    ) {
        let freshness = match (shared, by_date) {
            (true, _) => format!("Cache-Control: max-age=9999, s-maxage={lifetime}"),
            (false, false) => format!("Cache-Control: max-age={lifetime}\nExpires: {{+99999}}"),
            (false, true) => format!("Expires: {{{}}}", i64::from(lifetime) - i64::from(late)),
        };
        let text = format!("{freshness}\nETag: \"a\"\nAge: {age}\nDate: {{-{late}}}");
        let Storable::Yes(policy) = decide(&fields(&text), &Lookup::default(), 200, profile) else {
            return Err(TestCaseError::fail("everything with a validator is kept"));
        };
        // §4.2, §4.2.3: by what the text says, not by what was made of it.
        let fresh = u64::from(lifetime) > u64::from(age.max(late)) + u64::from(later);
        let decided = reuse(&policy, &Lookup::default(), at(i64::from(later)));
        prop_assert_eq!(decided == Reuse::Fresh, fresh, "{} after {}", text, later);
    }

    #[test]
    fn no_wish_of_a_client_makes_a_response_fresher(
        lifetime in 0_u64..100, later in 0_i64..200,
        wish in prop_oneof![
            Just("Cache-Control: max-age=0"), Just("Cache-Control: max-age=50"), Just("Cache-Control: max-age=99999"),
            Just("Cache-Control: min-fresh=10"), Just("Cache-Control: no-cache"), Just("Pragma: no-cache"), Just("X: 1"),
        ],
    ) {
        let policy = StoredPolicy { lifetime_s: lifetime, ..kept() };
        let wished = reuse(&policy, &lookup(wish), at(later)) == Reuse::Fresh;
        let plain = reuse(&policy, &Lookup::default(), at(later)) == Reuse::Fresh;
        prop_assert!(plain || !wished);
    }

    #[test]
    fn a_304_leaves_the_length_and_changes_nothing_when_it_comes_twice(
        stored in message(), new in message(),
    ) {
        if let Freshened::Updated(once) = freshen(&stored, &new) {
            for name in new.keys().filter(|name| once.contains_key(*name)) {
                let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
                let stays = ["content-length", "content-encoding"].contains(&name.as_str());
                prop_assert_eq!(values(&once), values(if stays { &stored } else { &new }), "{}", name);
            }
            for name in ["content-length", "content-encoding"] {
                prop_assert_eq!(once.get(name), stored.get(name));
            }
            prop_assert_eq!(freshen(&once, &new), Freshened::Updated(once));
        }
    }
}

fn kept() -> StoredPolicy {
    crate::support::kept("Cache-Control: max-age=60")
}

fn message() -> impl Strategy<Value = HeaderMap> {
    let line = prop_oneof![
        Just("ETag: \"a\""),
        Just("Last-Modified: {-9}"),
        Just("Age: 3"),
        Just("Date: {0}"),
        Just("Content-Length: 5"),
        Just("Content-Length: 6"),
        Just("Content-Encoding: gzip"),
        Just("Content-Type: a/b"),
        Just("X-A: 1"),
        Just("X-A: 2"),
        Just("Vary: x"),
        Just("Cache-Control: max-age=5"),
        Just("Set-Cookie: a=1"),
    ];
    prop::collection::vec(line, 0..8).prop_map(|lines| fields(&lines.join("\n")))
}
