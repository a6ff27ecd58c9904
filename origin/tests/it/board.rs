//! The message board and the views, straight and through the real proxy.

use crate::support::http::{Reply, get, post_form, send, send_json};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::proxy::Proxy;
use hyper::Method;
use serde_json::json;
use std::net::SocketAddr;

async fn origin() -> TestOrigin {
    TestOrigin::start(&[Script::new("a", Act::Give(vec![article("x", 0)]))]).await
}

fn text(page: &Reply) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&page.body)
}

async fn texts(address: SocketAddr, target: &str) -> Vec<String> {
    let reply = get(address, target).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let messages = reply.json()["messages"].as_array().expect("a list").clone();
    messages
        .iter()
        .map(|message| message["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_sent_back_to_the_page_and_a_program_gets_what_it_made() {
    let origin = origin().await;
    let posted = post_form(
        origin.address,
        "/messages",
        &[],
        "text=Hello%2C+board&author=Ada",
    )
    .await;
    assert_eq!(
        (posted.status.as_u16(), posted.header("location")),
        (303, "/board")
    );
    assert_eq!(posted.header("cache-group-invalidation"), "\"messages\"");
    let body = json!({"text": "  two\r\n\r\n\r\nlines <script> \u{202e}"});
    let posted = send_json(origin.address, Method::POST, "/messages", &[], &body).await;
    assert_eq!(posted.status, 201);
    let message = posted.json();
    assert_eq!(
        (&message["author"], &message["text"]),
        (&json!("Anonymous"), &json!("two\n\nlines <script>"))
    );
    assert_eq!(
        posted.header("location"),
        format!("/messages/{}", message["id"])
    );
    assert_eq!(
        get(origin.address, posted.header("location")).await.json(),
        message
    );
    let list = get(origin.address, "/messages").await;
    assert_eq!(
        (list.header("cache-control"), list.header("cache-groups")),
        ("no-cache", "\"messages\"")
    );
    assert_eq!(list.json()["messages"][1]["author"], "Ada");
    for (target, status) in [
        ("/messages/0", 400),
        ("/messages/4711", 404),
        ("/messages?limit=0", 400),
        ("/messages?cursor=x", 400),
    ] {
        assert_eq!(get(origin.address, target).await.status, status, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_their_limits() {
    let origin = origin().await;
    for (body, status) in [
        (json!({}), 422),
        (json!({"text": " \u{200b}\n "}), 422),
        (json!({"text": "x".repeat(1001)}), 422),
        (json!({"text": "x".repeat(1000)}), 201),
        (
            json!({"text": "ä".repeat(1000), "author": "ä".repeat(40)}),
            201,
        ),
        (json!({"text": "x", "author": "ä".repeat(41)}), 422),
        (json!({"text": "x", "signed_in": "true"}), 422),
    ] {
        let posted = send_json(origin.address, Method::POST, "/messages", &[], &body).await;
        assert_eq!(posted.status, status, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_may_post_so_often_a_minute() {
    let database = crate::support::database::TestDatabase::sqlite().await;
    let origin = TestOrigin::with(database, &[], &[("ORIGIN_MESSAGE_RATE_LIMIT", "2")]).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(
            post_form(origin.address, "/messages", &[], "text=again")
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(statuses, [303, 303, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signed_in_write_under_their_own_name_and_take_their_own_messages_down() {
    let origin = origin().await;
    let mut bearers = Vec::new();
    for name in ["Ada", "Bob"] {
        let body = json!({"email": format!("{name}@example.org"), "password": "correct horse", "name": name});
        let opened = send_json(origin.address, Method::POST, "/auth/register", &[], &body).await;
        bearers.push(format!(
            "Bearer {}",
            opened.json()["token"].as_str().expect("a token")
        ));
    }
    let (ada, bob) = (
        [("authorization", bearers[0].as_str())],
        [("authorization", bearers[1].as_str())],
    );
    let body = json!({"text": "it is me", "author": "Bob"});
    let posted = send_json(origin.address, Method::POST, "/messages", &ada, &body).await;
    assert_eq!(
        (&posted.json()["author"], &posted.json()["signed_in"]),
        (&json!("Ada"), &json!(true))
    );
    let target = posted.header("location");
    let remove = async |fields| {
        send(origin.address, Method::DELETE, target, fields)
            .await
            .expect("an answer")
    };
    assert_eq!(remove(&[]).await.status, 401);
    assert_eq!(remove(&bob).await.status, 404);
    let removed = remove(&ada).await;
    assert_eq!(
        (
            removed.status.as_u16(),
            removed.header("cache-group-invalidation")
        ),
        (204, "\"messages\"")
    );
    assert_eq!(get(origin.address, target).await.status, 404);
    // A token that opens nothing is no reason to post without a name.
    let stale = [("authorization", "Bearer nonsense")];
    assert_eq!(
        send_json(origin.address, Method::POST, "/messages", &stale, &body)
            .await
            .status,
        401
    );
    let stale = [("cookie", "larder_session=nonsense")];
    assert_eq!(
        send_json(origin.address, Method::POST, "/messages", &stale, &body)
            .await
            .status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_proxy_a_post_makes_the_next_page_fresh() {
    let origin = origin().await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    let pages = ["/messages", "/messages?limit=1", "/messages?limit=50"];
    for page in pages {
        assert_eq!(get(proxy, page).await.header("x-cache"), "MISS", "{page}");
    }
    for round in 0..4 {
        for page in pages {
            assert_eq!(get(proxy, page).await.header("x-cache"), "HIT", "{page}");
        }
        let text = format!("round {round}");
        let posted = match round % 2 {
            0 => post_form(proxy, "/messages", &[], &format!("text={text}")).await,
            _ => {
                send_json(
                    proxy,
                    Method::POST,
                    "/messages",
                    &[],
                    &json!({"text": text}),
                )
                .await
            }
        };
        assert!(
            matches!(posted.status.as_u16(), 201 | 303),
            "{:?}",
            posted.body
        );
        for page in pages {
            let fresh = get(proxy, page).await;
            assert_eq!(fresh.header("x-cache"), "MISS", "{page} in round {round}");
            assert_eq!(
                fresh.json()["messages"][0]["text"],
                text,
                "{page} in round {round}"
            );
        }
    }
    // One that fails changes nothing, and voids nothing.
    assert_eq!(
        post_form(proxy, "/messages", &[], "text=").await.status,
        422
    );
    assert_eq!(get(proxy, pages[0]).await.header("x-cache"), "HIT");
    assert_eq!(texts(proxy, pages[0]).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_beacon_counts_though_the_page_comes_from_the_cache() {
    let origin = origin().await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    for _ in 0..3 {
        let counted = send(proxy, Method::POST, "/views", &[])
            .await
            .expect("an answer");
        assert_eq!(
            (counted.status.as_u16(), counted.header("x-cache")),
            (204, "BYPASS")
        );
        assert_eq!(counted.header("cache-control"), "private, no-store");
    }
    let counted = post_form(proxy, "/views", &[], "page=%2Fboard").await;
    assert_eq!(counted.status, 204);
    assert_eq!(
        post_form(proxy, "/views", &[], "page=%2Fnowhere")
            .await
            .status,
        422
    );
    let status = get(proxy, "/status").await;
    assert_eq!(
        (status.header("x-cache"), &status.json()["page_views"]),
        ("MISS", &json!(4))
    );
    assert_eq!(
        status.header("cdn-cache-control"),
        "max-age=10, stale-if-error=3600"
    );
    let again = get(proxy, "/status").await;
    assert_eq!(
        (again.header("x-cache"), &again.body),
        ("HIT", &status.body)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_account_s_words_leave_the_front_page_at_once_and_a_post_leaves_it_be() {
    let origin = origin().await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    // A post leaves other people's pages as they are: each way has a page of its own.
    for (way, page) in [("/me", "/"), ("/account/delete", "/?category=general")] {
        let form = format!("email={}%40news.example&password=correct+horse", &way[1..3]);
        let up = post_form(origin.address, "/auth/register", &[], &form).await;
        let cookie = up.header("set-cookie");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        let fields = [("cookie", cookie.as_str())];
        let words = format!("Words+beside+the+news+{}", &way[1..3]);
        let shown = words.replace('+', " ");
        let posted = post_form(proxy, "/messages", &fields, &format!("text={words}")).await;
        assert_eq!(posted.status, 303, "{:?}", posted.body);
        assert!(text(&get(proxy, page).await).contains(&shown));
        let other = post_form(proxy, "/messages", &[], "text=By+the+way").await;
        assert_eq!(other.status, 303);
        assert_eq!(get(proxy, page).await.header("x-cache"), "HIT");
        let list = get(proxy, "/articles?limit=3").await;
        assert_eq!(list.status, 200);

        let gone = match way {
            "/me" => {
                let gone = send(proxy, Method::DELETE, way, &fields).await;
                gone.expect("an answer").status
            }
            way => post_form(proxy, way, &fields, "sure=yes").await.status,
        };
        assert!(gone == 204 || gone == 303, "{gone}");
        let front = get(proxy, page).await;
        assert_eq!(front.header("x-cache"), "MISS", "{way}");
        assert!(!text(&front).contains(&shown), "{way}");
        let list = get(proxy, "/articles?limit=3").await;
        assert_eq!(list.header("x-cache"), "HIT", "the news stay");
    }
}
