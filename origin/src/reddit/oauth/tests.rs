use super::*;
use reqwest::header::{HeaderMap, HeaderName};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a time")
}

type Fields = &'static [(&'static str, &'static str)];

fn answer(status: u16, fields: Fields, body: &str) -> Answer {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            let value = value.parse().expect("a value");
            (HeaderName::from_static(name), value)
        })
        .collect();
    Answer {
        status,
        headers,
        body: body.as_bytes().to_vec(),
        url: Url::parse("https://www.reddit.com/api/v1/access_token").expect("a URL"),
    }
}

fn read(body: &str) -> Result<Grant, OauthFault> {
    grant(&answer(200, &[], body), now())
}

#[test]
fn a_grant_is_read_with_whatever_it_has() {
    let full = r#"{"access_token": "a", "token_type": "bearer", "expires_in": 86400, "refresh_token": "r", "scope": "identity read"}"#;
    let full = read(full).expect("a grant");
    assert_eq!(full.access_token.expose(), "a");
    assert_eq!(full.refresh_token, Secret::new("r"));
    assert_eq!(full.expires_at - now(), TimeDelta::days(1));
    assert_eq!(full.scope, "identity read");
    let bare = read(r#"{"access_token": "a", "device_id": "x", "scope": "*"}"#).expect("a grant");
    assert_eq!(bare.refresh_token, None);
    assert_eq!(bare.expires_at - now(), TimeDelta::hours(1));
    let long = format!(
        r#"{{"access_token": "{}", "expires_in": 1e99}}"#,
        "x".repeat(2_000)
    );
    let long = read(&long).expect("a grant");
    assert_eq!(long.access_token.expose().len(), 2_000);
    assert_eq!(long.expires_at - now(), LIFETIME_MAX);
}

#[test]
fn every_failure_is_told_apart() {
    const BASIC: Fields = &[("www-authenticate", "Basic realm=\"reddit\"")];
    const BEARER: Fields = &[(
        "www-authenticate",
        "Bearer realm=\"reddit\", error=\"invalid_token\"",
    )];
    const SCOPE: Fields = &[(
        "www-authenticate",
        "Bearer realm=\"reddit\", error=\"insufficient_scope\"",
    )];
    use OauthFault as Fault;
    let unauthorized = r#"{"error": "unauthorized_client", "error_description": "no"}"#;
    let device = r#"{"error_description": "bad device_id", "error": "invalid_request"}"#;
    let limited = |seconds| Fault::RateLimited {
        retry_after: Some(Duration::from_secs(seconds)),
    };
    let redirect = "a redirect (302) to somewhere else";
    let rows: [(u16, Fields, &str, OauthFault); 15] = [
        (
            200,
            &[],
            r#"{"error": "invalid_grant"}"#,
            Fault::InvalidGrant,
        ),
        (
            200,
            &[],
            unauthorized,
            Fault::UnauthorizedClient("no".into()),
        ),
        (
            200,
            &[],
            device,
            Fault::InvalidRequest("bad device_id".into()),
        ),
        (
            200,
            &[],
            r#"{"error": "unsupported_grant_type"}"#,
            Fault::UnsupportedGrant,
        ),
        (400, &[], r#"{"error": 400}"#, Fault::InvalidGrant),
        (401, BASIC, r#"{"error": 401}"#, Fault::BadClient),
        (
            401,
            &[],
            r#"{"message": "Unauthorized", "error": 401}"#,
            Fault::BadClient,
        ),
        (401, BEARER, "", Fault::BadToken),
        (403, SCOPE, r#"{"error": 403}"#, Fault::InsufficientScope),
        (
            403,
            &[],
            r#"{"reason": "private", "error": 403}"#,
            Fault::Forbidden("private".into()),
        ),
        (403, &[], "<html>whoa there, pardner</html>", Fault::Blocked),
        (429, &[("retry-after", "4")], "<html>", limited(4)),
        (
            429,
            &[("x-ratelimit-reset", "11")],
            r#"{"error": 429}"#,
            limited(11),
        ),
        (302, &[], "", Fault::Forbidden(redirect.into())),
        (503, &[], "", Fault::Unavailable("it answered 503".into())),
    ];
    for (status, fields, body, expected) in rows {
        let told = grant(&answer(status, fields, body), now());
        assert_eq!(told, Err(expected), "{status} {body}");
    }
}

#[test]
fn nonsense_is_malformed_and_repeats_no_token() {
    let bodies = [
        "<html>",
        "",
        "{}",
        "[]",
        r#"{"access_token": ""}"#,
        r#"{"access_token": 5}"#,
        r#"{"access_token": "a b"}"#,
        r#"{"access_token": "s3cret", "token_type": "mac"}"#,
        r#"{"error": {"a": 1}}"#,
        r#"{"error": "odd"}"#,
        r#"{"error": 500}"#,
    ];
    for body in bodies {
        let fault = read(body).expect_err("nonsense");
        assert!(
            matches!(fault, OauthFault::Malformed(_)),
            "{body}: {fault:?}"
        );
        assert!(
            !format!("{fault} {fault:?}").contains("s3cret"),
            "{fault:?}"
        );
    }
}

#[test]
fn a_browser_comes_back_with_a_code_or_a_reason() {
    let read = Permission::read;
    let came = |code: Result<&str, OauthFault>| Ok(("s".to_owned(), code.map(str::to_owned)));
    let sent_back = |words: &str| came(Err(OauthFault::SentBack(words.to_owned())));
    assert_eq!(read("state=s&code=c"), came(Ok("c")));
    assert_eq!(read("code=c%23_&state=s&x=y"), came(Ok("c")));
    let denied = read("state=s&error=access_denied");
    assert_eq!(denied, came(Err(OauthFault::AccessDenied)));
    let other = read("state=s&error=invalid_request&code=c");
    assert_eq!(other, sent_back("invalid_request"));
    assert_eq!(read("state=s"), sent_back("no code"));
    let wrong = [
        "",
        "code=c",
        "state=&code=c",
        "state=a&state=b&code=c",
        "state=s&code=c&code=d",
    ];
    for query in wrong {
        assert_eq!(read(query), Err(OauthFault::UnknownState), "{query}");
    }
}

#[test]
fn a_person_is_asked_with_everything_reddit_wants_to_know() {
    let url = |text| Url::parse(text).expect("a URL");
    let redirect = "https://news.example/auth/reddit/callback";
    let base = url("https://www.reddit.com/api/v1/authorize");
    let asked = authorize_url(base, "client", &url(redirect), "a state");
    let pairs: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
    let expected = [
        ("client_id", "client"),
        ("response_type", "code"),
        ("state", "a state"),
        ("redirect_uri", redirect),
        ("duration", "permanent"),
        ("scope", "identity read"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(pairs, expected);
}
