//! The one spelling of a target.

use larder_policy::{
    QueryRules, TrackingParameters, Unkeyable, canonical_target, is_canonical_target,
};
use proptest::prelude::*;

fn canonical(target: &str) -> Result<String, Unkeyable> {
    canonical_target(target, &QueryRules::default()).map(|target| target.as_str().to_owned())
}

#[test]
fn spellings_of_one_target_become_one() {
    let rows = [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a?", "/a"),
        ("/a?&&", "/a"),
        ("/a??", "/a??"),
        // escapes
        ("/%7Euser", "/~user"),
        ("/%61%2d%5f", "/a-_"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%2eb", "/a%2Eb"),
        ("/a%20b+c", "/a%20b+c"),
        ("/a%25zz", "/a%25zz"),
        ("/a%00", "/a%00"),
        // the query
        ("/?b=2&a=1", "/?a=1&b=2"),
        ("/?a=2&a=1", "/?a=2&a=1"),
        ("/?b=1&a=2&b=0&a=1", "/?a=2&a=1&b=1&b=0"),
        ("/?a&a=&a=1", "/?a&a=&a=1"),
        ("/?a&&b", "/?a&b"),
        ("/?=1&a", "/?=1&a"),
        ("/?%61=1&A=2", "/?A=2&a=1"),
        ("/?q%5b%5D=2&q[]=1", "/?q%5B%5D=2&q[]=1"),
        ("/?a+b=2&a%20b=1", "/?a+b=2&a%20b=1"),
        ("/?a=%26b=1", "/?a=%26b=1"),
        ("/?a=1;b=2", "/?a=1;b=2"),
        ("/?u=../x", "/?u=../x"),
        // folded by nobody
        ("//a//b/", "//a//b/"),
        ("/a;x=1/b", "/a;x=1/b"),
        ("/...", "/..."),
        ("/.well-known/x", "/.well-known/x"),
        ("/a.b/..c/d..", "/a.b/..c/d.."),
    ];
    for (target, expected) in rows {
        assert_eq!(canonical(target).as_deref(), Ok(expected), "{target}");
    }
}

#[test]
fn tracking_parameters_are_dropped() {
    let rows = [
        ("/a?utm_source=x", "/a"),
        ("/a?utm_source=x&b=1&gclid=2&fbclid", "/a?b=1"),
        ("/a?utm%5Fsource=x&%67clid=1", "/a"),
        (
            "/a?utm=1&xutm_source=1&gclid2=1",
            "/a?gclid2=1&utm=1&xutm_source=1",
        ),
    ];
    for (target, expected) in rows {
        assert_eq!(canonical(target).as_deref(), Ok(expected), "{target}");
    }
    let rules = QueryRules {
        tracking: TrackingParameters::none(),
        ..QueryRules::default()
    };
    let kept = canonical_target("/a?utm_source=x", &rules).map(|t| t.as_str().to_owned());
    assert_eq!(kept.as_deref(), Ok("/a?utm_source=x"));
    let rules = QueryRules {
        tracking: TrackingParameters::new(["ref", "x_*"]),
        ..QueryRules::default()
    };
    let kept = canonical_target("/a?ref=1&x_a=1&gclid=1", &rules).map(|t| t.as_str().to_owned());
    assert_eq!(kept.as_deref(), Ok("/a?gclid=1"));
}

#[test]
fn a_route_chooses_its_parameters() {
    let text = |target: &str, rules: &QueryRules| {
        canonical_target(target, rules).map(|t| t.as_str().to_owned())
    };
    let only = QueryRules {
        only: Some(vec!["q[]".into(), "b".into()]),
        ..QueryRules::default()
    };
    assert_eq!(
        text("/?c=1&q%5B%5D=2&b", &only).as_deref(),
        Ok("/?b&q%5B%5D=2")
    );
    let ignore = QueryRules {
        ignore: vec!["b".into()],
        ..QueryRules::default()
    };
    assert_eq!(text("/?c=1&%62=2", &ignore).as_deref(), Ok("/?c=1"));
    let unsorted = QueryRules {
        sort: false,
        ..QueryRules::default()
    };
    assert_eq!(
        text("/?c=1&gclid=2&%62=2&&a", &unsorted).as_deref(),
        Ok("/?c=1&b=2&a")
    );
    let nothing = QueryRules {
        only: Some(Vec::new()),
        ..QueryRules::default()
    };
    assert_eq!(text("/a?c=1", &nothing).as_deref(), Ok("/a"));
}

#[test]
fn what_servers_read_differently_has_no_canonical_form() {
    use Unkeyable::{BadEncoding, DotSegment, NotOriginForm, TooLong};
    let rows = [
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/%2e%2E/b", DotSegment),
        ("/a/.%2e", DotSegment),
        ("/a/%2e", DotSegment),
        ("/a%2f..%2fb", DotSegment),
        ("/a/..;x/b", DotSegment),
        ("/a/..%3bx/b", DotSegment),
        ("/a\\..\\b", DotSegment),
        ("/a%5c..%5cb", DotSegment),
        ("", NotOriginForm),
        ("*", NotOriginForm),
        ("a/b", NotOriginForm),
        ("http://host/a", NotOriginForm),
        ("/a#b", NotOriginForm),
        ("/a?b#c", NotOriginForm),
        ("/%", BadEncoding),
        ("/%4", BadEncoding),
        ("/%zz", BadEncoding),
        ("/%%34%31", BadEncoding),
        ("/?a=%", BadEncoding),
        ("/?a=%+1", BadEncoding),
        ("/a b", BadEncoding),
        ("/a\tb", BadEncoding),
        ("/a\nb", BadEncoding),
        ("/a\u{7f}", BadEncoding),
        ("/é", BadEncoding),
        ("/?é", BadEncoding),
    ];
    for (target, expected) in rows {
        assert_eq!(canonical(target), Err(expected), "{target:?}");
    }
    let long = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    assert_eq!(canonical(&long(8191)).map(|t| t.len()), Ok(8191));
    assert_eq!(canonical(&long(8192)).map(|t| t.len()), Ok(8192));
    assert_eq!(canonical(&long(8193)), Err(TooLong));
}

/// Targets that often have a canonical form.
fn target() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-cA-C]{0,3}",
        Just("%41".to_owned()),
        Just("%2e".to_owned()),
        Just("%2F".to_owned()),
        Just("%7e".to_owned()),
        Just("%C3%a9".to_owned()),
        Just("&".to_owned()),
        Just("=".to_owned()),
        Just("+".to_owned()),
        Just("?".to_owned()),
        Just("/".to_owned()),
        Just(".".to_owned()),
        Just("%5B%5D".to_owned()),
        Just("[]".to_owned()),
        Just("%".to_owned()),
        Just("utm_x=1".to_owned()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// A name and its values.
type Named = (Vec<u8>, Vec<Vec<u8>>);
type Meaning = (Vec<Vec<u8>>, Vec<Named>);

/// All a server can make of a target: decoded path segments between raw slashes, and for each
/// decoded name its decoded values in order.
fn meaning(target: &str) -> Meaning {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments = path
        .split('/')
        .map(|segment| decoded(segment, false))
        .collect();
    let mut names: Vec<Named> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name, true), decoded(value, true));
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => names.push((name, vec![value])),
        }
    }
    names.sort();
    (segments, names)
}

fn decoded(text: &str, form: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first == b'%' {
            let digits = std::str::from_utf8(&tail[..2]).expect("digits");
            out.push(u8::from_str_radix(digits, 16).expect("an escape"));
            rest = &tail[2..];
        } else {
            out.push(if form && first == b'+' { b' ' } else { first });
        }
    }
    out
}

fn untracked() -> QueryRules {
    QueryRules {
        tracking: TrackingParameters::none(),
        ..QueryRules::default()
    }
}

#[test]
fn ordinary_targets_are_canonical_at_a_glance() {
    for (target, expected) in [
        ("/", true),
        ("/a/b-c_d~e.json", true),
        ("/a?b=1&c=2&c=1", true),
        ("/a?q=new%20york&r=x+y", true),
        ("/a?c=1&b=2", false),
        ("/a?", false),
        ("/a?utm_source=x", false),
        ("/a?q=%61", false),
        ("/a?q=%2f", false),
        ("/a/./b", false),
        ("/a#b", false),
        ("*", false),
    ] {
        assert_eq!(
            is_canonical_target(target, &QueryRules::default()),
            expected,
            "{target}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_canonical_at_a_glance_is_canonical(target in "/[a-c./;%2Ef]{0,6}(\\?[a-c&=%20fF+;]{0,10})?", sort: bool) {
        let rules = QueryRules { sort, ..QueryRules::default() };
        if is_canonical_target(&target, &rules) {
            let whole = canonical_target(&target, &rules).map(|target| target.as_str().to_owned());
            prop_assert_eq!(whole, Ok(target));
        }
    }

    #[test]
    fn the_canonical_form_is_its_own_canonical_form(target in target()) {
        if let Ok(once) = canonical(&target) {
            prop_assert_eq!(canonical(&once), Ok(once));
        }
    }

    #[test]
    fn any_text_has_a_canonical_form_or_a_reason(target in "\\PC*", sort: bool) {
        let rules = QueryRules { sort, ..QueryRules::default() };
        if let Ok(once) = canonical_target(&target, &rules) {
            prop_assert!(once.as_str().bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(canonical_target(once.as_str(), &rules), Ok(once));
        }
    }

    #[test]
    fn a_target_means_the_same_in_its_canonical_form(target in target()) {
        if let Ok(once) = canonical_target(&target, &untracked()) {
            prop_assert_eq!(meaning(once.as_str()), meaning(&target));
        }
    }

    #[test]
    fn targets_of_different_meaning_stay_different(a in target(), b in target()) {
        let (ca, cb) = (canonical_target(&a, &untracked()), canonical_target(&b, &untracked()));
        if let (Ok(ca), Ok(cb)) = (ca, cb) && ca == cb {
            prop_assert_eq!(meaning(&a), meaning(&b));
        }
    }

    #[test]
    fn differently_named_parameters_may_stand_in_any_order(
        values in prop::collection::btree_map("[a-z]{1,3}", "[a-z0-9]{0,3}", 0..6),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut pairs: Vec<String> = values.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let sorted = format!("/?{}", pairs.join("&"));
        if !pairs.is_empty() {
            let middle = seed.index(pairs.len());
            pairs.rotate_left(middle);
            pairs.reverse();
        }
        prop_assert_eq!(canonical(&format!("/?{}", pairs.join("&"))), canonical(&sorted));
    }

    #[test]
    fn equally_named_parameters_keep_their_order(values in prop::collection::vec("[a-z0-9]{0,3}", 1..5)) {
        let pairs: Vec<String> = values.iter().map(|v| format!("a={v}")).collect();
        let target = format!("/?{}", pairs.join("&"));
        prop_assert_eq!(canonical(&target), Ok(target));
    }
}
