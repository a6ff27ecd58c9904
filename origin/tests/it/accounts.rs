//! Signing up, in and out, preferences and the feed, over HTTP.

use crate::support::http::{Reply, get, get_with, post_form, send, send_body, send_json};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use hyper::Method;
use larder_origin::article::{Category, NewArticle};
use serde_json::{Value, json};
use std::net::SocketAddr;

async fn origin() -> TestOrigin {
    TestOrigin::start(&[]).await
}

async fn post(origin: &TestOrigin, target: &str, body: Value) -> Reply {
    send_json(origin.address, Method::POST, target, &[], &body).await
}

/// A bearer's `Authorization`.
async fn bearer(origin: &TestOrigin, name: &str) -> String {
    let body =
        json!({"email": format!("{name}@example.org"), "password": "correct horse", "name": name});
    let opened = post(origin, "/auth/register", body).await;
    assert_eq!(opened.status, 201, "{:?}", opened.body);
    format!(
        "Bearer {}",
        opened.json()["token"].as_str().expect("a token")
    )
}

async fn me(address: SocketAddr, field: (&str, &str)) -> Reply {
    get_with(address, "/me", &[field]).await
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(reply: &Reply) -> String {
    reply
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_signs_up_in_and_out_by_bearer_token() {
    let origin = origin().await;
    let body = json!({"email": " Ada@Example.ORG", "password": "correct horse", "name": "Ada L."});
    let opened = post(&origin, "/auth/register", body.clone()).await;
    assert_eq!(
        (opened.status.as_u16(), opened.header("cache-control")),
        (201, "private, no-store")
    );
    assert_eq!(opened.header("set-cookie"), "");
    let (first, shown) = (opened.json(), opened.json()["user"].clone());
    assert_eq!(
        (&shown["email"], &shown["name"]),
        (&json!("ada@example.org"), &json!("Ada L."))
    );
    assert_eq!(first["token_type"], "Bearer");

    let again = post(&origin, "/auth/register", body).await;
    assert_eq!(
        (again.status.as_u16(), again.code().as_str()),
        (409, "email_taken")
    );

    let opened = post(
        &origin,
        "/auth/login",
        json!({"email": "ada@example.org", "password": "correct horse"}),
    )
    .await;
    assert_eq!(opened.status, 201);
    let second = opened.json();
    assert_ne!(first["token"], second["token"]);
    let token = |opened: &Value| format!("Bearer {}", opened["token"].as_str().expect("a token"));
    for opened in [&first, &second] {
        let reply = me(origin.address, ("authorization", &token(opened))).await;
        assert_eq!((reply.status.as_u16(), &reply.json()), (200, &shown));
        assert_eq!(reply.header("cache-control"), "private, no-store");
    }

    let out = send(
        origin.address,
        Method::POST,
        "/auth/logout",
        &[("authorization", &token(&first))],
    )
    .await;
    assert_eq!(out.expect("an answer").status, 204);
    let reply = me(origin.address, ("authorization", &token(&first))).await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (401, "unauthorized")
    );
    assert_eq!(
        (
            reply.header("www-authenticate"),
            reply.header("cache-control")
        ),
        ("Bearer", "no-store")
    );
    assert_eq!(
        me(origin.address, ("authorization", &token(&second)))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_signs_up_in_and_out_by_cookie() {
    let origin = origin().await;
    let page = format!("http://{}", origin.address);
    let own = &[("origin", page.as_str())][..];
    let up = post_form(
        origin.address,
        "/auth/register",
        own,
        "email=ada%40example.org&password=correct+horse&name=&back=%2Fboard",
    )
    .await;
    assert_eq!((up.status.as_u16(), up.header("location")), (303, "/board"));
    assert!(
        up.header("set-cookie")
            .ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"),
        "{:?}",
        up.headers
    );
    let first = cookie(&up);
    let shown = me(origin.address, ("cookie", &first)).await;
    assert_eq!(
        (shown.status.as_u16(), &shown.json()["name"]),
        (200, &json!("ada"))
    );

    let out = post_form(
        origin.address,
        "/auth/logout",
        &[own[0], ("cookie", &first)],
        "",
    )
    .await;
    assert_eq!((out.status.as_u16(), out.header("location")), (303, "/"));
    assert!(
        out.header("set-cookie")
            .starts_with("larder_session=; Path=/; Max-Age=0;")
    );
    assert_eq!(me(origin.address, ("cookie", &first)).await.status, 401);

    let within = post_form(
        origin.address,
        "/auth/login",
        own,
        "email=ada%40example.org&password=correct+horse",
    )
    .await;
    assert_eq!(
        (within.status.as_u16(), within.header("location")),
        (303, "/")
    );
    assert_eq!(
        me(origin.address, ("cookie", &cookie(&within)))
            .await
            .status,
        200
    );
    // Nobody is sent to a page that is not ours.
    let away = post_form(
        origin.address,
        "/auth/login",
        own,
        "email=ada%40example.org&password=correct+horse&back=https://evil.example",
    )
    .await;
    assert_eq!((away.status.as_u16(), away.header("location")), (422, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_is_secure_where_people_come_by_https() {
    let form = "email=ada%40example.org&password=correct+horse";
    for (settings, fields, is_secure) in [
        (&[][..], &[][..], false),
        (
            &[("ORIGIN_PUBLIC_URL", "https://news.example")],
            &[("origin", "https://news.example")],
            true,
        ),
        (
            &[("ORIGIN_TRUSTED_PROXIES", "127.0.0.1")],
            &[("x-forwarded-proto", "https")],
            true,
        ),
        (&[], &[("x-forwarded-proto", "https")], false),
    ] {
        let database = crate::support::database::TestDatabase::sqlite().await;
        let origin = TestOrigin::with(database, &[], settings).await;
        let up = post_form(origin.address, "/auth/register", fields, form).await;
        assert_eq!(up.status, 303, "{:?}", up.body);
        assert_eq!(
            up.header("set-cookie").ends_with("; Secure"),
            is_secure,
            "{settings:?} {fields:?}"
        );
        // By https it is this host's alone, and one that a neighbour could have planted counts for nothing.
        let own = cookie(&up);
        assert_eq!(own.starts_with("__Host-larder_session="), is_secure);
        let signed_in = async |cookie: &str| {
            let fields = [fields, &[("cookie", cookie)][..]].concat();
            get_with(origin.address, "/me", &fields)
                .await
                .status
                .as_u16()
        };
        assert_eq!(signed_in(&own).await, 200);
        if is_secure {
            assert_eq!(signed_in(own.trim_start_matches("__Host-")).await, 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_and_a_wrong_password_are_answered_alike() {
    let origin = origin().await;
    bearer(&origin, "ada").await;
    let try_in = async |email: &str| {
        let reply = post(
            &origin,
            "/auth/login",
            json!({"email": email, "password": "wrong horse"}),
        )
        .await;
        (reply.status.as_u16(), reply.body)
    };
    let (known, unknown) = (
        try_in("ada@example.org").await,
        try_in("eve@example.org").await,
    );
    assert_eq!(known, unknown);
    assert_eq!(known.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_may_try_so_often_a_minute_and_a_proxy_names_the_client() {
    let settings = [
        ("ORIGIN_LOGIN_RATE_LIMIT", "2"),
        ("ORIGIN_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let database = crate::support::database::TestDatabase::sqlite().await;
    let origin = TestOrigin::with(database, &[], &settings).await;
    let try_in = async |client: &str, email: &str| {
        let fields = [("x-forwarded-for", client)];
        let body = json!({"email": email, "password": "wrong horse"});
        send_json(origin.address, Method::POST, "/auth/login", &fields, &body)
            .await
            .status
            .as_u16()
    };
    assert_eq!(try_in("192.0.2.1", "a@example.org").await, 401);
    assert_eq!(try_in("192.0.2.1", "b@example.org").await, 401);
    assert_eq!(try_in("192.0.2.1", "c@example.org").await, 429);
    assert_eq!(try_in("192.0.2.2", "c@example.org").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_may_sign_up_less_often_than_in() {
    let settings = [
        ("ORIGIN_REGISTRATION_RATE_LIMIT", "1"),
        ("ORIGIN_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let database = crate::support::database::TestDatabase::sqlite().await;
    let origin = TestOrigin::with(database, &[], &settings).await;
    let try_at = async |target: &str, client: &str, email: &str| {
        let fields = [("x-forwarded-for", client)];
        let body = json!({"email": email, "password": "correct horse"});
        send_json(origin.address, Method::POST, target, &fields, &body).await
    };
    let sign_up = "/auth/register";
    assert_eq!(
        try_at(sign_up, "192.0.2.1", "a@example.org").await.status,
        201
    );
    let refused = try_at(sign_up, "192.0.2.1", "b@example.org").await;
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((3_500..=3_600).contains(&wait), "{wait}");
    assert_eq!(
        try_at(sign_up, "192.0.2.2", "b@example.org").await.status,
        201
    );
    assert_eq!(
        try_at("/auth/login", "192.0.2.1", "a@example.org")
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_too_often_is_refused_and_keeps_nobody_else_out() {
    let settings = [
        ("ORIGIN_LOGIN_RATE_LIMIT", "0"),
        ("ORIGIN_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let database = crate::support::database::TestDatabase::sqlite().await;
    let origin = TestOrigin::with(database, &[], &settings).await;
    bearer(&origin, "ada").await;
    let right = json!({"email": "ada@example.org", "password": "correct horse"});
    let wrong = json!({"email": "ADA@example.org", "password": "wrong horse"});
    let status = async |client: &str, body: &Value| {
        let fields = [("x-forwarded-for", client)];
        send_json(origin.address, Method::POST, "/auth/login", &fields, body)
            .await
            .status
            .as_u16()
    };
    let (owner, guesser) = ("192.0.2.1", "192.0.2.2");
    for _ in 0..61 {
        // Those who know their password do not use the account's allowance up.
        assert_eq!(status(guesser, &right).await, 201);
    }
    for _ in 0..60 {
        assert_eq!(status(guesser, &wrong).await, 401);
    }
    assert_eq!(status(guesser, &right).await, 429);
    assert_eq!(status(owner, &right).await, 201);
    let other = json!({"email": "bob@example.org", "password": "wrong horse"});
    assert_eq!(status(guesser, &other).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_page_sends_is_refused_whoever_is_signed_in() {
    let origin = origin().await;
    let up = post_form(
        origin.address,
        "/auth/register",
        &[],
        "email=ada%40example.org&password=correct+horse",
    )
    .await;
    let cookie = cookie(&up);
    for foreign in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
    ] {
        let fields = [foreign, ("cookie", cookie.as_str())];
        for target in ["/auth/logout", "/auth/login", "/messages", "/views"] {
            let reply = post_form(origin.address, target, &fields, "").await;
            assert_eq!(
                (reply.status.as_u16(), reply.code().as_str()),
                (403, "cross_site"),
                "{target}"
            );
        }
        let reply = send(origin.address, Method::DELETE, "/me", &fields)
            .await
            .expect("an answer");
        assert_eq!(reply.status, 403);
    }
    assert_eq!(me(origin.address, ("cookie", &cookie)).await.status, 200);
    let fields = [
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookie.as_str()),
    ];
    let reply = send(origin.address, Method::DELETE, "/me", &fields)
        .await
        .expect("an answer");
    // Nothing of theirs stood on the board.
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.header("cache-group-invalidation")
        ),
        (204, "")
    );
    assert_eq!(me(origin.address, ("cookie", &cookie)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_goes_with_its_messages_voids_the_board() {
    let origin = origin().await;
    let ada = bearer(&origin, "ada").await;
    let fields = [("authorization", ada.as_str())];
    let body = json!({"text": "hello"});
    let posted = send_json(origin.address, Method::POST, "/messages", &fields, &body).await;
    assert_eq!(posted.status, 201);
    let gone = send(origin.address, Method::DELETE, "/me", &fields)
        .await
        .expect("an answer");
    assert_eq!(
        (
            gone.status.as_u16(),
            gone.header("cache-group-invalidation")
        ),
        (204, "\"messages\", \"erasures\"")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_strictly_and_within_bounds() {
    let origin = origin().await;
    let send = async |kind: &str, body: &str| {
        let fields = [("content-type", kind)];
        let reply = send_body(
            origin.address,
            Method::POST,
            "/auth/register",
            &fields,
            body,
        )
        .await
        .expect("an answer");
        (reply.status.as_u16(), reply.code())
    };
    let expect = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        send("text/plain", "email=a").await,
        expect(415, "unsupported_media_type")
    );
    assert_eq!(
        send("application/json", "{").await,
        expect(400, "invalid_body")
    );
    assert_eq!(
        send("application/json; charset=utf-8", "{}").await,
        expect(422, "invalid_field")
    );
    assert_eq!(
        send("application/x-www-form-urlencoded", "").await,
        expect(422, "invalid_field")
    );
    let huge = "x".repeat(64 * 1024 + 1);
    assert_eq!(
        send("application/json", &huge).await,
        expect(413, "body_too_large")
    );
    let reply = post(
        &origin,
        "/auth/register",
        json!({"email": "x", "password": "short", "name": "n".repeat(41), "role": "admin"}),
    )
    .await;
    let mut names: Vec<String> = reply.json()["parameters"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| fault["name"].to_string())
        .collect();
    names.sort();
    assert_eq!(names, ["\"email\"", "\"name\"", "\"password\"", "\"role\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_are_json_values_by_key_within_limits() {
    let origin = origin().await;
    let (ada, bob) = (bearer(&origin, "ada").await, bearer(&origin, "bob").await);
    let ask = async |who: &str, method: Method, target: &str, body: &Value| {
        send_json(
            origin.address,
            method,
            target,
            &[("authorization", who)],
            body,
        )
        .await
    };
    let none = Value::Null;
    let set = ask(&ada, Method::PUT, "/me/preferences/theme", &json!("dark")).await;
    assert_eq!((set.status.as_u16(), set.json()), (201, json!("dark")));
    let set = ask(
        &ada,
        Method::PUT,
        "/me/preferences/theme",
        &json!({"mode": "light"}),
    )
    .await;
    assert_eq!(set.status, 200);
    let one = ask(&ada, Method::GET, "/me/preferences/theme", &none).await;
    assert_eq!(
        (one.status.as_u16(), one.json(), one.header("cache-control")),
        (200, json!({"mode": "light"}), "private, no-store")
    );
    let all = ask(&ada, Method::GET, "/me/preferences", &none).await;
    assert_eq!(
        all.json(),
        json!({"preferences": {"theme": {"mode": "light"}}})
    );
    assert_eq!(
        ask(&bob, Method::GET, "/me/preferences", &none)
            .await
            .json(),
        json!({"preferences": {}})
    );
    assert_eq!(
        ask(&bob, Method::GET, "/me/preferences/theme", &none)
            .await
            .code(),
        "preference_not_found"
    );
    assert_eq!(
        ask(&ada, Method::DELETE, "/me/preferences/theme", &none)
            .await
            .status,
        204
    );
    assert_eq!(
        ask(&ada, Method::DELETE, "/me/preferences/theme", &none)
            .await
            .status,
        404
    );

    let longest = "x".repeat(4094);
    assert_eq!(
        ask(&ada, Method::PUT, "/me/preferences/a", &json!(longest))
            .await
            .status,
        201
    );
    assert_eq!(
        ask(
            &ada,
            Method::PUT,
            "/me/preferences/a",
            &json!(format!("{longest}x"))
        )
        .await
        .status,
        413
    );
    assert_eq!(
        ask(&ada, Method::PUT, "/me/preferences/A", &json!(1))
            .await
            .status,
        400
    );
    assert_eq!(
        ask(
            &ada,
            Method::PUT,
            "/me/preferences/feed.categories",
            &json!(["cooking"])
        )
        .await
        .status,
        422
    );
    let fields = [
        ("authorization", ada.as_str()),
        ("content-type", "application/json"),
    ];
    let broken = send_body(
        origin.address,
        Method::PUT,
        "/me/preferences/a",
        &fields,
        "{oops",
    )
    .await
    .expect("an answer");
    assert_eq!(broken.code(), "invalid_body");
    for target in ["/me", "/me/preferences", "/me/preferences/a", "/me/feed"] {
        assert_eq!(get(origin.address, target).await.status, 401, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_what_the_preferences_ask_for() {
    let of = |path: &str, category| NewArticle {
        categories: vec![category],
        ..article(path, path.len() as i64)
    };
    let given =
        |names: &[&str], category| Act::Give(names.iter().map(|name| of(name, category)).collect());
    let english = NewArticle {
        language: Some("en".to_owned()),
        ..of("start-22", Category::Science)
    };
    let science = Act::Give(vec![
        of("art-1", Category::Science),
        english,
        of("final-333", Category::Science),
    ]);
    let sources = [
        Script::without_categories("a", science),
        Script::without_categories(
            "b",
            given(&["match-4444", "art-5555555555"], Category::Sports),
        ),
    ];
    let origin = TestOrigin::start(&sources).await;
    assert_eq!(get(origin.address, "/articles").await.json()["total"], 5);
    let ada = bearer(&origin, "ada").await;
    let fields = [("authorization", ada.as_str())];
    let titles = async |target: &str| {
        let reply = get_with(origin.address, target, &fields).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("cache-control")),
            (200, "private, no-store")
        );
        let reply = reply.json();
        let titles: Vec<String> = reply["articles"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|article| {
                article["title"]
                    .as_str()
                    .unwrap_or_default()
                    .replace("About ", "")
            })
            .collect();
        (titles, reply["next"].as_str().map(str::to_owned))
    };
    let prefer = async |key: &str, value: Value| {
        let target = format!("/me/preferences/{key}");
        let set = send_json(origin.address, Method::PUT, &target, &fields, &value).await;
        assert!(set.status.is_success(), "{:?}", set.body);
    };
    assert_eq!(
        titles("/me/feed").await.0,
        [
            "art-5555555555",
            "match-4444",
            "final-333",
            "start-22",
            "art-1"
        ]
    );
    prefer("feed.muted_words", json!(["ART"])).await;
    let (first, next) = titles("/me/feed?limit=2").await;
    assert_eq!(first, ["match-4444", "final-333"]);
    let (rest, next) = titles(&format!(
        "/me/feed?limit=2&cursor={}",
        next.expect("a next page")
    ))
    .await;
    assert_eq!((rest, next), (vec!["start-22".to_owned()], None));
    prefer("feed.sources", json!(["b", "unknown"])).await;
    assert_eq!(titles("/me/feed").await.0, ["match-4444"]);
    prefer("feed.categories", json!(["science"])).await;
    assert_eq!(titles("/me/feed").await.0, [""; 0]);
    prefer("feed.sources", json!([])).await;
    prefer("feed.languages", json!(["de-CH"])).await;
    // Of the others nobody knows the language.
    assert_eq!(titles("/me/feed").await.0, ["final-333"]);
    prefer("feed.languages", json!(["EN", "de"])).await;
    assert_eq!(titles("/me/feed").await.0, ["final-333", "start-22"]);
}
