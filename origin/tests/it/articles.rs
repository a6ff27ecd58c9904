//! What any database under the origin must do: the same on PostgreSQL and on SQLite.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::news::{article, noon};
use crate::support::until;
use chrono::TimeDelta;
use larder_origin::article::{Category, NewArticle};
use larder_origin::articles::{Answer, Article, Articles, Filters, Page, PageQuery, TOTAL_MAX};
use larder_origin::database::DatabaseError;

on_both_databases!(
    a_stored_article_comes_back_as_it_was,
    text_that_one_database_refuses_is_made_to_fit_both,
    very_long_addresses_and_texts_are_kept,
    the_same_address_twice_in_a_batch_is_one_article_with_all_categories,
    categories_are_merged_over_batches,
    the_same_address_from_two_sources_stays_two_articles,
    what_has_not_changed_is_not_written_again,
    a_text_that_is_left_out_takes_nothing_away,
    an_estimated_time_never_replaces_a_stored_one,
    a_page_holds_only_what_was_asked_for,
    articles_are_counted_as_far_as_anybody_needs,
    a_changed_time_moves_an_article_in_every_category,
    an_unknown_identifier_finds_nothing,
    what_was_asked_is_remembered,
    whatever_changes_what_is_shown_of_an_article_changes_its_time,
    a_clock_that_went_back_makes_nothing_older,
    a_batch_is_stored_whole_or_not_at_all,
    overlapping_batches_at_the_same_time_all_arrive,
    many_who_migrate_at_once_take_turns,
    a_failed_migration_keeps_nobody_waiting,
    nothing_is_ready_before_the_migrations,
);

async fn store(
    articles: &Articles,
    source: &str,
    batch: &[NewArticle],
) -> Result<u64, DatabaseError> {
    store_at(articles, source, batch, 0).await
}

/// So many seconds after noon.
async fn store_at(
    articles: &Articles,
    source: &str,
    batch: &[NewArticle],
    seconds: i64,
) -> Result<u64, DatabaseError> {
    let now = noon() + TimeDelta::seconds(seconds);
    let answer = Answer {
        source,
        category: None,
        outcome: "ok",
        by_category: true,
        articles: batch,
        asked_at: now,
        stored_at: now,
        ask_again_at: now + TimeDelta::minutes(5),
    };
    articles.store(&answer).await
}

async fn page_of(articles: &Articles, sources: &[&str], category: Option<Category>) -> Page {
    let sources = sources.iter().map(|source| (*source).to_owned()).collect();
    articles
        .page(&PageQuery {
            filters: Filters {
                sources,
                category,
                duplicates: true,
                ..Filters::default()
            },
            after: None,
            limit: 100,
        })
        .await
        .expect("a page")
}

async fn all(articles: &Articles, source: &str) -> Vec<Article> {
    page_of(articles, &[source], None).await.articles
}

async fn a_stored_article_comes_back_as_it_was(database: TestDatabase) {
    let articles = database.articles().await;
    let mut given = article("fields", 0);
    given.title = "Tïtle “with” 新闻 🗞 and 'quotes' \\ \" ; --".to_owned();
    given.external_id = Some("id-1".to_owned());
    given.content = Some("line\nline".to_owned());
    given.author = Some(String::new());
    given.image_url = Some("https://news.example/i.png".to_owned());
    given.published_at = noon() + TimeDelta::nanoseconds(123_456_789);
    given.categories = vec![Category::Science, Category::World];
    assert_eq!(
        store(&articles, "a", std::slice::from_ref(&given))
            .await
            .expect("stored"),
        1
    );

    let found = all(&articles, "a").await.remove(0);
    let expected = Article {
        id: found.id,
        source: "a".to_owned(),
        outlet: given.outlet,
        external_id: given.external_id,
        title: given.title,
        description: given.description,
        content: given.content,
        author: given.author,
        url: given.url,
        image_url: given.image_url,
        published_at: noon() + TimeDelta::microseconds(123_456),
        published_at_estimated: false,
        categories: given.categories,
        updated_at: noon(),
        language: given.language,
        sentiment: found.sentiment.clone(),
        duplicate_of: None,
        also_at: Vec::new(),
    };
    assert_eq!(found, expected);
    assert_eq!(
        articles.by_id(found.id).await.expect("a look-up"),
        Some(expected)
    );
}

async fn text_that_one_database_refuses_is_made_to_fit_both(database: TestDatabase) {
    let articles = database.articles().await;
    let mut given = article("nul", 0);
    given.title = "be\0fore".to_owned();
    given.published_at = chrono::DateTime::<chrono::Utc>::MIN_UTC;
    store(&articles, "a", &[given]).await.expect("stored");
    let found = all(&articles, "a").await;
    assert_eq!(found[0].title, "before");
    assert_eq!(
        found[0].published_at.to_rfc3339(),
        "0001-01-01T00:00:00+00:00"
    );
}

async fn very_long_addresses_and_texts_are_kept(database: TestDatabase) {
    let articles = database.articles().await;
    let mut given = article(&"p/".repeat(900), 0);
    // Incompressible enough that no database hides its limits behind compression.
    let words: String = (0..300_000_u64)
        .map(|n| format!("{:x} ", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    given.content = Some(words.clone());
    store(&articles, "a", &[given.clone()])
        .await
        .expect("stored");
    let found = all(&articles, "a").await;
    assert_eq!(found[0].url, given.url);
    assert_eq!(found[0].content.as_deref(), Some(words.as_str()));
}

async fn the_same_address_twice_in_a_batch_is_one_article_with_all_categories(
    database: TestDatabase,
) {
    let articles = database.articles().await;
    let (mut first, mut second) = (article("same", 0), article("same", 60));
    first.categories = vec![Category::Business];
    second.categories = vec![Category::Technology];
    second.title = "The later sighting".to_owned();
    store(&articles, "a", &[first, article("other", 5), second])
        .await
        .expect("stored");
    let found = all(&articles, "a").await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].title, "The later sighting");
    assert_eq!(
        found[0].categories,
        [Category::Business, Category::Technology]
    );
}

async fn categories_are_merged_over_batches(database: TestDatabase) {
    let articles = database.articles().await;
    for category in [Category::World, Category::Health, Category::World] {
        let given = NewArticle {
            categories: vec![category],
            ..article("merged", 0)
        };
        store(&articles, "a", &[given]).await.expect("stored");
    }
    assert_eq!(
        all(&articles, "a").await[0].categories,
        [Category::Health, Category::World]
    );
}

async fn the_same_address_from_two_sources_stays_two_articles(database: TestDatabase) {
    let articles = database.articles().await;
    store(&articles, "a", &[article("shared", 0)])
        .await
        .expect("stored");
    store(&articles, "b", &[article("shared", 0)])
        .await
        .expect("stored");
    assert_eq!(page_of(&articles, &["a", "b"], None).await.total, 2);
    let mut counts = articles.counts(&["a", "b"]).await.expect("counts");
    counts.sort();
    assert_eq!(counts, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
}

async fn what_has_not_changed_is_not_written_again(database: TestDatabase) {
    let articles = database.articles().await;
    let mut batch = [article("x", 0), article("y", 1), article("z", 2)];
    batch[0].published_at = noon() + TimeDelta::nanoseconds(1_234_567);
    assert_eq!(store(&articles, "a", &batch).await.expect("stored"), 3);
    assert_eq!(store(&articles, "a", &batch).await.expect("stored"), 0);
    batch[1].title = "New words".to_owned();
    let before = all(&articles, "a").await;
    assert_eq!(store(&articles, "a", &batch).await.expect("stored"), 1);
    let after = all(&articles, "a").await;
    assert_eq!(after[1].title, "New words");
    assert_eq!(
        after.iter().map(|article| article.id).collect::<Vec<_>>(),
        before.iter().map(|article| article.id).collect::<Vec<_>>()
    );
}

async fn a_text_that_is_left_out_takes_nothing_away(database: TestDatabase) {
    let articles = database.articles().await;
    let full = NewArticle {
        content: Some("Full text".to_owned()),
        author: Some("Ada".to_owned()),
        ..article("x", 0)
    };
    store(&articles, "a", &[full]).await.expect("stored");
    let bare = NewArticle {
        outlet: None,
        description: None,
        author: Some("Grace".to_owned()),
        ..article("x", 0)
    };
    store(&articles, "a", &[bare]).await.expect("stored");
    let found = all(&articles, "a").await.remove(0);
    assert_eq!(found.content.as_deref(), Some("Full text"));
    assert_eq!(found.description.as_deref(), Some("A description"));
    assert_eq!(found.outlet.as_deref(), Some("The Example"));
    assert_eq!(found.author.as_deref(), Some("Grace"));
}

async fn an_estimated_time_never_replaces_a_stored_one(database: TestDatabase) {
    let articles = database.articles().await;
    let estimated = |seconds| NewArticle {
        published_at_estimated: true,
        ..article("x", seconds)
    };
    store(&articles, "a", &[estimated(100)])
        .await
        .expect("stored");
    assert_eq!(
        store(&articles, "a", &[estimated(200)])
            .await
            .expect("stored"),
        0
    );
    let found = all(&articles, "a").await.remove(0);
    assert_eq!(
        (found.published_at, found.published_at_estimated),
        (noon() + TimeDelta::seconds(100), true)
    );
    // Not even along with a change that is written.
    let retitled = NewArticle {
        title: "New words".to_owned(),
        ..estimated(200)
    };
    assert_eq!(store(&articles, "a", &[retitled]).await.expect("stored"), 1);
    let found = all(&articles, "a").await.remove(0);
    assert_eq!(
        (found.title.as_str(), found.published_at),
        ("New words", noon() + TimeDelta::seconds(100))
    );

    store(&articles, "a", &[article("x", 50)])
        .await
        .expect("stored");
    assert_eq!(
        store(&articles, "a", &[estimated(300)])
            .await
            .expect("stored"),
        0
    );
    let found = all(&articles, "a").await.remove(0);
    assert_eq!(
        (found.published_at, found.published_at_estimated),
        (noon() + TimeDelta::seconds(50), false)
    );
}

async fn a_page_holds_only_what_was_asked_for(database: TestDatabase) {
    let articles = database.articles().await;
    let sports = |path| NewArticle {
        categories: vec![Category::Sports, Category::World],
        ..article(path, 0)
    };
    store(&articles, "a", &[sports("1"), article("2", 0)])
        .await
        .expect("stored");
    store(&articles, "it's b", &[sports("3")])
        .await
        .expect("stored");
    assert_eq!(
        page_of(&articles, &["a", "it's b"], Some(Category::Sports))
            .await
            .total,
        2
    );
    let page = page_of(&articles, &["it's b"], Some(Category::World)).await;
    assert_eq!((page.total, page.articles.len(), page.next), (1, 1, None));
    assert_eq!(
        page_of(&articles, &["a"], Some(Category::Health))
            .await
            .total,
        0
    );
    assert_eq!(page_of(&articles, &[], None).await.total, 0);
}

async fn articles_are_counted_as_far_as_anybody_needs(database: TestDatabase) {
    let articles = database.articles().await;
    let batch: Vec<NewArticle> = (0..3).map(|n| article(&format!("n/{n}"), n)).collect();
    store(&articles, "a", &batch).await.expect("stored");
    for category in [None, Some(Category::General)] {
        let page = page_of(&articles, &["a"], category).await;
        assert_eq!((page.total, page.total_is_exact), (3, true));
    }
    let many = if database.url.starts_with("postgres") {
        "INSERT INTO articles (source, title, url, url_canonical, url_hash, published_at, fetched_at, updated_at) \
         SELECT 'a', 'x', 'x', 'x', lpad(n::text, 64, '0'), now(), now(), now() FROM generate_series(1, 10100) n"
    } else {
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10100) \
         INSERT INTO articles (source, title, url, url_canonical, url_hash, published_at, fetched_at, updated_at) \
         SELECT 'a', 'x', 'x', 'x', printf('%064d', n), '2025-01-01T00:00:00+00:00', '2025-01-01T00:00:00+00:00', \
         '2025-01-01T00:00:00+00:00' FROM numbers"
    };
    database.execute(many).await;
    let page = page_of(&articles, &["a"], None).await;
    assert_eq!((page.total, page.total_is_exact), (TOTAL_MAX, false));
    assert_eq!(page.articles.len(), 100);
    let page = page_of(&articles, &["a"], Some(Category::General)).await;
    assert_eq!((page.total, page.total_is_exact), (3, true));
}

async fn a_changed_time_moves_an_article_in_every_category(database: TestDatabase) {
    let articles = database.articles().await;
    let at = |path, seconds, category| NewArticle {
        categories: vec![category],
        ..article(path, seconds)
    };
    let first = [
        at("moves", 0, Category::Science),
        at("stays", 10, Category::Science),
    ];
    store(&articles, "a", &first).await.expect("stored");
    // Seen again, later and under another category only.
    let again = [at("moves", 20, Category::World)];
    store(&articles, "a", &again).await.expect("stored");
    let page = page_of(&articles, &["a"], Some(Category::Science)).await;
    let titles: Vec<&str> = page
        .articles
        .iter()
        .map(|found| found.title.as_str())
        .collect();
    assert_eq!(titles, ["About moves", "About stays"]);
    let first_page = PageQuery {
        filters: Filters {
            sources: vec!["a".to_owned()],
            category: Some(Category::Science),
            duplicates: true,
            ..Filters::default()
        },
        after: None,
        limit: 1,
    };
    let next = articles.page(&first_page).await.expect("a page").next;
    let second_page = PageQuery {
        after: next,
        ..first_page
    };
    let found = articles.page(&second_page).await.expect("a page").articles;
    assert_eq!(found[0].title, "About stays");
    assert_eq!(found.len(), 1);
}

async fn an_unknown_identifier_finds_nothing(database: TestDatabase) {
    let articles = database.articles().await;
    for id in [0, -1, 12_345, i64::MAX] {
        assert_eq!(articles.by_id(id).await.expect("a look-up"), None);
    }
}

async fn what_was_asked_is_remembered(database: TestDatabase) {
    let articles = database.articles().await;
    let first = Answer {
        source: "a",
        category: Some(Category::Health),
        by_category: true,
        outcome: "timeout",
        articles: &[],
        asked_at: noon(),
        stored_at: noon(),
        ask_again_at: noon() + TimeDelta::seconds(5),
    };
    articles.store(&first).await.expect("stored");
    let later = noon() + TimeDelta::minutes(1);
    let again = Answer {
        outcome: "ok",
        articles: &[article("x", 0)],
        asked_at: later,
        ask_again_at: later,
        ..first
    };
    articles.store(&again).await.expect("stored");
    articles
        .store(&Answer {
            category: None,
            ..first
        })
        .await
        .expect("stored");

    assert_eq!(articles.asked(&["b"]).await.expect("a list"), []);
    let mut asked = articles.asked(&["a"]).await.expect("a list");
    asked.sort_by_key(|asked| asked.category);
    assert_eq!(asked.len(), 2);
    assert_eq!(
        (
            asked[0].category,
            asked[0].outcome.as_str(),
            asked[0].articles
        ),
        (None, "timeout", 0)
    );
    assert_eq!(
        (
            asked[1].category,
            asked[1].outcome.as_str(),
            asked[1].articles
        ),
        (Some(Category::Health), "ok", 1)
    );
    assert_eq!((asked[1].asked_at, asked[1].ask_again_at), (later, later));
}

async fn whatever_changes_what_is_shown_of_an_article_changes_its_time(database: TestDatabase) {
    let articles = database.articles().await;
    let mut shown = article("shown", 0);
    shown.title = "Harbour plan to be drawn up for the northern district".to_owned();
    let mut other = article("other", 60);
    other.title.clone_from(&shown.title);
    let stored = async |source: &str, article: &NewArticle, seconds| {
        let batch = std::slice::from_ref(article);
        let stored = store_at(&articles, source, batch, seconds).await;
        stored.expect("stored");
        let all = all(&articles, "a").await;
        (all[0].updated_at - noon()).num_seconds()
    };
    assert_eq!(stored("a", &shown, 0).await, 0);
    assert_eq!(stored("a", &shown, 10).await, 0, "nothing has changed");
    shown.categories = vec![Category::Science];
    assert_eq!(stored("a", &shown, 20).await, 20, "a further category");
    assert_eq!(stored("b", &other, 30).await, 30, "it stands elsewhere too");
    other.description = Some("Other words".to_owned());
    assert_eq!(stored("b", &other, 40).await, 30, "which it doesn't tell");
    other.url += "?utm_source=x";
    assert_eq!(stored("b", &other, 50).await, 50, "at another address");
    other.outlet = Some("Another outlet".to_owned());
    assert_eq!(stored("b", &other, 60).await, 60, "by another outlet");
    assert_eq!(all(&articles, "a").await[0].also_at.len(), 1);
}

async fn a_clock_that_went_back_makes_nothing_older(database: TestDatabase) {
    let articles = database.articles().await;
    let mut given = article("x", 0);
    store_at(&articles, "a", std::slice::from_ref(&given), 60)
        .await
        .expect("stored");
    given.title = "Another title".to_owned();
    store_at(&articles, "a", std::slice::from_ref(&given), 0)
        .await
        .expect("stored");
    let found = all(&articles, "a").await.remove(0);
    assert_eq!(found.title, "Another title");
    let minute = noon() + TimeDelta::minutes(1);
    assert_eq!(found.updated_at, minute);
    let asked = articles.asked(&["a"]).await.expect("questions").remove(0);
    assert_eq!((asked.asked_at, asked.changed_at), (noon(), minute));
    let enabled = [(["a", "b"], 60), (["a", "c"], 0)];
    for (names, seconds) in enabled {
        let now = noon() + TimeDelta::seconds(seconds);
        let since = articles.enable(&names.into(), now).await;
        assert_eq!(since.expect("enabled"), minute, "{names:?}");
    }
}

async fn a_batch_is_stored_whole_or_not_at_all(database: TestDatabase) {
    let articles = database.articles().await;
    let without_title = NewArticle {
        title: String::new(),
        ..article("bad", 0)
    };
    let failed = store(&articles, "a", &[article("good", 0), without_title]).await;
    assert!(
        matches!(failed, Err(DatabaseError::Failed(_))),
        "{failed:?}"
    );
    assert_eq!(all(&articles, "a").await, []);
    assert_eq!(articles.asked(&["a"]).await.expect("a list"), []);
}

async fn overlapping_batches_at_the_same_time_all_arrive(database: TestDatabase) {
    let articles = std::sync::Arc::new(database.articles().await);
    let writers = (0..8).map(|writer: i64| {
        let articles = articles.clone();
        tokio::spawn(async move {
            for round in 0..5 {
                let mut batch: Vec<NewArticle> = (0..40)
                    .map(|n| article(&n.to_string(), n + round * writer))
                    .collect();
                // Half of them come from the other end: batches that lock rows as they come would wait for each other.
                if writer % 2 == 0 {
                    batch.reverse();
                }
                store(&articles, "a", &batch).await.expect("stored");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no writer fails");
    }
    assert_eq!(page_of(&articles, &["a"], None).await.total, 40);
}

async fn many_who_migrate_at_once_take_turns(database: TestDatabase) {
    let migrating = (0..6).map(|_| {
        let database = database.open();
        async move {
            // Whose turn doesn't come in time is told so and tries again, as the program does.
            until("it is migrated", async || match database.migrate().await {
                Err(DatabaseError::Unavailable(_)) => false,
                migrated => migrated.map(|()| true).expect("migrated"),
            })
            .await;
            database.ping().await.expect("ready");
            database
        }
    });
    let databases = futures_util::future::join_all(migrating).await;
    store(&Articles::new(&databases[0]), "a", &[article("x", 0)])
        .await
        .expect("stored");
    // On a database that holds something, they run again without harm.
    databases[1].migrate().await.expect("migrated");
    assert_eq!(all(&Articles::new(&databases[2]), "a").await.len(), 1);
}

/// Who waited for a lock that nobody gives back would be told that the database is unavailable.
async fn a_failed_migration_keeps_nobody_waiting(database: TestDatabase) {
    database.migrated().await.close().await;
    database
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             SELECT 9000, 'of a later version', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1",
        )
        .await;
    let first = database.open();
    for waiter in [&first, &database.open(), &first] {
        let failed = waiter.migrate().await.expect_err("a later version");
        assert!(matches!(failed, DatabaseError::Migration(_)), "{failed}");
    }
    database
        .execute("DELETE FROM _sqlx_migrations WHERE version = 9000")
        .await;
    database.open().migrate().await.expect("migrations");
}

async fn nothing_is_ready_before_the_migrations(database: TestDatabase) {
    let database = database.open();
    assert!(matches!(
        database.ping().await,
        Err(DatabaseError::Unavailable(_))
    ));
    database.migrate().await.expect("migrated");
    database.ping().await.expect("ready");
}
