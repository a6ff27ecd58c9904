//! Through the real proxy one person never sees another's, whoever asked first and however they are known.

use crate::support::http::{get, get_with, post_form, send_json};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::proxy::Proxy;
use hyper::Method;
use serde_json::json;

const TARGETS: &[&str] = &[
    "/me",
    "/me/preferences",
    "/me/preferences/theme",
    "/me/feed",
];

#[tokio::test(flavor = "multi_thread")]
async fn one_person_never_sees_anothers() {
    let origin = TestOrigin::start(&[Script::new("a", Act::Give(vec![article("x", 0)]))]).await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    let mut people = Vec::new();
    for name in ["ada", "bob"] {
        let form = format!("email={name}%40example.org&password=correct+horse&name={name}");
        let up = post_form(proxy, "/auth/register", &[], &form).await;
        assert_eq!(up.status, 303);
        let cookie = up
            .header("set-cookie")
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        let body = json!({"email": format!("{name}@example.org"), "password": "correct horse"});
        let opened = send_json(proxy, Method::POST, "/auth/login", &[], &body).await;
        let bearer = format!(
            "Bearer {}",
            opened.json()["token"].as_str().expect("a token")
        );
        let own = [("authorization", bearer.as_str())];
        for (key, value) in [
            ("theme", json!(format!("{name}'s"))),
            ("feed.muted_words", json!([name])),
        ] {
            let target = format!("/me/preferences/{key}");
            assert_eq!(
                send_json(proxy, Method::PUT, &target, &own, &value)
                    .await
                    .status,
                201
            );
        }
        people.push((name, bearer, cookie));
    }
    for target in TARGETS {
        // Twice round, so that whatever could have been stored is asked for by the other person, and by nobody.
        for _ in 0..2 {
            for (name, bearer, cookie) in &people {
                for field in [
                    ("authorization", bearer.as_str()),
                    ("cookie", cookie.as_str()),
                ] {
                    let reply = get_with(proxy, target, &[field]).await;
                    assert_eq!(reply.status, 200, "{target} for {name}");
                    assert_ne!(reply.header("x-cache"), "HIT", "{target} for {name}");
                    assert_eq!(reply.header("cache-control"), "private, no-store");
                    let text = String::from_utf8_lossy(&reply.body).into_owned();
                    let other = if *name == "ada" { "bob" } else { "ada" };
                    assert!(!text.contains(other), "{target} for {name}: {text}");
                    assert!(
                        text.contains(name) || *target == "/me/feed",
                        "{target} for {name}: {text}"
                    );
                }
            }
            let nobody = get(proxy, target).await;
            assert_eq!(
                (nobody.status.as_u16(), nobody.header("cache-control")),
                (401, "no-store"),
                "{target}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_everybodys_is_shared_by_those_who_are_signed_in() {
    let origin = TestOrigin::start(&[Script::new("a", Act::Give(vec![article("x", 0)]))]).await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    let up = post_form(
        proxy,
        "/auth/register",
        &[],
        "email=ada%40example.org&password=correct+horse",
    )
    .await;
    let cookie = up
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    for target in ["/articles", "/messages", "/status"] {
        let first = get_with(proxy, target, &[("cookie", &cookie)]).await;
        assert_eq!(
            (first.status.as_u16(), first.header("x-cache")),
            (200, "MISS"),
            "{target}"
        );
        let second = get(proxy, target).await;
        assert_eq!(
            (second.header("x-cache"), &second.body),
            ("HIT", &first.body),
            "{target}"
        );
        let third = get_with(proxy, target, &[("cookie", "larder_session=other")]).await;
        assert_eq!(
            (third.header("x-cache"), &third.body),
            ("HIT", &first.body),
            "{target}"
        );
    }
}
