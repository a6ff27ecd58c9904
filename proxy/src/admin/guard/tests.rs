//! Rows of (fields of a request, what becomes of it).

use http::Request;

use super::*;
use crate::admin::Limits;

const TOKEN: &str = "a-token-of-some-length";

fn settings(address: &str, token: bool) -> AdminSettings {
    AdminSettings {
        address: address.parse().unwrap(),
        token: token.then(|| Secret::new(TOKEN)),
        hosts: vec!["larder.internal".to_owned()],
        limits: Limits::default(),
    }
}

/// The status of the refusal; 200 stands for none.
fn verdict(settings: &AdminSettings, target: &str, fields: &[(&str, &str)]) -> u16 {
    let mut request = Request::builder().method("POST").uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    match check(&head, settings, target == "/health") {
        Ok(()) => 200,
        Err(refusal) => refusal.status().as_u16(),
    }
}

#[test]
fn only_names_of_our_own_are_answered() {
    let settings = settings("10.0.0.5:8002", false);
    for (host, expected) in [
        ("localhost", 200),
        ("LOCALHOST:8002", 200),
        ("larder.localhost:8002", 200),
        ("127.0.0.1:8002", 200),
        ("127.8.9.10", 200),
        ("[::1]:8002", 200),
        ("10.0.0.5:8002", 200),
        ("10.0.0.5", 200),
        ("10.0.0.6:8002", 421),
        ("larder.internal:80", 200),
        ("larder.internal", 200),
        ("evil.example", 421),
        ("evil.example:8002", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("notlocalhost", 421),
        ("evil.example@localhost", 400),
        ("", 400),
        ("local host", 400),
    ] {
        assert_eq!(
            verdict(&settings, "/purge", &[("host", host)]),
            expected,
            "Host: {host}"
        );
    }
}

#[test]
fn a_request_without_exactly_one_host_is_bad() {
    let settings = settings("127.0.0.1:8002", false);
    assert_eq!(verdict(&settings, "/purge", &[]), 400);
    let twice = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(verdict(&settings, "/purge", &twice), 400);
}

#[test]
fn listening_everywhere_any_address_but_no_foreign_name_is_ours() {
    let settings = settings("0.0.0.0:8002", true);
    let token = ("authorization", "Bearer a-token-of-some-length");
    assert_eq!(
        verdict(&settings, "/metrics", &[("host", "10.1.2.3:8002"), token]),
        200
    );
    assert_eq!(
        verdict(
            &settings,
            "/metrics",
            &[("host", "evil.example:8002"), token]
        ),
        421
    );
}

#[test]
fn an_absolute_target_must_name_the_same_host() {
    let settings = settings("127.0.0.1:8002", false);
    let host = [("host", "127.0.0.1:8002")];
    assert_eq!(
        verdict(&settings, "http://127.0.0.1:8002/metrics", &host),
        200
    );
    assert_eq!(
        verdict(&settings, "http://evil.example/metrics", &host),
        421
    );
}

#[test]
fn what_another_page_sends_is_refused() {
    let settings = settings("127.0.0.1:8002", false);
    for (name, value, expected) in [
        ("sec-fetch-site", "none", 200),
        ("sec-fetch-site", "same-origin", 200),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "", 403),
        ("origin", "http://localhost:8002", 200),
        ("origin", "https://localhost:8002", 200),
        ("origin", "http://LOCALHOST:8002", 200),
        ("origin", "http://localhost:3000", 403),
        ("origin", "http://localhost", 403),
        ("origin", "http://evil.example", 403),
        ("origin", "ftp://localhost:8002", 403),
        ("origin", "null", 403),
        ("origin", "", 403),
    ] {
        let fields = [("host", "localhost:8002"), (name, value)];
        assert_eq!(
            verdict(&settings, "/purge", &fields),
            expected,
            "{name}: {value}"
        );
        // The open route is no way round.
        assert_eq!(
            verdict(&settings, "/health", &fields),
            expected,
            "{name}: {value}"
        );
    }
    let one_of_two = [
        ("host", "localhost:8002"),
        ("origin", "http://localhost:8002"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(verdict(&settings, "/purge", &one_of_two), 403);
}

#[test]
fn the_token_is_wanted_everywhere_but_for_health() {
    let settings = settings("127.0.0.1:8002", true);
    for (authorization, expected) in [
        ("Bearer a-token-of-some-length", 200),
        ("bearer  a-token-of-some-length", 200),
        ("Bearer a-token-of-some-lengtH", 401),
        ("Bearer a-token-of-some-lengt", 401),
        ("Bearer a-token-of-some-length1", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Basic a-token-of-some-length", 401),
        ("a-token-of-some-length", 401),
        ("", 401),
    ] {
        let fields = [("host", "localhost"), ("authorization", authorization)];
        assert_eq!(
            verdict(&settings, "/purge", &fields),
            expected,
            "{authorization}"
        );
    }
    assert_eq!(verdict(&settings, "/purge", &[("host", "localhost")]), 401);
    assert_eq!(
        verdict(&settings, "/nowhere", &[("host", "localhost")]),
        401
    );
    assert_eq!(verdict(&settings, "/health", &[("host", "localhost")]), 200);
}

#[test]
fn a_token_does_not_excuse_a_foreign_host_or_page() {
    let settings = settings("127.0.0.1:8002", true);
    let token = ("authorization", "Bearer a-token-of-some-length");
    assert_eq!(
        verdict(&settings, "/purge", &[("host", "evil.example"), token]),
        421
    );
    let fields = [
        ("host", "localhost"),
        ("origin", "http://evil.example"),
        token,
    ];
    assert_eq!(verdict(&settings, "/purge", &fields), 403);
}
