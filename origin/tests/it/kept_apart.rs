//! What a user added stays that user's: it is in no report, no suggestion and no purge, keeps nobody waiting, and goes when nobody
//! wants it any more.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{Reply, get, send};
use crate::support::news::{Act, Script, article, noon, store_at};
use crate::support::readers::{LOOPBACK, Place};
use crate::support::until;
use chrono::{TimeDelta, Utc};
use hyper::Method;
use larder_origin::article::NewArticle;
use larder_origin::articles::Articles;
use larder_origin::ingest::Scope;
use larder_origin::outbox::Outbox;
use larder_origin::schedule::AddedSchedule;
use larder_origin::search::{Filters, Order, Question, Search, Terms};
use larder_origin::sim::{Behaviour, Upstream};
use larder_origin::turn::{Turn, Work};
use std::collections::BTreeSet;

on_both_databases!(
    a_report_that_anybody_may_read_names_no_users_feed,
    a_users_new_article_voids_nothing_that_is_shared,
    feeds_of_users_that_hang_keep_nobodys_news_waiting,
    catching_up_changes_everybodys_lists_at_its_end_and_nobodys_own,
    words_that_one_user_reads_are_suggested_to_nobody,
    words_that_an_earlier_version_remembered_of_one_users_feed_are_forgotten,
    what_its_last_reader_removes_goes_with_all_that_is_remembered,
    what_an_account_had_added_goes_with_it,
    a_try_that_came_to_nothing_is_forgotten_by_and_by,
    of_one_users_feed_only_the_newest_articles_are_kept,
    a_feed_that_the_operator_has_too_is_polled_for_each,
    what_went_wrong_with_a_users_feed_is_remembered_without_its_words,
    feeds_are_asked_though_nothing_can_be_cleared_away,
    a_name_that_an_older_version_wrote_hides_no_feed,
    what_is_left_over_goes_a_few_at_a_time,
    what_users_add_is_in_no_index_that_everybodys_articles_are_found_by,
    all_users_together_have_as_many_feeds_as_there_may_be,
);

const OWN: &str = "user-feed:0123456789abcdef0123456789abcdef";

async fn store(articles: &Articles, source: &str, batch: &[NewArticle], seconds: i64) {
    store_at(
        articles,
        source,
        batch,
        noon() + TimeDelta::seconds(seconds),
    )
    .await;
}

/// Which of these have articles in store.
async fn stored(articles: &Articles, sources: &[&str]) -> BTreeSet<String> {
    let counts = articles.counts(sources).await.expect("counts");
    let stored = counts.into_iter().filter(|(_, count)| *count > 0);
    stored.map(|(source, _)| source).collect()
}

fn source_of(added: &Reply) -> String {
    assert_eq!(added.status, 201, "{:?}", added.body);
    let source = added.json()["source"].clone();
    source.as_str().expect("a name").to_owned()
}

/// What is remembered of having asked any user's feed, and its articles.
async fn left(database: &TestDatabase) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["articles", "questions", "source_records", "source_requests"] {
        let sql = format!("SELECT count(*) FROM {table} WHERE source LIKE 'user-feed:%'");
        counts.push(database.count(&sql).await);
    }
    counts.push(database.count("SELECT count(*) FROM feed_polls").await);
    counts
}

async fn a_report_that_anybody_may_read_names_no_users_feed(database: TestDatabase) {
    let place = Place::start(database, &[LOOPBACK]).await;
    let address = place.origin.address;
    let one = place.somebody("one@news.example").await;
    let source = source_of(&place.add(&one, &place.url("/feeds/rss.xml")).await);
    assert!(
        !source.contains("rss") && !source.contains("127"),
        "{source}"
    );
    let reply = send(address, Method::POST, "/refresh", &[]).await;
    let status = reply.expect("an answer").header("location").to_owned();
    let schedule = tokio::spawn(place.origin.schedule.run(Utc::now));
    until("the round is over", || async {
        get(address, &status).await.json()["state"] == "done"
    })
    .await;
    let report = get(address, &status).await;
    let text = String::from_utf8_lossy(&report.body).into_owned();
    assert!(text.contains("\"source\":\"a\""), "{text}");
    assert!(
        !text.contains("user-feed") && !text.contains("rss.xml"),
        "{text}"
    );
    schedule.abort();
}

async fn a_users_new_article_voids_nothing_that_is_shared(database: TestDatabase) {
    let pool = database.migrated().await;
    let outbox = Outbox::new(&pool);
    let articles = Articles::with_outbox(&pool, outbox.clone());
    store(&articles, "a", &[article("shared", 0)], 0).await;
    let waiting = outbox.waiting().await.expect("a count");
    for (n, path) in ["one", "two", "three"].into_iter().enumerate() {
        let batch = [article(path, 0)];
        store(&articles, OWN, &batch, 60 * (n as i64 + 1)).await;
    }
    assert_eq!(outbox.waiting().await.expect("a count"), waiting);
    let asked = articles.asked(&[OWN]).await.expect("a list");
    assert!(
        asked.iter().all(|asked| asked.changed_at < noon()),
        "{asked:?}"
    );
}

async fn feeds_of_users_that_hang_keep_nobodys_news_waiting(database: TestDatabase) {
    let pool = database.migrated().await;
    let source = Script::new("a", Act::Give(vec![article("everybodys", 0)]));
    let settings = [
        LOOPBACK,
        ("FEED_INTERVAL_MIN", "0s"),
        ("ORIGIN_SOURCE_TIMEOUT", "300s"),
    ];
    let place = Place::with(database, source.clone(), &settings).await;
    let one = place.somebody("one@news.example").await;
    source_of(&place.add(&one, &place.url("/feeds/rss.xml")).await);
    place.simulation.behave(Behaviour {
        hang: [Upstream::Feeds].into(),
        ..Behaviour::default()
    });
    let ingest = place.origin.ingest.clone();
    let later = Utc::now() + TimeDelta::hours(1);
    let hanging = tokio::spawn(async move { ingest.tick_added(later).await });
    until("the feed is asked", || async {
        place.simulation.counts()["/feeds/rss.xml"] == 2
    })
    .await;
    for scope in [Scope::Due, Scope::All] {
        let asked = source.asked();
        let round = place.origin.ingest.tick(scope, later).await;
        assert_eq!(round.expect("a round").failed(), 0);
        assert_eq!(source.asked(), asked + 1, "{scope:?}");
    }
    assert_eq!(place.simulation.counts()["/feeds/rss.xml"], 2);
    assert!(!hanging.is_finished());
    // And whoever has the one turn leaves the other.
    let added = Turn::take(&pool, Work::Added).await.expect("an answer");
    let round = Turn::take(&pool, Work::Round).await.expect("an answer");
    assert!(added.is_some() && round.is_some());
    hanging.abort();
}

async fn catching_up_changes_everybodys_lists_at_its_end_and_nobodys_own(database: TestDatabase) {
    let articles = database.articles().await;
    let batch: Vec<NewArticle> = (0..101).map(|n| article(&format!("n/{n}"), n)).collect();
    store(&articles, "a", &batch, 0).await;
    store(&articles, OWN, &batch[..1], 0).await;
    database
        .execute("UPDATE articles SET headline = NULL; DELETE FROM article_sentiments")
        .await;
    let changed = async || {
        let asked = articles.asked(&["a", OWN]).await.expect("a list");
        let of = |source: &str| {
            let asked = asked.iter().find(|asked| asked.source == source);
            let since = asked.expect("a question").changed_at - noon();
            since.num_minutes().max(-1)
        };
        (of("a"), of(OWN))
    };
    let later = |minutes| noon() + TimeDelta::minutes(minutes);
    assert_eq!(changed().await, (0, -1));
    assert_eq!(articles.catch_up(later(1)).await.expect("a batch"), 100);
    assert_eq!(changed().await, (0, -1), "more is to come");
    articles.void_lists(later(2)).await.expect("voided");
    assert_eq!(changed().await, (2, -1));
    assert_eq!(articles.catch_up(later(3)).await.expect("a batch"), 2);
    assert_eq!(changed().await, (3, -1), "the last");
    let scored = articles.rescore(50, later(4)).await.expect("a batch");
    assert_eq!(scored.map(|batch| batch.last), Some(102));
    assert_eq!(changed().await, (4, -1), "and so does scoring anew");
}

async fn words_that_one_user_reads_are_suggested_to_nobody(database: TestDatabase) {
    let shared = NewArticle {
        title: "Ministers leave the parliament".to_owned(),
        ..article("shared", 0)
    };
    let source = Script::new("a", Act::Give(vec![shared]));
    let place = Place::with(database, source, &[]).await;
    let address = place.origin.address;
    get(address, "/articles").await;
    let own = NewArticle {
        title: "Layoffs at Contosoville".to_owned(),
        ..article("own", 0)
    };
    store(&place.origin.articles, OWN, &[own], 0).await;
    let known = get(address, "/search?q=parliment").await.json();
    assert_eq!(known["corrected"], "parliament");
    for q in ["contosovile", "layofs"] {
        let page = get(address, &format!("/search?q={q}")).await.json();
        assert_eq!(page["corrected"], serde_json::Value::Null, "{q}");
    }
}

async fn words_that_an_earlier_version_remembered_of_one_users_feed_are_forgotten(
    database: TestDatabase,
) {
    let pool = database.migrated().await;
    let articles = Articles::new(&pool);
    let titled = |path: &str, title: &str| NewArticle {
        title: title.to_owned(),
        description: Some("Ministers/parliament’s".to_owned()),
        ..article(path, 0)
    };
    let shared = titled("shared", "EARTHQUAKE-proof bridges: the frühstück");
    store(&articles, "a", &[shared], 0).await;
    let own = titled("own", "Layoffs at Contosoville");
    store(&articles, OWN, &[own], 0).await;
    // As that version did.
    let remembered = "INSERT INTO search_words (word) VALUES ('layoffs'), ('contosoville')";
    database.execute(remembered).await;
    let search = Search::new(&pool);
    let meant = async |typed: &str| {
        let better = search.corrected(&Terms::parse(typed)).await;
        better.expect("an answer").is_some()
    };
    assert!(meant("contosovile").await && meant("layofs").await);
    database
        .execute("DELETE FROM _sqlx_migrations WHERE version = 14")
        .await;
    pool.migrate().await.expect("migrations");
    assert!(!meant("contosovile").await && !meant("layofs").await);
    for typed in ["parliment", "earthqake", "ministrs", "brigdes", "fruhstück"] {
        assert!(meant(typed).await, "{typed}");
    }
    let words = database.count("SELECT count(*) FROM search_words").await;
    assert_eq!(words, 6, "a word of each, and 'proof'");
}

async fn what_its_last_reader_removes_goes_with_all_that_is_remembered(database: TestDatabase) {
    let other_view = TestDatabase::at(database.url.clone());
    let place = Place::start(database, &[LOOPBACK]).await;
    get(place.origin.address, "/articles").await;
    let (one, other) = (
        place.somebody("one@news.example").await,
        place.somebody("other@news.example").await,
    );
    let url = place.url("/feeds/rss.xml");
    let added = [place.add(&one, &url).await, place.add(&other, &url).await];
    let source = source_of(&added[0]);
    assert_eq!(place.remove(&one, &added[0].json()).await.status, 204);
    let both = ["a".to_owned(), source.clone()];
    assert_eq!(
        stored(&place.origin.articles, &["a", &source]).await,
        both.clone().into(),
        "another still reads it"
    );
    assert_eq!(place.reads(&other).await, both);
    assert_eq!(place.remove(&other, &added[1].json()).await.status, 204);
    assert_eq!(left(&other_view).await, [0; 5]);
    assert_eq!(
        stored(&place.origin.articles, &["a", &source]).await,
        ["a".to_owned()].into()
    );
    // Whoever adds it again reads it again.
    let again = source_of(&place.add(&one, &url).await);
    assert_eq!(place.reads(&one).await, ["a".to_owned(), again]);
}

async fn what_an_account_had_added_goes_with_it(database: TestDatabase) {
    let other_view = TestDatabase::at(database.url.clone());
    let place = Place::start(database, &[LOOPBACK]).await;
    let one = place.somebody("one@news.example").await;
    for path in ["/feeds/rss.xml", "/feeds/atom.xml"] {
        source_of(&place.add(&one, &place.url(path)).await);
    }
    assert_ne!(left(&other_view).await[0], 0);
    let fields = [("authorization", one.as_str())];
    let gone = send(place.origin.address, Method::DELETE, "/me", &fields).await;
    assert_eq!(gone.expect("an answer").status, 204);
    assert_eq!(left(&other_view).await, [0; 5]);
}

async fn a_try_that_came_to_nothing_is_forgotten_by_and_by(database: TestDatabase) {
    let other_view = TestDatabase::at(database.url.clone());
    let place = Place::start(database, &[LOOPBACK]).await;
    let one = place.somebody("one@news.example").await;
    let kept = source_of(&place.add(&one, &place.url("/feeds/atom.xml")).await);
    let before = left(&other_view).await;
    let refused = place.add(&one, &place.url("/feeds/none.xml")).await;
    assert_eq!(refused.status, 422);
    assert_eq!(left(&other_view).await, before, "it leaves nothing");
    // One that was stored, and whose adding was cut short then.
    store(&place.origin.articles, OWN, &[article("x", 0)], 0).await;
    let before = left(&other_view).await;
    let clear = async |minutes| {
        let now = noon() + TimeDelta::minutes(minutes);
        place
            .origin
            .subscriptions
            .clear(now)
            .await
            .expect("cleared")
    };
    assert_eq!(clear(5).await, 0, "somebody may be just adding it");
    assert_eq!(left(&other_view).await, before);
    assert_eq!(clear(11).await, 1);
    let after = left(&other_view).await;
    assert_eq!(
        (after[1], before[1] - after[1], before[0] - after[0]),
        (1, 1, 1),
        "{before:?} {after:?}"
    );
    let left = stored(&place.origin.articles, &[&kept, OWN]).await;
    assert_eq!(left, [kept].into());
}

async fn of_one_users_feed_only_the_newest_articles_are_kept(database: TestDatabase) {
    let articles = database.articles().await;
    for source in [OWN, "a"] {
        for batch in 0..6 {
            let batch: Vec<NewArticle> = (0..100)
                .map(|n| article(&format!("{batch}/{n}"), batch * 100 + n))
                .collect();
            store(&articles, source, &batch, 0).await;
        }
    }
    let mut counts = articles.counts(&["a", OWN]).await.expect("counts");
    counts.sort();
    assert_eq!(counts, [("a".to_owned(), 600), (OWN.to_owned(), 500)]);
}

async fn a_feed_that_the_operator_has_too_is_polled_for_each(database: TestDatabase) {
    let other_view = TestDatabase::at(database.url.clone());
    let place = Place::start(database, &[LOOPBACK]).await;
    let one = place.somebody("one@news.example").await;
    let url = place.url("/feeds/rss.xml");
    let source = source_of(&place.add(&one, &url).await);
    place.round(Utc::now() + TimeDelta::hours(1)).await;
    // As the operator's feed of the same address is known: its turn is not the user's.
    let key = other_view
        .count(&format!(
            "SELECT count(*) FROM feed_polls p JOIN user_feeds f ON f.url_hash = p.url_hash WHERE f.source = '{source}'"
        ))
        .await;
    assert_eq!(key, 0);
    assert_eq!(other_view.count("SELECT count(*) FROM feed_polls").await, 1);
}

const HARBOUR: &str = "Harbour parliament negotiations collapse overnight";
/// On tables as small as a test's, PostgreSQL would read everything.
const BY_INDEX: &str = "DO $$ BEGIN \
    EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); \
    EXECUTE format('ALTER DATABASE %I SET enable_indexscan = off', current_database()); END $$";
const LOOKED_AT: &str = "SELECT CAST(idx_tup_read AS bigint) FROM pg_stat_user_indexes \
    WHERE indexrelname = 'articles_search_filters_idx' AND idx_scan > 0 UNION ALL SELECT -1 LIMIT 1";
const INDEXED: &str =
    "SELECT count(*) FROM articles_search WHERE articles_search MATCH 'parliament'";
/// Fails where the index of words and what it is made of differ.
const AGREE: &str =
    "INSERT INTO articles_search (articles_search, rank) VALUES ('integrity-check', 1)";

fn harbours(path: &str, count: i64) -> Vec<NewArticle> {
    let titled = |n| NewArticle {
        title: format!("{HARBOUR}, number {n}"),
        ..article(&format!("{path}/{n}"), n)
    };
    (0..count).map(titled).collect()
}

/// However many there are: what is looked at for everybody's articles is counted, not timed.
async fn what_users_add_is_in_no_index_that_everybodys_articles_are_found_by(
    database: TestDatabase,
) {
    let is_postgres = database.url.starts_with("postgres");
    let pool = database.migrated().await;
    let articles = Articles::new(&pool);
    for batch in 0..3 {
        store(&articles, OWN, &harbours(&format!("own/{batch}"), 100), 0).await;
    }
    store(&articles, "a", &harbours("a", 2), 0).await;
    pool.close().await;
    if is_postgres {
        database.execute(BY_INDEX).await;
        database.execute("ANALYZE articles").await;
    }
    let pool = database.open();
    let articles = Articles::new(&pool);
    store(&articles, "b", &harbours("b", 2), 60).await;
    let question = Question {
        terms: Terms::parse("parliament"),
        filters: Filters {
            sources: vec!["a".to_owned(), "b".to_owned()],
            category: None,
            language: None,
            sentiment: None,
            since: None,
            until: None,
            duplicates: true,
        },
        order: Order::Newest,
        place: None,
        is_corrected: false,
        limit: 20,
    };
    let found = Search::new(&pool).find(&question).await.expect("an answer");
    assert_eq!(found.hits.len(), 4);
    pool.close().await;
    if is_postgres {
        // Sessions tell what they did when they end.
        until("the sessions have ended", || async {
            database
                .count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                .await
                == 1
        })
        .await;
        let looked_at = database.count(LOOKED_AT).await;
        assert!((4..=20).contains(&looked_at), "{looked_at}");
    } else {
        assert_eq!(database.count(INDEXED).await, 4);
        // Neither changing nor deleting any of them touches what isn't there.
        database.execute(AGREE).await;
        let changed = "UPDATE articles SET title = 'Parliament again' WHERE source <> 'a'";
        database.execute(changed).await;
        let gone = "DELETE FROM articles WHERE source LIKE 'user-feed:%' OR source = 'a'";
        database.execute(gone).await;
        database.execute(AGREE).await;
        assert_eq!(database.count(INDEXED).await, 2);
    }
}

async fn all_users_together_have_as_many_feeds_as_there_may_be(database: TestDatabase) {
    let settings = [LOOPBACK, ("ORIGIN_ALL_USERS_FEEDS_MAX", "1")];
    let place = Place::start(database, &settings).await;
    let (one, other) = (
        place.somebody("one@news.example").await,
        place.somebody("other@news.example").await,
    );
    let (rss, atom) = (place.url("/feeds/rss.xml"), place.url("/feeds/atom.xml"));
    let both = futures_util::future::join(place.add(&one, &rss), place.add(&other, &atom)).await;
    let both = [both.0, both.1];
    let mut statuses = both.each_ref().map(|reply| reply.status.as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let refused = both.iter().find(|reply| reply.status == 409);
    assert_eq!(
        refused.map(|reply| reply.json()["code"].clone()),
        Some("no_room_for_feeds".into())
    );
    let (owner, added) = match both[0].status.as_u16() {
        201 => (&one, &both[0]),
        _ => (&other, &both[1]),
    };
    // What one has is still there, and nobody is told whether others have it.
    let url = added.json()["url"].as_str().expect("a URL").to_owned();
    assert_eq!(place.add(owner, &url).await.status, 200);
    let third = place.somebody("third@news.example").await;
    let before = place.simulation.counts();
    assert_eq!(
        place.add(&third, &url).await.json()["code"],
        "no_room_for_feeds"
    );
    assert_eq!(
        place.simulation.counts(),
        before,
        "nothing is asked in vain"
    );
    assert_eq!(place.remove(owner, &added.json()).await.status, 204);
    assert_eq!(place.add(&third, &url).await.status, 201);
}

async fn what_went_wrong_with_a_users_feed_is_remembered_without_its_words(database: TestDatabase) {
    let other_view = TestDatabase::at(database.url.clone());
    let settings = [LOOPBACK, ("FEED_INTERVAL_MIN", "0s")];
    let place = Place::start(database, &settings).await;
    let one = place.somebody("one@news.example").await;
    source_of(&place.add(&one, &place.url("/feeds/rss.xml")).await);
    place.simulation.behave(Behaviour {
        fail: [Upstream::Feeds].into(),
        ..Behaviour::default()
    });
    let later = Utc::now() + TimeDelta::hours(1);
    let round = place.origin.ingest.tick_added(later).await;
    assert_eq!(round.expect("a round").failed, 1);
    let records = async |text: &str| {
        let failed =
            "SELECT count(*) FROM source_records WHERE source LIKE 'user-feed:%' AND last_failure";
        other_view.count(&format!("{failed} {text}")).await
    };
    assert_eq!(records("= 'bad_status'").await, 1);
    assert_eq!(records("<> 'bad_status'").await, 0);
}

/// A try of long ago, whose address nobody has added.
const LEFT_OVER: &str = "INSERT INTO questions (source, category, asked_at, outcome, ask_again_at) \
    VALUES ('user-feed:0123456789abcdef0123456789abcdef', '', '2020-01-01T00:00:00.000000+00:00', 'malformed', \
    '2020-01-01T00:00:00.000000+00:00')";

async fn feeds_are_asked_though_nothing_can_be_cleared_away(database: TestDatabase) {
    let pool = database.migrated().await;
    let other_view = TestDatabase::at(database.url.clone());
    let settings = [LOOPBACK, ("FEED_INTERVAL_MIN", "0s")];
    let place = Place::start(database, &settings).await;
    let one = place.somebody("one@news.example").await;
    source_of(&place.add(&one, &place.url("/feeds/rss.xml")).await);
    let before = place.simulation.counts()["/feeds/rss.xml"];
    other_view.execute(LEFT_OVER).await;
    let hide = "ALTER TABLE source_requests RENAME TO away";
    other_view.execute(hide).await;
    let later = Utc::now() + TimeDelta::hours(1);
    let cleared = place.origin.subscriptions.clear(later).await;
    assert!(cleared.is_err(), "{cleared:?}");
    let (ingest, subscriptions) = (&place.origin.ingest, &place.origin.subscriptions);
    let schedule = AddedSchedule::new(&pool, ingest, subscriptions, None);
    let rounds = tokio::spawn(schedule.run(move || later));
    until("the feed is asked", || async {
        place.simulation.counts()["/feeds/rss.xml"] > before
    })
    .await;
    rounds.abort();
}

async fn what_is_left_over_goes_a_few_at_a_time(database: TestDatabase) {
    let pool = database.migrated().await;
    let articles = Articles::new(&pool);
    let other_view = TestDatabase::at(database.url.clone());
    for n in 0..50 {
        store(&articles, &format!("user-feed:{n:032}"), &[], 0).await;
    }
    let place = Place::start(database, &[]).await;
    let mut cleared = Vec::new();
    for _ in 0..4 {
        let some = place.origin.subscriptions.clear(Utc::now()).await;
        cleared.push(some.expect("cleared"));
    }
    assert_eq!(cleared, [20, 20, 10, 0]);
    assert_eq!(left(&other_view).await, [0; 5]);
}

async fn a_name_that_an_older_version_wrote_hides_no_feed(database: TestDatabase) {
    let other_view = TestDatabase::at(database.url.clone());
    let place = Place::start(database, &[LOOPBACK]).await;
    let one = place.somebody("one@news.example").await;
    let added = place.add(&one, &place.url("/feeds/rss.xml")).await;
    let source = source_of(&added);
    other_view
        .execute("UPDATE user_feeds SET source = 'user-feed:127.0.0.1/feeds/rss.xml'")
        .await;
    let listed = place.get(&one, "/me/feeds").await.json();
    assert_eq!(listed["feeds"], serde_json::json!([added.json()]));
    assert_eq!(place.reads(&one).await, std::slice::from_ref(&source));
    let later = Utc::now() + TimeDelta::hours(1);
    let cleared = place.origin.subscriptions.clear(later).await;
    assert_eq!(cleared.expect("cleared"), 0);
    assert_eq!(place.reads(&one).await, [source]);
    assert_eq!(place.remove(&one, &added.json()).await.status, 204);
    assert_eq!(left(&other_view).await, [0; 5]);
}
