//! The pages for people: how they are kept, and what they never show.

use crate::support::http::{get, get_with, post_form, send_json};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::proxy::Proxy;
use hyper::Method;
use larder_origin::article::{CanonicalUrl, NewArticle};
use serde_json::json;
use std::collections::BTreeSet;

async fn origin() -> TestOrigin {
    let hostile = NewArticle {
        title: "<script>alert(1)</script> & \"quotes\"".to_owned(),
        description: Some("</article><img src=x onerror=alert(1)>".to_owned()),
        url: "https://news.example/?a=\"><b>&c='".to_owned(),
        ..article("hostile", 0)
    };
    let plain = (0..25).map(|n| article(&n.to_string(), n - 100));
    TestOrigin::start(&[Script::new(
        "a",
        Act::Give(plain.chain([hostile]).collect()),
    )])
    .await
}

const A_MINUTE: &str = "max-age=60, stale-while-revalidate=30, stale-if-error=3600";

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

/// What a list of names in a field holds.
fn names(field: &str) -> BTreeSet<&str> {
    field.split(", ").collect()
}

/// The same, and one more: a page bears what its list bears, and a name of its own.
fn with<'a>(own: &'a str, field: &'a str) -> BTreeSet<&'a str> {
    names(field).into_iter().chain([own]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_kept_as_what_it_shows_is_kept() {
    let origin = origin().await;
    let (page, list) = (
        get(origin.address, "/").await,
        get(origin.address, "/articles").await,
    );
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), list.header("cache-control"));
    for (name, own) in [("cache-tag", "erasures"), ("cache-groups", "\"erasures\"")] {
        assert_eq!(page.headers.get_all(name).iter().count(), 1);
        assert_eq!(
            names(page.header(name)),
            with(own, list.header(name)),
            "{name}"
        );
    }
    // Because of the board beside the news, which may be so old.
    assert_eq!(page.header("cdn-cache-control"), A_MINUTE);
    assert_eq!(
        page.header("content-security-policy")
            .matches("'self'")
            .count(),
        5
    );
    let board = get(origin.address, "/board").await;
    assert_eq!(
        (board.header("cache-control"), board.header("cache-groups")),
        ("no-cache", "\"messages\"")
    );
    // The same bytes each time, so that a browser's copy holds.
    let again = get_with(
        origin.address,
        "/",
        &[("if-none-match", page.header("etag"))],
    )
    .await;
    assert_eq!(again.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_wrote_is_shown_and_never_run() {
    let origin = origin().await;
    let message = json!({"text": "<script>alert(2)</script>", "author": "\"><script>"});
    assert_eq!(
        send_json(origin.address, Method::POST, "/messages", &[], &message)
            .await
            .status,
        201
    );
    for target in [
        "/",
        "/board",
        "/?category=general",
        "/?q=%3Cscript%3Ealert(3)%3C/script%3E",
        "/?category=%3Cscript%3E",
    ] {
        let page = text(&get(origin.address, target).await.body);
        assert_eq!(page.matches("<script").count(), 1, "{target}: {page}");
        assert!(
            !page.contains("<img") && !page.contains("\"><b>"),
            "{target}: {page}"
        );
    }
    let page = text(&get(origin.address, "/").await.body);
    assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_shows_what_the_api_finds() {
    let origin = origin().await;
    // Searches look at what is stored.
    get(origin.address, "/").await;
    let found = get(origin.address, "/?q=quotes&category=&source=").await;
    let page = text(&found.body);
    assert_eq!(found.status, 200, "{page}");
    assert!(
        page.contains("News about “quotes”") && page.matches("<article>").count() == 1,
        "{page}"
    );
    let api = get(origin.address, "/search?q=quotes").await;
    let expected = with("erasures", api.header("cache-tag"));
    assert_eq!(names(found.header("cache-tag")), expected);
    assert_eq!(found.header("cdn-cache-control"), A_MINUTE);
    let none = text(&get(origin.address, "/?q=zzzzzzzz").await.body);
    assert!(none.contains("Nothing was found."), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_shown_once_and_tells_where_else_it_stands() {
    let told = |host: &str, outlet: &str, seconds| NewArticle {
        title: "Harbour plan to be drawn up for the northern district".to_owned(),
        outlet: Some(outlet.to_owned()),
        url: format!("https://{host}.example/?a=\"><b>"),
        canonical_url: CanonicalUrl::parse(&format!("https://{host}.example/"), None)
            .expect("a URL"),
        ..article(host, seconds)
    };
    let of = |name, host, outlet, seconds| {
        Script::new(name, Act::Give(vec![told(host, outlet, seconds)]))
    };
    let sources = [
        of("a", "one", "The First", 0),
        of("b", "two", "The <i>Second</i>", 60),
        of("c", "three", "The Third", 120),
        Script::new("d", Act::Give(vec![article("alone", 180)])),
    ];
    let origin = TestOrigin::start(&sources).await;
    for target in ["/", "/?q=harbour"] {
        let page = text(&get(origin.address, target).await.body);
        let stories: Vec<&str> = page.split("<article>").skip(1).collect();
        let story = stories
            .iter()
            .find(|story| story.contains("Harbour plan"))
            .unwrap_or_else(|| panic!("{target}: {page}"));
        assert_eq!(page.matches("Harbour plan").count(), 1, "{target}: {page}");
        let (main, also) = story.split_once("Also at").expect("the others are named");
        assert!(main.contains("https://one.example/"), "{story}");
        for (address, name) in [
            ("https://two.example/", "The &#60;i&#62;Second"),
            ("https://three.example/", "The Third"),
        ] {
            assert!(also.contains(address) && also.contains(name), "{also}");
        }
        assert!(!also.contains("\"><b>") && !also.contains("<i>"), "{also}");
        let alone = stories.iter().find(|story| story.contains("About alone"));
        assert!(alone.is_none_or(|story| !story.contains("Also at")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_a_page_where_a_person_sees_it() {
    let origin = origin().await;
    for target in [
        "/?category=cooking",
        "/?colour=red",
        "/?cursor=x",
        "/board?cursor=x",
        "/account?x=1",
    ] {
        let page = get(origin.address, target).await;
        assert_eq!(
            (page.status.as_u16(), page.header("content-type")),
            (400, "text/html; charset=utf-8"),
            "{target}"
        );
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(text(&page.body).contains("<h1>Bad Request</h1>"));
    }
    let browser = [("accept", "text/html,*/*;q=0.8")];
    let page = post_form(origin.address, "/messages", &browser, "text=").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (422, "text/html; charset=utf-8")
    );
    let problem = post_form(origin.address, "/messages", &[], "text=").await;
    assert_eq!(problem.code(), "invalid_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn through_the_proxy_the_page_is_shared_and_a_post_renews_the_board_alone() {
    let origin = origin().await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    let up = post_form(
        proxy,
        "/auth/register",
        &[],
        "email=ada%40example.org&password=correct+horse&name=Ada+L.",
    )
    .await;
    let cookie = up
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap_or_default()
        .to_owned();
    let ada = [("cookie", cookie.as_str())];
    for page in ["/", "/board", "/?category=general"] {
        let first = get_with(proxy, page, &ada).await;
        assert_eq!(
            (first.status.as_u16(), first.header("x-cache")),
            (200, "MISS"),
            "{page}"
        );
        assert!(!text(&first.body).contains("Ada L."), "{page}");
        let second = get(proxy, page).await;
        assert_eq!(
            (second.header("x-cache"), &second.body),
            ("HIT", &first.body),
            "{page}"
        );
    }
    let posted = post_form(proxy, "/messages", &ada, "text=It+is+me&back=%2F").await;
    assert_eq!(
        (posted.status.as_u16(), posted.header("location")),
        (303, "/board")
    );
    let fresh = get(proxy, "/board").await;
    assert_eq!(fresh.header("x-cache"), "MISS");
    assert!(text(&fresh.body).contains("It is me"));
    // Nobody empties the cache of the news by posting.
    for page in ["/", "/?category=general"] {
        assert_eq!(get(proxy, page).await.header("x-cache"), "HIT", "{page}");
    }
    for page in ["/account", "/account/menu"] {
        for _ in 0..2 {
            let own = get_with(proxy, page, &ada).await;
            assert_eq!(
                (own.header("cache-control"), own.header("x-cache") == "HIT"),
                ("private, no-store", false),
                "{page}"
            );
            assert!(text(&own.body).contains("Ada L."), "{page}");
            assert!(
                !text(&get(proxy, page).await.body).contains("Ada L."),
                "{page}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn style_and_script_are_kept_for_ever_under_their_own_address() {
    let origin = origin().await;
    let page = text(&get(origin.address, "/").await.body);
    let addresses: Vec<&str> = page
        .split('"')
        .filter(|text| text.starts_with("/assets/"))
        .collect();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        let asset = get(origin.address, address).await;
        assert_eq!(
            (asset.status.as_u16(), asset.header("cache-control")),
            (200, "public, max-age=31536000, immutable")
        );
        let kind = address.rsplit('.').next().unwrap_or_default();
        let old = get(origin.address, &format!("/assets/page-000000000000.{kind}")).await;
        assert_eq!(
            (old.header("cache-control"), &old.body),
            ("public, max-age=60", &asset.body)
        );
    }
    for unknown in ["/assets/page.css", "/assets/page-1.html", "/assets/x-1.js"] {
        assert_eq!(get(origin.address, unknown).await.status, 404, "{unknown}");
    }
}
