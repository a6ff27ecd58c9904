//! The canonical target and authority, and the key that is made of them.

use larder_policy::{
    CacheKey, CanonicalTarget, QueryRules, TrackingParameters, canonical_authority,
    canonical_target,
};

/// Two requests, a line each for target and authority, and a selecting value.
pub fn key(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (first, second) = ((next(), next(), next()), (next(), next(), next()));
    let rules = [
        QueryRules::default(),
        QueryRules {
            sort: false,
            tracking: TrackingParameters::none(),
            ..QueryRules::default()
        },
        QueryRules {
            ignore: vec!["a".to_owned()],
            ..QueryRules::default()
        },
        QueryRules {
            only: Some(vec!["a".to_owned(), "b c".to_owned()]),
            ..QueryRules::default()
        },
    ];
    for rules in &rules {
        let keys = [first, second]
            .map(|(target, authority, value)| keyed(target, authority, value, rules));
        if let [Some((parts, key)), Some((others, other))] = keys {
            assert_eq!(parts == others, key == other, "{parts:?} and {others:?}");
        }
    }
}

type Parts = (CanonicalTarget, String, Option<String>);

fn keyed(
    target: &str,
    authority: &str,
    value: &str,
    rules: &QueryRules,
) -> Option<(Parts, CacheKey)> {
    let authority = canonical_authority("http", authority).ok()?;
    assert_eq!(
        canonical_authority("http", &authority).as_ref(),
        Ok(&authority),
        "not a fixed point"
    );
    let canonical = canonical_target(target, rules).ok()?;
    sound(target, &canonical, rules);
    let value = Some(value.to_owned()).filter(|value| !value.is_empty());
    let selecting = [("x-a", value.as_deref().map(str::as_bytes))];
    let key = CacheKey::new("space", "http", &authority, &canonical, None, &selecting);
    let origin = CacheKey::origin_of("space", "http", &authority);
    assert_eq!(key.origin(), origin, "the key of another origin");
    Some(((canonical, authority, value), key))
}

/// What is sent upstream is a target that means the same to it each time.
fn sound(target: &str, canonical: &CanonicalTarget, rules: &QueryRules) {
    let text = canonical.as_str();
    assert_eq!(
        canonical_target(text, rules).as_ref(),
        Ok(canonical),
        "{target:?} has no fixed point"
    );
    assert!(
        text.starts_with('/')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#'),
        "{text:?}"
    );
    assert!(text.len() <= target.len(), "{target:?} grew to {text:?}");
    let path = |text: &str| {
        text.split_once('?')
            .map_or(text.len(), |(path, _)| path.len())
    };
    let slashes = |text: &str| {
        text.get(..path(text))
            .unwrap_or_default()
            .matches('/')
            .count()
    };
    assert_eq!(
        slashes(text),
        slashes(target),
        "{target:?} has other segments than {text:?}"
    );
}
