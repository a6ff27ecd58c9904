//! Articles that tell the same story: linked over sources, shown once, never lost. On PostgreSQL and on SQLite.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::get;
use crate::support::news::{Act, Script, article, noon};
use crate::support::origin::TestOrigin;
use chrono::TimeDelta;
use larder_origin::article::{CanonicalUrl, Category, NewArticle};
use larder_origin::articles::{Answer, Article, Articles, Filters, PageQuery, Selection};
use larder_origin::search::{Order, Question, Search, Terms};
use std::collections::BTreeMap;

on_both_databases!(
    the_same_address_at_two_sources_is_one_story,
    alike_headlines_of_two_sources_are_one_story,
    one_publisher_under_two_addresses_is_one_story,
    other_stories_stay_apart,
    the_earliest_is_shown_whichever_came_first,
    three_sources_make_one_group_without_chains,
    a_headline_that_changes_leaves_its_group,
    when_the_shown_one_tells_another_story_the_others_make_a_group_without_it,
    what_changes_without_telling_another_story_stays_in_its_group,
    when_the_shown_one_is_deleted_the_next_takes_its_place,
    batches_at_the_same_time_make_one_group,
    a_list_shows_a_story_once_and_tells_where_else_it_stands,
    a_batch_of_one_headline_is_linked_at_once,
    a_story_whose_first_article_is_not_in_the_answer_is_shown_once,
    what_one_reader_adds_hides_and_joins_nothing,
    whoever_stands_in_for_a_story_tells_where_else_it_stands,
    all_of_a_story_are_marked_as_changed_when_one_of_them_is,
);

const HEADLINE: &str = "Harbour plan to be drawn up for the northern district";

fn titled(path: &str, hours: i64, title: &str) -> NewArticle {
    NewArticle {
        title: title.to_owned(),
        ..article(path, hours * 3600)
    }
}

async fn store(articles: &Articles, source: &str, batch: &[NewArticle]) {
    let answer = Answer {
        source,
        category: None,
        outcome: "ok",
        by_category: true,
        articles: batch,
        asked_at: noon(),
        stored_at: noon(),
        ask_again_at: noon() + TimeDelta::minutes(5),
    };
    articles.store(&answer).await.expect("stored");
}

/// All articles of these sources by source and title.
async fn all(articles: &Articles, sources: &[&str]) -> Vec<Article> {
    let query = PageQuery {
        filters: Filters {
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            duplicates: true,
            ..Filters::default()
        },
        after: None,
        limit: 100,
    };
    articles.page(&query).await.expect("a page").articles
}

/// Which source's article stands for the one of each source; its own where it is shown.
async fn shown(articles: &Articles, sources: &[&str]) -> BTreeMap<String, String> {
    let all = all(articles, sources).await;
    let source_of = |id: i64| {
        all.iter()
            .find(|article| article.id == id)
            .map(|article| article.source.clone())
            .expect("a stored article")
    };
    all.iter()
        .map(|article| {
            let shown = article.duplicate_of.unwrap_or(article.id);
            (article.source.clone(), source_of(shown))
        })
        .collect()
}

fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(source, shown)| ((*source).to_owned(), (*shown).to_owned()))
        .collect()
}

async fn the_same_address_at_two_sources_is_one_story(database: TestDatabase) {
    let articles = database.articles().await;
    let mut shared = titled("shared", 0, "One headline");
    store(&articles, "a", std::slice::from_ref(&shared)).await;
    shared.title = "Altogether other words".to_owned();
    shared.url = "https://news.example/shared?utm_source=x".to_owned();
    shared.canonical_url = CanonicalUrl::parse(&shared.url, None).expect("a URL");
    shared.published_at += TimeDelta::days(30);
    store(&articles, "b", &[shared]).await;
    assert_eq!(
        shown(&articles, &["a", "b"]).await,
        of(&[("a", "a"), ("b", "a")])
    );
}

async fn alike_headlines_of_two_sources_are_one_story(database: TestDatabase) {
    let rows = [
        (
            HEADLINE,
            "Harbour plan to be drawn up for northern district - The Example",
        ),
        (
            "PHOTOS: How nine families cope when they can't afford three meals a day",
            "How nine families cope when they can’t afford three meals a day",
        ),
        (
            "Quake of magnitude 7.1 hits southern islands, tsunami warning issued",
            "Tsunami warning issued: quake of magnitude 7.1 hits southern islands",
        ),
    ];
    let articles = database.articles().await;
    for (n, (one, other)) in rows.iter().enumerate() {
        let (a, b) = (format!("a{n}"), format!("b{n}"));
        store(&articles, &a, &[titled(&format!("{n}/one"), 0, one)]).await;
        store(&articles, &b, &[titled(&format!("{n}/other"), 40, other)]).await;
        let shown = shown(&articles, &[&a, &b]).await;
        assert_eq!(shown, of(&[(&a, &a), (&b, &a)]), "{one} / {other}");
    }
}

async fn what_one_reader_adds_hides_and_joins_nothing(database: TestDatabase) {
    let articles = database.articles().await;
    let own = "user-feed:0123456789abcdef0123456789abcdef";
    let older = titled("older", 0, "A first story that stands by itself for all");
    let newer = titled("newer", 2, HEADLINE);
    // The link of the one and the title of the other, before both and after both.
    let bait = NewArticle {
        title: HEADLINE.to_owned(),
        ..older.clone()
    };
    let early_bait = titled("early-bait", -1, HEADLINE);
    let everybody = [("a", "a"), ("b", "b")];
    for round in 0..2 {
        let baits = [bait.clone(), early_bait.clone()];
        store(&articles, own, &baits).await;
        store(&articles, "a", std::slice::from_ref(&older)).await;
        store(&articles, "b", std::slice::from_ref(&newer)).await;
        store(
            &articles,
            own,
            &[NewArticle {
                author: Some("x".to_owned()),
                ..bait.clone()
            }],
        )
        .await;
        assert_eq!(
            shown(&articles, &["a", "b"]).await,
            of(&everybody),
            "{round}"
        );
        let own = [
            "SELECT count(*) FROM articles WHERE source LIKE 'user-feed:%'",
            "SELECT count(duplicate_of) FROM articles WHERE source LIKE 'user-feed:%'",
        ];
        assert_eq!(database.count(own[0]).await, 2);
        assert_eq!(database.count(own[1]).await, 0);
        // And once more with everybody's articles there first, and changed.
        let changed = NewArticle {
            author: Some("y".to_owned()),
            ..newer.clone()
        };
        store(&articles, "b", &[changed]).await;
    }
    assert_eq!(shown(&articles, &["a", "b"]).await, of(&everybody));
}

/// As aggregators give them: one outlet's story twice in one answer, under two addresses, at the same time.
async fn one_publisher_under_two_addresses_is_one_story(database: TestDatabase) {
    let articles = database.articles().await;
    let batch = [
        titled("news/harbour-plan.ece", 0, HEADLINE),
        titled("news/national/harbour-plan.ece", 0, HEADLINE),
        // The column of the next day has the same name.
        titled("columns/1", 0, "What to know before the markets open"),
        titled("columns/2", 24, "What to know before the markets open"),
    ];
    store(&articles, "a", &batch).await;
    let all = all(&articles, &["a"]).await;
    let hidden: Vec<&str> = all
        .iter()
        .filter(|article| article.duplicate_of.is_some())
        .map(|article| article.title.as_str())
        .collect();
    assert_eq!(hidden, [HEADLINE]);
}

async fn other_stories_stay_apart(database: TestDatabase) {
    let rows = [
        (
            "Trump says deal is close after night of talks",
            "Biden says deal is close after night of talks",
            0,
        ),
        (
            "Trump says he will meet the Chinese president next week in South Korea for talks on trade and tariffs",
            "Biden says he will meet the Chinese president next week in South Korea for talks on trade and tariffs",
            0,
        ),
        (
            "Bitcoin falls below one hundred thousand dollars as traders wait",
            "Bitcoin rises above one hundred thousand dollars as traders wait",
            0,
        ),
        ("Morning briefing today", "Morning briefing today", 0),
        // Alike, but a week apart.
        (HEADLINE, HEADLINE, 24 * 7),
    ];
    let articles = database.articles().await;
    for (n, (one, other, hours)) in rows.iter().enumerate() {
        let (a, b) = (format!("a{n}"), format!("b{n}"));
        store(&articles, &a, &[titled(&format!("{n}/one"), 0, one)]).await;
        store(
            &articles,
            &b,
            &[titled(&format!("{n}/other"), *hours, other)],
        )
        .await;
        let shown = shown(&articles, &[&a, &b]).await;
        assert_eq!(shown, of(&[(&a, &a), (&b, &b)]), "{one} / {other}");
    }
}

async fn the_earliest_is_shown_whichever_came_first(database: TestDatabase) {
    let articles = database.articles().await;
    store(&articles, "later", &[titled("l", 10, HEADLINE)]).await;
    store(&articles, "earlier", &[titled("e", 0, HEADLINE)]).await;
    let expected = of(&[("later", "earlier"), ("earlier", "earlier")]);
    assert_eq!(shown(&articles, &["later", "earlier"]).await, expected);
}

async fn three_sources_make_one_group_without_chains(database: TestDatabase) {
    let articles = database.articles().await;
    for (source, hours) in [("c", 20), ("b", 10), ("a", 0), ("d", 30)] {
        store(&articles, source, &[titled(source, hours, HEADLINE)]).await;
    }
    let expected = of(&[("a", "a"), ("b", "a"), ("c", "a"), ("d", "a")]);
    let sources = ["a", "b", "c", "d"];
    assert_eq!(shown(&articles, &sources).await, expected);
    let all = all(&articles, &sources).await;
    let first = all.iter().find(|article| article.source == "a").expect("a");
    let also: Vec<&str> = first
        .also_at
        .iter()
        .map(|other| other.source.as_str())
        .collect();
    assert_eq!(also, ["b", "c", "d"]);
}

async fn a_headline_that_changes_leaves_its_group(database: TestDatabase) {
    let articles = database.articles().await;
    store(&articles, "a", &[titled("a", 0, HEADLINE)]).await;
    store(&articles, "b", &[titled("b", 1, HEADLINE)]).await;
    store(
        &articles,
        "b",
        &[titled(
            "b",
            1,
            "Harbour plan shelved after the storm of last night",
        )],
    )
    .await;
    assert_eq!(
        shown(&articles, &["a", "b"]).await,
        of(&[("a", "a"), ("b", "b")])
    );
    store(&articles, "b", &[titled("b", 1, HEADLINE)]).await;
    assert_eq!(
        shown(&articles, &["a", "b"]).await,
        of(&[("a", "a"), ("b", "a")])
    );
}

async fn when_the_shown_one_tells_another_story_the_others_make_a_group_without_it(
    database: TestDatabase,
) {
    let articles = database.articles().await;
    let sources = ["a", "b", "c"];
    for (hours, source) in [0, 1, 2].into_iter().zip(sources) {
        store(&articles, source, &[titled(source, hours, HEADLINE)]).await;
    }
    let other = "Ferry line to the islands closes after a hundred years";
    store(&articles, "a", &[titled("a", 0, other)]).await;
    let expected = of(&[("a", "a"), ("b", "b"), ("c", "b")]);
    assert_eq!(shown(&articles, &sources).await, expected);
    store(&articles, "a", &[titled("a", 0, HEADLINE)]).await;
    let expected = of(&[("a", "a"), ("b", "a"), ("c", "a")]);
    assert_eq!(shown(&articles, &sources).await, expected);
    // Of the same words, but of another week.
    store(&articles, "a", &[titled("a", -24 * 7, HEADLINE)]).await;
    let expected = of(&[("a", "a"), ("b", "b"), ("c", "b")]);
    assert_eq!(shown(&articles, &sources).await, expected);
}

/// What was once found is not looked for again without need: it might be found otherwise.
async fn what_changes_without_telling_another_story_stays_in_its_group(database: TestDatabase) {
    let articles = database.articles().await;
    for (hours, source) in [0, 1].into_iter().zip(["a", "b"]) {
        store(&articles, source, &[titled(source, hours, HEADLINE)]).await;
    }
    database
        .execute(
            "UPDATE articles SET headline = 'something else that is not alike' WHERE source = 'a'",
        )
        .await;
    let changed = NewArticle {
        description: Some("Another description".to_owned()),
        ..titled("b", 1, HEADLINE)
    };
    store(&articles, "b", &[changed]).await;
    let expected = of(&[("a", "a"), ("b", "a")]);
    assert_eq!(shown(&articles, &["a", "b"]).await, expected);
}

async fn when_the_shown_one_is_deleted_the_next_takes_its_place(database: TestDatabase) {
    let articles = database.articles().await;
    let sources = ["a", "b", "c", "d"];
    for (hours, source) in [0, 1, 2, 3].into_iter().zip(sources) {
        store(&articles, source, &[titled(source, hours, HEADLINE)]).await;
    }
    database
        .execute("DELETE FROM articles WHERE source = 'a'")
        .await;
    let expected = of(&[("b", "b"), ("c", "b"), ("d", "b")]);
    assert_eq!(shown(&articles, &sources).await, expected);
    // Both at once.
    database
        .execute("DELETE FROM articles WHERE source IN ('b', 'c')")
        .await;
    assert_eq!(shown(&articles, &sources).await, of(&[("d", "d")]));
}

async fn batches_at_the_same_time_make_one_group(database: TestDatabase) {
    let articles = database.articles().await;
    let sources: Vec<String> = (0..8).map(|n| format!("s{n}")).collect();
    let stores = sources.iter().zip(0..).map(|(source, n)| {
        let articles = &articles;
        async move {
            let batch = [
                titled(&format!("{source}/x"), n, HEADLINE),
                titled("everywhere", n, "Some other words that all have in common"),
            ];
            store(articles, source, &batch).await;
        }
    });
    futures_util::future::join_all(stores).await;
    let names: Vec<&str> = sources.iter().map(String::as_str).collect();
    let all = all(&articles, &names).await;
    let shown: Vec<&Article> = all
        .iter()
        .filter(|article| article.duplicate_of.is_none())
        .collect();
    assert_eq!((all.len(), shown.len()), (16, 2));
    assert!(
        shown.iter().all(|article| article.source == "s0"),
        "{shown:?}"
    );
}

async fn a_list_shows_a_story_once_and_tells_where_else_it_stands(database: TestDatabase) {
    let sources = [
        Script::new(
            "a",
            Act::Give(vec![titled("a", 0, HEADLINE), titled("x", 1, "Only here")]),
        ),
        Script::new("b", Act::Give(vec![titled("b", 2, HEADLINE)])),
    ];
    let origin = TestOrigin::with(database, &sources, &[]).await;
    for (target, total) in [
        ("/articles", 2),
        ("/articles?category=general", 2),
        ("/articles?source=b", 1),
        ("/articles?source=a", 2),
    ] {
        let page = get(origin.address, target).await.json();
        assert_eq!(page["total"], total, "{target}");
        assert_eq!(
            page["articles"].as_array().map(Vec::len),
            Some(total),
            "{target}"
        );
    }
    let page = get(origin.address, "/articles").await.json();
    let article = page["articles"]
        .as_array()
        .and_then(|articles| articles.iter().find(|article| article["title"] == HEADLINE))
        .expect("the story");
    assert_eq!(article["source"], "a");
    assert_eq!(article["also_at"][0]["source"], "b");
    assert_eq!(article["also_at"][0]["url"], "https://news.example/b");
    let hidden = article["also_at"][0]["id"].as_i64().expect("an id");
    let hidden = get(origin.address, &format!("/articles/{hidden}"))
        .await
        .json();
    assert_eq!(hidden["duplicate_of"], article["id"]);
}

async fn a_batch_of_one_headline_is_linked_at_once(database: TestDatabase) {
    let articles = database.articles().await;
    let batch: Vec<NewArticle> = (0..100)
        .map(|n| NewArticle {
            outlet: Some(format!("Outlet {n}")),
            ..titled(&format!("n/{n}"), n % 24, HEADLINE)
        })
        .collect();
    store(&articles, "a", &batch).await;
    let all = all(&articles, &["a"]).await;
    let shown = all.iter().filter(|article| article.duplicate_of.is_none());
    assert_eq!((all.len(), shown.count()), (100, 1));
}

/// `a` and `b` both point at `gone`, which no answer is asked for.
async fn a_story_whose_first_article_is_not_in_the_answer_is_shown_once(database: TestDatabase) {
    let database = database.migrated().await;
    let (articles, search) = (Articles::new(&database), Search::new(&database));
    for (source, hours) in [("gone", 0), ("b", 2), ("a", 1)] {
        store(&articles, source, &[titled(source, hours, HEADLINE)]).await;
    }
    let sources: Vec<String> = ["a", "b"].map(str::to_owned).into();
    for category in [None, Some(Category::General)] {
        let query = PageQuery {
            filters: Filters {
                sources: sources.clone(),
                category,
                ..Filters::default()
            },
            after: None,
            limit: 100,
        };
        let page = articles.page(&query).await.expect("a page");
        assert_eq!(sources_of(&page.articles), ["a"], "{category:?}");
        assert_eq!(page.total, 1, "{category:?}");
    }
    for categories in [&[][..], &[Category::General]] {
        let selection = Selection {
            sources: &sources,
            reader: None,
            categories,
            after: None,
            limit: 100,
        };
        let selected = articles.selected(&selection).await.expect("a selection");
        assert_eq!(sources_of(&selected), ["a"], "{categories:?}");
    }
    let question = Question {
        terms: Terms::parse("harbour"),
        filters: Filters {
            sources,
            category: None,
            language: None,
            sentiment: None,
            since: None,
            until: None,
            duplicates: false,
        },
        order: Order::Newest,
        place: None,
        is_corrected: false,
        limit: 10,
    };
    let found = search.find(&question).await.expect("an answer");
    let found: Vec<Article> = found.hits.into_iter().map(|hit| hit.article).collect();
    assert_eq!(sources_of(&found), ["a"]);
}

fn sources_of(articles: &[Article]) -> Vec<&str> {
    articles
        .iter()
        .map(|article| article.source.as_str())
        .collect()
}

/// By source: the sources of where else the story stands, and whether that was changed since.
async fn told(articles: &Articles, since: i64) -> BTreeMap<String, (Vec<String>, bool)> {
    let all = all(articles, &["a", "b", "c", "d"]).await.into_iter();
    all.map(|article| {
        let others = article.also_at.iter().map(|other| other.source.clone());
        let is_changed = article.updated_at >= noon() + TimeDelta::seconds(since);
        (article.source.clone(), (others.collect(), is_changed))
    })
    .collect()
}

async fn whoever_stands_in_for_a_story_tells_where_else_it_stands(database: TestDatabase) {
    let own = NewArticle {
        categories: vec![Category::World],
        ..titled("first", 0, HEADLINE)
    };
    let copy = |source: &str, hours| NewArticle {
        categories: vec![Category::Sports],
        ..titled(source, hours, HEADLINE)
    };
    let sources = [
        Script::without_categories("a", Act::Give(vec![own])),
        Script::without_categories("b", Act::Give(vec![copy("b", 1)])),
        Script::without_categories("c", Act::Give(vec![copy("c", 2)])),
    ];
    let origin = TestOrigin::with(database, &sources, &[]).await;
    for (target, shown, others) in [
        ("/articles", "a", ["b", "c"]),
        ("/articles?category=sports", "b", ["a", "c"]),
        ("/articles?source=c", "c", ["a", "b"]),
        ("/search?q=harbour&category=sports", "b", ["a", "c"]),
        ("/articles?category=world", "a", ["b", "c"]),
    ] {
        let page = get(origin.address, target).await.json();
        let list = page["articles"].as_array().expect("articles");
        assert_eq!(list.len(), 1, "{target}: {page}");
        assert_eq!(list[0]["source"], shown, "{target}");
        let also: Vec<&str> = list[0]["also_at"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|other| other["source"].as_str())
            .collect();
        assert_eq!(also, others, "{target}");
        let alone = get(origin.address, &format!("/articles/{}", list[0]["id"])).await;
        assert_eq!(alone.json()["also_at"], list[0]["also_at"], "{target}");
    }
}

async fn all_of_a_story_are_marked_as_changed_when_one_of_them_is(database: TestDatabase) {
    let articles = database.articles().await;
    let at = async |source: &str, seconds: i64, article: NewArticle| {
        let now = noon() + TimeDelta::seconds(seconds);
        let answer = Answer {
            source,
            category: None,
            outcome: "ok",
            by_category: true,
            articles: &[article],
            asked_at: now,
            stored_at: now,
            ask_again_at: now,
        };
        articles.store(&answer).await.expect("stored");
    };
    for (hours, source) in [0, 1, 2].into_iter().zip(["a", "b", "c"]) {
        at(source, 0, titled(source, hours, HEADLINE)).await;
    }
    let expected = |told: [(&str, &[&str], bool); 4]| {
        let others = |others: &[&str]| others.iter().map(|other| (*other).to_owned()).collect();
        told.into_iter()
            .map(|(source, also, is_changed)| (source.to_owned(), (others(also), is_changed)))
            .collect::<BTreeMap<String, (Vec<String>, bool)>>()
    };
    at("d", 1, titled("d", 3, HEADLINE)).await;
    let all = expected([
        ("a", &["b", "c", "d"], true),
        ("b", &["a", "c", "d"], true),
        ("c", &["a", "b", "d"], true),
        ("d", &["a", "b", "c"], true),
    ]);
    assert_eq!(told(&articles, 1).await, all, "one joins");
    // Under another address, which the others show.
    let mut moved = titled("d", 3, HEADLINE);
    moved.url = "https://news.example/d?utm_source=x".to_owned();
    at("d", 2, moved).await;
    assert_eq!(told(&articles, 2).await, all, "one stands elsewhere");
    at(
        "d",
        3,
        titled(
            "d",
            3,
            "Ferry line to the islands closes after a hundred years",
        ),
    )
    .await;
    let without = expected([
        ("a", &["b", "c"], true),
        ("b", &["a", "c"], true),
        ("c", &["a", "b"], true),
        ("d", &[], true),
    ]);
    assert_eq!(told(&articles, 3).await, without, "one leaves");
    let mut alone = titled(
        "d",
        3,
        "Ferry line to the islands closes after a hundred years",
    );
    alone.description = Some("Another description".to_owned());
    at("d", 4, alone).await;
    let mut last = without.clone();
    for (source, (_, is_changed)) in &mut last {
        *is_changed = source == "d";
    }
    assert_eq!(
        told(&articles, 4).await,
        last,
        "one that is another story changes"
    );
}
