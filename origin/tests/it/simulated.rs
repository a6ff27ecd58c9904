//! The whole program over simulated providers: every kind of source at once, some of them in trouble.

use crate::support::http::{Reply, get};
use crate::support::process::Process;
use crate::support::until;
use larder_origin::sim::{Behaviour, Simulation, Upstream};
use std::collections::{BTreeMap, BTreeSet};

async fn start(behaviour: Behaviour) -> (Simulation, Process) {
    let simulation = Simulation::start(([127, 0, 0, 1], 0).into(), behaviour)
        .await
        .expect("a simulation");
    let base = simulation.url("/").to_string();
    let feeds = format!(
        "{} {}",
        simulation.url("/feeds/rss.xml"),
        simulation.url("/feeds/feed.json")
    );
    let process = Process::start(&[
        ("NEWSAPI_KEY", "any-key"),
        ("GUARDIAN_API_KEY", "any-key"),
        ("HACKERNEWS", "on"),
        ("FEED_URLS", &feeds),
        ("NEWSAPI_URL", &base),
        ("GUARDIAN_URL", &base),
        ("HACKERNEWS_URL", &base),
        ("ORIGIN_SOURCE_TIMEOUT", "1s"),
    ]);
    until("it is ready", || async {
        get(process.address, "/health/ready").await.status == 200
    })
    .await;
    (simulation, process)
}

/// Kind of source to state and code; all feeds stand under "feed".
fn states(reply: &Reply) -> BTreeMap<String, String> {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let body = reply.json();
    let sources = body["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .map(|source| {
            let name = source["name"]
                .as_str()
                .expect("a name")
                .split(':')
                .next()
                .unwrap_or_default()
                .to_owned();
            let code = source["code"]
                .as_str()
                .map(|code| format!(" {code}"))
                .unwrap_or_default();
            (
                name,
                format!("{}{code}", source["state"].as_str().expect("a state")),
            )
        });
    sources.collect()
}

fn expected(states: [(&str, &str); 4]) -> BTreeMap<String, String> {
    states
        .map(|(name, state)| (name.to_owned(), state.to_owned()))
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_source_gives_articles_in_one_shape() {
    let (_simulation, process) = start(Behaviour::default()).await;
    let reply = get(process.address, "/articles?limit=100").await;
    assert_eq!(
        states(&reply),
        expected([
            ("feed", "ok"),
            ("guardian", "ok"),
            ("hackernews", "ok"),
            ("newsapi", "ok")
        ])
    );
    let body = reply.json();
    let articles = body["articles"].as_array().expect("articles");
    let kinds: BTreeSet<&str> = articles
        .iter()
        .filter_map(|article| article["source"].as_str()?.split(':').next())
        .collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["feed", "guardian", "hackernews", "newsapi"]
    );
    assert_eq!(body["partial"], false);
    for article in articles {
        assert!(
            article["title"]
                .as_str()
                .is_some_and(|title| !title.is_empty()),
            "{article}"
        );
        assert!(
            article["categories"]
                .as_array()
                .is_some_and(|categories| !categories.is_empty()),
            "{article}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn providers_in_trouble_make_a_partial_answer_and_are_back_when_they_are_well() {
    let behaviour = Behaviour {
        hang: [Upstream::Newsapi].into(),
        fail: [Upstream::Guardian].into(),
        limit: [Upstream::Feeds].into(),
        retry_after_secs: Some(6),
        ..Behaviour::default()
    };
    let (simulation, process) = start(behaviour).await;
    let troubled = get(process.address, "/articles").await;
    let trouble = expected([
        ("feed", "error rate_limited"),
        ("guardian", "error bad_status"),
        ("hackernews", "ok"),
        ("newsapi", "error timeout"),
    ]);
    assert_eq!(states(&troubled), trouble);
    let body = troubled.json();
    assert_eq!(body["partial"], true);
    assert!(
        body["total"].as_i64() > Some(0),
        "what the others gave is shown"
    );

    let asked = simulation.counts()["/feeds/rss.xml"];
    simulation.behave(Behaviour::default());
    let live = async |source: &str| {
        let path = format!("/articles?live=true&source={source}");
        let reply = get(process.address, &path).await;
        states(&reply).into_values().next().unwrap_or_default()
    };
    for source in ["newsapi", "guardian"] {
        assert_eq!(live(source).await, "ok", "{source}");
    }
    let feed = simulation.url("/feeds/rss.xml").to_string();
    let feed = feed.replace("http://", "feed:");
    assert_eq!(live(&feed).await, "error rate_limited");
    assert_eq!(
        simulation.counts()["/feeds/rss.xml"],
        asked,
        "it asked for patience"
    );
    until("the feed's patience is over", || async {
        live(&feed).await == "ok"
    })
    .await;
    let well = get(process.address, "/articles").await;
    assert!(well.json()["total"].as_i64() > body["total"].as_i64());
}
