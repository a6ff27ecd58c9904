//! What new articles make out of date reaches the cache: once they are stored, whatever fails on the way.

use crate::people::user;
use crate::support::cache::TestCache;
use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::news::{article, noon};
use crate::support::until;
use larder_origin::article::{Category, NewArticle};
use larder_origin::articles::{Answer, Articles};
use larder_origin::board::{Board, NewMessage};
use larder_origin::database::Database;
use larder_origin::outbox::{Dispatcher, Outbox, Purge};
use larder_origin::tag::Tag;
use larder_origin::users::Users;
use std::collections::BTreeSet;
use tokio::task::JoinHandle;

on_both_databases!(
    what_is_stored_is_told_to_the_cache_in_one_purge,
    a_first_answer_voids_what_shows_the_stories_it_tells_too,
    what_has_not_changed_is_not_told,
    a_batch_that_is_not_stored_is_not_told,
    nothing_is_queued_when_there_is_no_cache,
    a_cache_that_refuses_is_told_until_it_confirms,
    what_was_queued_before_a_restart_is_told_after_it,
    a_cache_that_stays_away_fills_no_table,
    the_last_batch_of_what_is_caught_up_with_voids_the_lists_itself,
    whoever_goes_leaves_no_words_in_the_cache,
);

struct World {
    articles: Articles,
    outbox: Outbox,
    database: Database,
    at: TestDatabase,
}

impl World {
    async fn new(at: TestDatabase) -> Self {
        let database = at.migrated().await;
        let outbox = Outbox::new(&database);
        let articles = Articles::with_outbox(&database, outbox.clone());
        Self {
            articles,
            outbox,
            database,
            at,
        }
    }

    fn dispatch(&self, cache: &TestCache) -> JoinHandle<()> {
        let dispatcher = Dispatcher::new(&self.outbox, cache.clone());
        tokio::spawn(dispatcher.run(chrono::Utc::now))
    }

    /// Asked before, so that all lists are out of date.
    async fn asked(&self) {
        store(&self.articles, &[]).await.expect("stored");
    }
}

async fn store(
    articles: &Articles,
    batch: &[NewArticle],
) -> Result<u64, larder_origin::database::DatabaseError> {
    store_of("a", articles, batch).await
}

async fn store_of(
    source: &str,
    articles: &Articles,
    batch: &[NewArticle],
) -> Result<u64, larder_origin::database::DatabaseError> {
    let answer = Answer {
        source,
        category: None,
        by_category: true,
        outcome: "ok",
        articles: batch,
        asked_at: noon(),
        stored_at: noon(),
        ask_again_at: noon(),
    };
    articles.store(&answer).await
}

fn tags(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn what_is_stored_is_told_to_the_cache_in_one_purge(database: TestDatabase) {
    let (world, cache) = (World::new(database).await, TestCache::well());
    world.asked().await;
    let dispatcher = world.dispatch(&cache);
    let batch = [article("x", 0), article("y", 1)];
    store(&world.articles, &batch).await.expect("stored");
    until("the cache is told", || async { !cache.told().is_empty() }).await;
    let all = tags(&[
        "article:1",
        "article:2",
        "list",
        "search",
        "source:a",
        "sources",
    ]);
    assert_eq!(cache.told(), [all]);

    let moved = NewArticle {
        categories: vec![Category::Sports],
        ..article("x", 0)
    };
    store(&world.articles, &[moved]).await.expect("stored");
    until("the cache is told", || async { cache.told().len() == 2 }).await;
    assert!(
        cache.told()[1].contains("list"),
        "under a further category an article stands in further lists"
    );
    dispatcher.abort();
}

async fn a_first_answer_voids_what_shows_the_stories_it_tells_too(database: TestDatabase) {
    let (world, cache) = (World::new(database).await, TestCache::well());
    let titled = |path: &str| NewArticle {
        title: "Harbour plan to be drawn up for the northern district".to_owned(),
        ..article(path, 0)
    };
    store(&world.articles, &[titled("x")])
        .await
        .expect("stored");
    let dispatcher = world.dispatch(&cache);
    until("the cache is told", || async { cache.told().len() == 1 }).await;
    let first = store_of("b", &world.articles, &[titled("y")]).await;
    first.expect("stored");
    until("the cache is told", || async { cache.told().len() == 2 }).await;
    for tag in ["article:1", "page:2", "list"] {
        assert!(cache.told()[1].contains(tag), "{tag}: {:?}", cache.told());
    }
    assert!(!cache.told()[1].contains("article:2"));
    dispatcher.abort();
}

async fn what_has_not_changed_is_not_told(database: TestDatabase) {
    let (world, cache) = (World::new(database).await, TestCache::well());
    world.asked().await;
    store(&world.articles, &[article("x", 0)])
        .await
        .expect("stored");
    store(&world.articles, &[article("x", 0)])
        .await
        .expect("stored");
    assert_eq!(waiting(&world.database).await, 1);
    drop(cache);
}

async fn a_batch_that_is_not_stored_is_not_told(database: TestDatabase) {
    let world = World::new(database).await;
    world.asked().await;
    let without_title = NewArticle {
        title: String::new(),
        ..article("bad", 0)
    };
    let failed = store(&world.articles, &[article("good", 0), without_title]).await;
    assert!(failed.is_err());
    assert_eq!(waiting(&world.database).await, 0);
}

async fn nothing_is_queued_when_there_is_no_cache(database: TestDatabase) {
    let pool = database.migrated().await;
    let articles = Articles::new(&pool);
    store(&articles, &[article("x", 0)]).await.expect("stored");
    store(&articles, &[article("y", 0)]).await.expect("stored");
    let outbox = Outbox::without_cache(&pool);
    outbox
        .queue(&[Tag::list()].into(), noon())
        .await
        .expect("nothing to do");
    assert_eq!(waiting(&pool).await, 0);
}

async fn a_cache_that_refuses_is_told_until_it_confirms(database: TestDatabase) {
    let (world, cache) = (World::new(database).await, TestCache::well());
    world.asked().await;
    cache.refuse(true);
    let dispatcher = world.dispatch(&cache);
    for n in 0..3 {
        store(&world.articles, &[article(&n.to_string(), n)])
            .await
            .expect("stored");
    }
    until("it was tried more than once", || async {
        cache.asked() > 3
    })
    .await;
    assert!(cache.told().is_empty());
    assert_eq!(waiting(&world.database).await, 3);
    cache.refuse(false);
    until("the rows are gone", || async {
        waiting(&world.database).await == 0
    })
    .await;
    let told: BTreeSet<String> = cache.told().into_iter().flatten().collect();
    for tag in ["article:1", "article:2", "article:3", "list"] {
        assert!(told.contains(tag), "{told:?}");
    }
    dispatcher.abort();
}

async fn what_was_queued_before_a_restart_is_told_after_it(database: TestDatabase) {
    let url = database.url.clone();
    let world = World::new(database).await;
    world.asked().await;
    store(&world.articles, &[article("x", 0)])
        .await
        .expect("stored");
    world.database.close().await;
    let (again, cache) = (World::new(TestDatabase::at(url)).await, TestCache::well());
    let dispatcher = again.dispatch(&cache);
    until("the cache is told", || async { !cache.told().is_empty() }).await;
    assert!(cache.told()[0].contains("article:1"));
    dispatcher.abort();
}

async fn a_cache_that_stays_away_fills_no_table(database: TestDatabase) {
    let (world, cache) = (World::new(database).await, TestCache::well());
    cache.refuse(true);
    for n in 0..1200 {
        let tag = Tag::article(n);
        world
            .outbox
            .queue(&[tag].into(), noon())
            .await
            .expect("queued");
    }
    let dispatcher = world.dispatch(&cache);
    until("many rows became few", || async {
        waiting(&world.database).await < 500
    })
    .await;
    cache.refuse(false);
    until("the rows are gone", || async {
        waiting(&world.database).await == 0
    })
    .await;
    assert_eq!(cache.purges().last(), Some(&Purge::Everything));
    dispatcher.abort();
}

/// How many rows wait.
async fn waiting(database: &Database) -> i64 {
    Outbox::new(database).waiting().await.expect("a count")
}

async fn whoever_goes_leaves_no_words_in_the_cache(at: TestDatabase) {
    let world = World::new(at).await;
    let users = Users::with_outbox(&world.database, world.outbox.clone());
    let board = Board::new(&world.database);
    let cache = TestCache::well();
    let dispatcher = world.dispatch(&cache);
    for (name, writes) in [("silent", false), ("ada", true)] {
        let user = user(&world.database, name).await.expect("new");
        let new = NewMessage {
            user_id: Some(user.id),
            author: name,
            text: "hello",
        };
        if writes {
            board.post(&new, noon()).await.expect("posted");
        }
        users.delete(user.id, noon()).await.expect("deleted");
    }
    until("the cache is told", || async { !cache.told().is_empty() }).await;
    assert_eq!(cache.told(), [tags(&["erasures", "messages"])]);
    dispatcher.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_work_and_take_over_from_one_that_dies() {
    let world = World::new(TestDatabase::postgres().await).await;
    let (stuck, well) = (TestCache::well(), TestCache::well());
    stuck.hold();
    let first: BTreeSet<Tag> = [Tag::article(1)].into();
    world.outbox.queue(&first, noon()).await.expect("queued");
    let dying = world.dispatch(&stuck);
    until("the first replica delivers", || async {
        stuck.asked() == 1
    })
    .await;
    let surviving = world.dispatch(&well);
    let second: BTreeSet<Tag> = [Tag::article(2)].into();
    world.outbox.queue(&second, noon()).await.expect("queued");
    until("the second one delivers", || async {
        !well.told().is_empty()
    })
    .await;
    assert_eq!(well.told(), [tags(&["article:2"])]);
    dying.abort();
    until("it takes over", || async { well.told().len() == 2 }).await;
    assert_eq!(well.told()[1], tags(&["article:1"]));
    surviving.abort();
}

async fn the_last_batch_of_what_is_caught_up_with_voids_the_lists_itself(database: TestDatabase) {
    let (world, cache) = (World::new(database).await, TestCache::well());
    let batch: Vec<NewArticle> = (0..101).map(|n| article(&format!("n/{n}"), n)).collect();
    store(&world.articles, &batch).await.expect("stored");
    let nothing =
        "UPDATE articles SET headline = NULL; DELETE FROM article_sentiments; DELETE FROM outbox";
    world.at.execute(nothing).await;
    let dispatcher = world.dispatch(&cache);
    let told = async |count: usize| {
        until("the cache is told", || async {
            cache.told().len() == count
        })
        .await;
        let last = cache.told().pop().unwrap_or_default();
        let voids = |tag: &str| last.contains(tag);
        let lists = (voids("list"), voids("search"));
        (last.len(), lists)
    };
    let (none, both) = ((false, false), (true, true));
    // Whatever ends the process after a batch: what it voids was committed with it.
    assert_eq!(world.articles.catch_up(noon()).await.expect("a batch"), 100);
    assert_eq!(told(1).await, (100, none));
    assert_eq!(world.articles.catch_up(noon()).await.expect("a batch"), 1);
    assert_eq!(told(2).await, (1 + 2, both));

    // As many as a batch holds.
    let scored = world.articles.rescore(1, noon()).await.expect("a batch");
    assert_eq!(scored.map(|batch| batch.articles), Some(100));
    assert_eq!(told(3).await, (100 + 2, both));
    dispatcher.abort();
}
