//! Pages: every article once, in order, while others come in.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::get;
use crate::support::news::{Act, Script, article, noon, titles};
use crate::support::origin::TestOrigin;
use chrono::TimeDelta;
use larder_origin::article::{Category, NewArticle};
use larder_origin::articles::Answer;

on_both_databases!(
    pages_hold_every_article_once_in_order_while_newer_ones_are_added,
    articles_of_the_same_moment_are_not_lost_between_pages,
    a_page_that_ends_exactly_at_the_last_article_has_no_next,
);

async fn origin(database: TestDatabase, batch: Vec<NewArticle>) -> TestOrigin {
    TestOrigin::with(database, &[Script::new("a", Act::Give(batch))], &[]).await
}

async fn read_all(
    origin: &TestOrigin,
    target: &str,
    mut between: impl AsyncFnMut(usize),
) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for turn in 0..100 {
        let reply = get(origin.address, &format!("{target}{cursor}")).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        let page = reply.json();
        found.extend(titles(&page));
        let Some(next) = page["next"].as_str() else {
            return found;
        };
        cursor = format!("&cursor={next}");
        between(turn).await;
    }
    panic!("pages without end");
}

async fn pages_hold_every_article_once_in_order_while_newer_ones_are_added(database: TestDatabase) {
    let science = |path: String, seconds| NewArticle {
        categories: vec![Category::Science],
        ..article(&path, seconds)
    };
    let batch: Vec<NewArticle> = (0..25)
        .map(|n| science(format!("old/{n:02}"), -n))
        .collect();
    let expected: Vec<String> = batch.iter().map(|article| article.title.clone()).collect();
    let origin = origin(database, batch).await;
    let found = read_all(
        &origin,
        "/articles?category=science&limit=4",
        async |turn| {
            let newer = [science(
                format!("new/{turn}"),
                1000 + i64::try_from(turn).expect("small"),
            )];
            let answer = Answer {
                source: "a",
                category: Some(Category::Science),
                by_category: true,
                outcome: "ok",
                articles: &newer,
                asked_at: chrono::Utc::now(),
                stored_at: chrono::Utc::now(),
                ask_again_at: chrono::Utc::now(),
            };
            origin.articles.store(&answer).await.expect("stored");
        },
    )
    .await;
    assert_eq!(found, expected);
    assert!(
        get(origin.address, "/articles?category=science")
            .await
            .json()["total"]
            .as_i64()
            > Some(25)
    );
}

async fn articles_of_the_same_moment_are_not_lost_between_pages(database: TestDatabase) {
    // Whole seconds, milliseconds and microseconds side by side: as text they have different lengths.
    let offsets = [
        0, 0, 0, 1, 500_000, 500_000, 500_001, 999_999, 1_000_000, 1_000_000,
    ];
    let batch = offsets.iter().enumerate().map(|(n, micros)| NewArticle {
        published_at: noon() + TimeDelta::microseconds(*micros),
        ..article(&n.to_string(), 0)
    });
    let origin = origin(database, batch.collect()).await;
    for limit in 1..=4 {
        let mut found = read_all(&origin, &format!("/articles?limit={limit}"), async |_| {}).await;
        assert_eq!(found.len(), offsets.len(), "limit {limit}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), offsets.len(), "limit {limit}");
    }
    let page = get(origin.address, "/articles").await.json();
    let times: Vec<chrono::DateTime<chrono::Utc>> = page["articles"]
        .as_array()
        .expect("articles")
        .iter()
        .map(|article| {
            article["published_at"]
                .as_str()
                .expect("a time")
                .parse()
                .expect("RFC 3339")
        })
        .collect();
    assert!(times.is_sorted_by(|one, other| one >= other), "{times:?}");
}

async fn a_page_that_ends_exactly_at_the_last_article_has_no_next(database: TestDatabase) {
    let origin = origin(
        database,
        (0..4).map(|n| article(&n.to_string(), n)).collect(),
    )
    .await;
    for (limit, follows) in [(3, true), (4, false), (5, false)] {
        let page = get(origin.address, &format!("/articles?limit={limit}"))
            .await
            .json();
        assert_eq!(page["next"].is_string(), follows, "limit {limit}");
        assert_eq!(page["total"], 4);
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_question() {
    let origin = TestOrigin::start(&[Script::new(
        "a",
        Act::Give((0..4).map(|n| article(&n.to_string(), n)).collect()),
    )])
    .await;
    let page = get(origin.address, "/articles?limit=1").await.json();
    let next = page["next"].as_str().expect("a cursor").to_owned();
    assert_eq!(
        get(origin.address, &format!("/articles?limit=3&cursor={next}"))
            .await
            .status,
        200
    );
    for target in [
        format!("/articles?category=general&cursor={next}"),
        format!("/articles?source=a&cursor={next}"),
    ] {
        let reply = get(origin.address, &target).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (400, "invalid_parameter")
        );
        assert_eq!(reply.json()["parameters"][0]["name"], "cursor");
    }
}
