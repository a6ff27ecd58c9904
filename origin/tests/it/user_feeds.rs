//! Feeds that users add: whose they are, where they may lead, and who reads them.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{Reply, get, send, send_json};
use crate::support::readers::{LOOPBACK, Place};
use hyper::Method;
use larder_origin::sim::{Behaviour, Upstream};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

on_both_databases!(
    a_feed_is_its_users_own_and_nobody_elses,
    a_user_has_as_many_feeds_as_there_may_be,
    what_users_added_is_asked_by_rounds_until_nobody_wants_it,
    a_reader_sees_what_could_be_seen_since_the_feed_was_added,
    no_answer_tells_whether_somebody_else_has_a_feed,
);

fn refused(reply: &Reply) -> (u16, String) {
    (reply.status.as_u16(), reply.code())
}

async fn a_feed_is_its_users_own_and_nobody_elses(database: TestDatabase) {
    let place = Place::start(database, &[LOOPBACK]).await;
    get(place.origin.address, "/articles").await;
    let (one, other) = (
        place.somebody("one@news.example").await,
        place.somebody("other@news.example").await,
    );
    let url = place.url("/feeds/rss.xml");
    let added = place.add(&one, &url).await;
    assert_eq!(added.status, 201, "{:?}", added.body);
    let feed = added.json();
    let source = feed["source"].as_str().expect("a name").to_owned();
    let again = place.add(&one, &format!("{url}#top")).await;
    assert_eq!(
        (again.status.as_u16(), again.json()["id"].clone()),
        (200, feed["id"].clone())
    );
    let listed = place.get(&one, "/me/feeds").await.json();
    assert_eq!(listed["feeds"], json!([feed]));
    assert_eq!(place.reads(&one).await, ["a".to_owned(), source.clone()]);
    assert_eq!(place.reads(&other).await, ["a"]);
    assert_eq!(
        place.get(&other, "/me/feeds").await.json()["feeds"],
        json!([])
    );

    // What everybody sees holds nothing of it.
    let public = get(place.origin.address, "/articles?limit=100").await;
    assert!(!String::from_utf8_lossy(&public.body).contains("user-feed"));
    let own = place.get(&one, "/me/feed?limit=100").await.json();
    let articles = own["articles"].as_array().expect("articles").iter();
    let mine = articles.filter(|article| article["source"] == source.as_str());
    let id = mine
        .map(|article| article["id"].to_string())
        .next()
        .expect("an article");
    let by_id = get(place.origin.address, &format!("/articles/{id}")).await;
    assert_eq!(refused(&by_id), (404, "article_not_found".to_owned()));

    let target = format!("/me/feeds/{}", feed["id"]);
    let remove = async |bearer: &str| {
        let fields = [("authorization", bearer)];
        send(place.origin.address, Method::DELETE, &target, &fields)
            .await
            .expect("an answer")
    };
    assert_eq!(
        refused(&remove(&other).await),
        (404, "feed_not_found".to_owned())
    );
    assert_eq!(remove(&one).await.status, 204);
    assert_eq!(place.reads(&one).await, ["a"]);
    let nobody = send_json(
        place.origin.address,
        Method::POST,
        "/me/feeds",
        &[],
        &json!({"url": url}),
    )
    .await;
    assert_eq!(refused(&nobody), (401, "unauthorized".to_owned()));
}

async fn a_user_has_as_many_feeds_as_there_may_be(database: TestDatabase) {
    let settings = [LOOPBACK, ("ORIGIN_USER_FEEDS_MAX", "1")];
    let place = Place::start(database, &settings).await;
    let one = place.somebody("one@news.example").await;
    let (rss, atom) = (place.url("/feeds/rss.xml"), place.url("/feeds/atom.xml"));
    let both = futures_util::future::join(place.add(&one, &rss), place.add(&one, &atom)).await;
    let mut both = [both.0.status.as_u16(), both.1.status.as_u16()];
    both.sort_unstable();
    assert_eq!(both, [201, 409]);
    let third = place.add(&one, &place.url("/feeds/feed.json")).await;
    assert_eq!(refused(&third), (409, "too_many_feeds".to_owned()));
}

async fn what_users_added_is_asked_by_rounds_until_nobody_wants_it(database: TestDatabase) {
    let settings = [LOOPBACK, ("FEED_INTERVAL_MIN", "0s")];
    let place = Place::start(database, &settings).await;
    let (one, other) = (
        place.somebody("one@news.example").await,
        place.somebody("other@news.example").await,
    );
    let url = place.url("/feeds/atom.xml");
    for bearer in [&one, &other] {
        assert_eq!(place.add(bearer, &url).await.status, 201);
    }
    let asked = || place.simulation.counts()["/feeds/atom.xml"];
    // The simulated feed wishes to be left alone for a minute.
    let before = asked();
    let later = |minutes| chrono::Utc::now() + chrono::TimeDelta::minutes(minutes);
    place.round(later(20)).await;
    assert_eq!(asked(), before + 1, "one poll for both");
    for bearer in [&one, &other] {
        let feed = place.get(bearer, "/me/feeds").await.json()["feeds"][0].clone();
        assert_eq!(place.remove(bearer, &feed).await.status, 204);
    }
    place.round(later(40)).await;
    assert_eq!(asked(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_is_ever_asked() {
    let place = Place::start(TestDatabase::sqlite().await, &[]).await;
    let one = place.somebody("one@news.example").await;
    let port = place.simulation.address().port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "169.254.169.254",
        "10.0.0.1",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
    ];
    let ports = [format!(":{port}"), String::new(), ":8080".to_owned()];
    for host in hosts {
        for port in &ports {
            let url = format!("http://{host}{port}/feeds/rss.xml");
            let told = place.add(&one, &url).await;
            assert!(
                matches!(told.status.as_u16(), 422 | 429),
                "{url}: {:?}",
                told.body
            );
        }
    }
    for url in [
        "ftp://feeds.example/",
        "file:///etc/passwd",
        "http://user:pw@feeds.example/",
        "feeds",
        "",
    ] {
        assert_eq!(place.add(&one, url).await.status, 422, "{url}");
    }
    assert!(place.simulation.counts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_inside_is_not_followed() {
    let permitted = ("FEED_PERMITTED_NETWORKS", "127.0.0.2/32");
    let place = Place::start(TestDatabase::sqlite().await, &[permitted]).await;
    let one = place.somebody("one@news.example").await;
    let inside = place.simulation.url("/feeds/rss.xml");
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"] {
        let target = inside.as_str().replace("127.0.0.1", host);
        let outside = redirecting(target).await;
        let told = place.add(&one, &format!("http://{outside}/feed")).await;
        assert_eq!(told.status, 422, "{:?}", told.body);
    }
    assert!(place.simulation.counts().is_empty());
}

/// A server at 127.0.0.2 that sends everybody elsewhere.
async fn redirecting(target: String) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_feed_is_refused_with_a_reason() {
    let place = Place::start(TestDatabase::sqlite().await, &[LOOPBACK]).await;
    let one = place.somebody("one@news.example").await;
    for (path, words) in [
        ("/feeds/none.xml", "answers with an error"),
        ("/feeds/endless.xml", "more than a feed may be"),
        ("/feeds/loop.xml", "not a feed"),
        ("/v2/top-headlines", "answers with an error"),
    ] {
        let told = place.add(&one, &place.url(path)).await;
        assert_eq!(refused(&told), (422, "invalid_field".to_owned()), "{path}");
        let text = String::from_utf8_lossy(&told.body).into_owned();
        assert!(text.contains(words), "{path}: {text}");
    }
    assert_eq!(
        place.get(&one, "/me/feeds").await.json()["feeds"],
        json!([])
    );
}

/// A feed that lists what it was last told to, and counts who asks for it.
struct Changing {
    url: String,
    titles: Arc<Mutex<Vec<&'static str>>>,
    asked: Arc<AtomicUsize>,
}

impl Changing {
    async fn start(titles: &[&'static str]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let feed = Self {
            url: format!("http://{address}/rss.xml"),
            titles: Arc::new(Mutex::new(titles.to_vec())),
            asked: Arc::default(),
        };
        let (titles, asked) = (Arc::clone(&feed.titles), Arc::clone(&feed.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = Self::answer(&titles.lock().expect("no panic while locked"));
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        feed
    }

    fn answer(titles: &[&str]) -> String {
        let items = titles.iter().map(|title| {
            format!("<item><title>{title}</title><link>https://a.example/{title}</link></item>")
        });
        let items: String = items.collect();
        let body = format!("<rss version='2.0'><channel><title>T</title>{items}</channel></rss>");
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\nETag: \"{}\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            titles.concat()
        )
    }

    fn now_lists(&self, titles: &[&'static str]) {
        *self.titles.lock().expect("no panic while locked") = titles.to_vec();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The titles that somebody reads in feeds of their own.
async fn titles(place: &Place, bearer: &str) -> BTreeSet<String> {
    let body = place.get(bearer, "/me/feed?limit=100").await.json();
    let articles = body["articles"].as_array().expect("articles").iter();
    let own = articles.filter(|article| {
        let source = article["source"].as_str().expect("a name");
        source.starts_with("user-feed:")
    });
    own.map(|article| article["title"].as_str().expect("a title").to_owned())
        .collect()
}

async fn a_reader_sees_what_could_be_seen_since_the_feed_was_added(database: TestDatabase) {
    let settings = [LOOPBACK, ("FEED_INTERVAL_MIN", "0s")];
    let place = Place::start(database, &settings).await;
    let (one, other) = (
        place.somebody("one@news.example").await,
        place.somebody("other@news.example").await,
    );
    let sees = async |bearer: &str, expected: &[&str]| {
        let expected: BTreeSet<String> = expected.iter().map(|&title| title.to_owned()).collect();
        assert_eq!(titles(&place, bearer).await, expected);
    };
    let feed = Changing::start(&["early", "stays"]).await;
    assert_eq!(place.add(&one, &feed.url).await.status, 201);
    feed.now_lists(&["stays", "later"]);
    assert_eq!(place.add(&other, &feed.url).await.status, 201);
    sees(&one, &["early", "stays", "later"]).await;
    sees(&other, &["stays", "later"]).await;
    feed.now_lists(&["last"]);
    let later = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    place.round(later).await;
    sees(&one, &["early", "stays", "later", "last"]).await;
    sees(&other, &["stays", "later", "last"]).await;
    let listed = place.get(&other, "/me/feeds").await.json()["feeds"][0].clone();
    assert_eq!(place.remove(&other, &listed).await.status, 204);
    sees(&other, &[]).await;
    assert_eq!(place.add(&other, &feed.url).await.status, 201);
    sees(&other, &["last"]).await;
    sees(&one, &["early", "stays", "later", "last"]).await;
}

async fn no_answer_tells_whether_somebody_else_has_a_feed(database: TestDatabase) {
    let place = Place::start(database, &[LOOPBACK]).await;
    let (one, other) = (
        place.somebody("one@news.example").await,
        place.somebody("other@news.example").await,
    );
    // It has just been asked for one, and is asked for the other all the same.
    let feed = Changing::start(&["a"]).await;
    for (asked, bearer) in [(1, &one), (2, &other)] {
        assert_eq!(place.add(bearer, &feed.url).await.status, 201);
        assert_eq!(feed.asked(), asked);
    }
    // It has failed for one so often that it is left alone, which is nothing to the other.
    let (known, unknown) = (place.url("/feeds/rss.xml"), place.url("/feeds/atom.xml"));
    assert_eq!(place.add(&one, &known).await.status, 201);
    place.simulation.behave(Behaviour {
        fail: [Upstream::Feeds].into(),
        ..Behaviour::default()
    });
    for hours in 1..8 {
        let later = chrono::Utc::now() + chrono::TimeDelta::hours(hours);
        let round = place.origin.ingest.tick_added(later).await;
        assert_ne!(round.expect("a round").failed, 0);
    }
    let mut told = Vec::new();
    for url in [known, unknown] {
        let refused = place.add(&other, &url).await;
        told.push((refused.status, refused.json()["detail"].clone()));
        assert!(String::from_utf8_lossy(&refused.body).contains("answers with an error"));
    }
    assert_eq!(told[0], told[1]);
}
