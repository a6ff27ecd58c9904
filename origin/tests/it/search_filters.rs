//! What searches are narrowed by: what an article stands under and how it sounds, as both change. On PostgreSQL the index has it, and
//! may have more than is true but never less.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::news::{article, noon};
use chrono::TimeDelta;
use larder_origin::article::{Category, NewArticle};
use larder_origin::articles::{Answer, Articles};
use larder_origin::search::{Filters, Order, Question, Search, Terms};
use larder_origin::sentiment::{Label, ModelName, Score, ScoreError, Scorer, Text};
use std::sync::Arc;

on_both_databases!(
    a_category_that_an_article_is_given_later_finds_it,
    an_article_is_found_by_the_tone_that_its_new_text_has,
    an_article_is_found_by_the_tone_that_another_model_gives_it,
    articles_stored_before_the_index_had_filters_are_found_and_caught_up_with,
);

const UNKNOWN: &str = "UPDATE articles SET filters = DEFAULT";
const NOT_KNOWN: &str =
    "SELECT count(*) FROM articles WHERE filters[1] = '?' OR NOT filters @> article_filters(id)";
const BACK_TO_THE_FIRST_STEP: &str = "\
    CREATE INDEX articles_search_idx ON articles USING gin (search, week, source, language) WITH (fastupdate = off); \
    DROP INDEX articles_search_filters_idx; DELETE FROM _sqlx_migrations WHERE version = 10";
const BACK_BEFORE_IT: &str = "\
    DROP TRIGGER renew_filters ON article_categories; DROP TRIGGER renew_filters ON article_sentiments; \
    DROP FUNCTION renew_article_filters(); DROP FUNCTION article_filters(bigint); ALTER TABLE articles DROP COLUMN filters";

/// Finds that everything sounds alike.
#[derive(Debug)]
struct Always(ModelName, Label);

impl Scorer for Always {
    fn model(&self) -> &ModelName {
        &self.0
    }

    fn score(&self, _: Text<'_>) -> Result<Option<Score>, ScoreError> {
        let (value, label) = (0.1, self.1);
        Ok(Some(Score { value, label }))
    }
}

fn quake(title: &str, categories: &[Category]) -> NewArticle {
    NewArticle {
        title: title.to_owned(),
        description: None,
        language: Some("en".to_owned()),
        categories: categories.to_vec(),
        ..article("quake", 0)
    }
}

async fn store(articles: &Articles, article: NewArticle) {
    let answer = Answer {
        source: "a",
        category: None,
        by_category: true,
        outcome: "ok",
        articles: &[article],
        asked_at: noon(),
        stored_at: noon(),
        ask_again_at: noon() + TimeDelta::minutes(5),
    };
    articles.store(&answer).await.expect("stored");
}

/// How many articles about quakes there are.
async fn found(database: &TestDatabase, category: Option<Category>, tone: Option<Label>) -> usize {
    let question = Question {
        terms: Terms::parse("quake"),
        filters: Filters {
            sources: vec!["a".to_owned()],
            category,
            language: None,
            sentiment: tone,
            since: None,
            until: None,
            duplicates: false,
        },
        order: Order::Relevance,
        place: None,
        is_corrected: false,
        limit: 20,
    };
    let search = Search::new(&database.open());
    search.find(&question).await.expect("an answer").hits.len()
}

/// Under which categories, and by which tones, an article is found.
async fn finders(database: &TestDatabase) -> (Vec<Category>, Vec<Label>) {
    let (mut categories, mut tones) = (Vec::new(), Vec::new());
    for category in Category::ALL {
        if found(database, Some(category), None).await > 0 {
            categories.push(category);
        }
        for tone in Label::ALL {
            let both = found(database, Some(category), Some(tone)).await;
            let one_by_one = found(database, Some(category), None).await
                * found(database, None, Some(tone)).await;
            assert_eq!(both, one_by_one, "{category} {tone:?}");
        }
    }
    for tone in Label::ALL {
        if found(database, None, Some(tone)).await > 0 {
            tones.push(tone);
        }
    }
    if database.url.starts_with("postgres") {
        assert_eq!(database.count(NOT_KNOWN).await, 0, "the index knows too");
    }
    (categories, tones)
}

async fn a_category_that_an_article_is_given_later_finds_it(database: TestDatabase) {
    let articles = database.articles().await;
    let title = "A quake with a wonderful, happy end";
    store(&articles, quake(title, &[Category::World])).await;
    let expected = (vec![Category::World], vec![Label::Positive]);
    assert_eq!(finders(&database).await, expected);
    if database.url.starts_with("postgres") {
        let first_version = "SELECT count(*) FROM articles WHERE ctid = '(0,1)'";
        assert_eq!(database.count(first_version).await, 1, "it is written once");
    }
    store(
        &articles,
        quake(title, &[Category::Science, Category::World]),
    )
    .await;
    let (categories, tones) = finders(&database).await;
    assert_eq!(categories.len(), 2, "{categories:?}");
    assert!(categories.contains(&Category::Science));
    assert_eq!(tones, [Label::Positive]);
}

async fn an_article_is_found_by_the_tone_that_its_new_text_has(database: TestDatabase) {
    let articles = database.articles().await;
    let world = [Category::World];
    store(
        &articles,
        quake("A quake with a wonderful, happy end", &world),
    )
    .await;
    store(&articles, quake("Terrible quake kills hundreds", &world)).await;
    let expected = (vec![Category::World], vec![Label::Negative]);
    assert_eq!(finders(&database).await, expected);
    // One that can't be scored has no tone any more.
    let mut german = quake("Ein quake auf Deutsch", &world);
    german.language = Some("de".to_owned());
    store(&articles, german).await;
    assert_eq!(finders(&database).await.1, []);
}

async fn an_article_is_found_by_the_tone_that_another_model_gives_it(database: TestDatabase) {
    let articles = database.articles().await;
    store(
        &articles,
        quake("A quake with a happy end", &[Category::World]),
    )
    .await;
    assert_eq!(finders(&database).await.1, [Label::Positive]);
    let (name, version) = ("always".to_owned(), "1".to_owned());
    let model = Always(ModelName { name, version }, Label::Neutral);
    let other = database.articles().await.scored_by(Arc::new(model));
    let scored = other.rescore(0, noon()).await.expect("a batch");
    assert_eq!(scored.expect("an article").scored, 1);
    let expected = (vec![Category::World], vec![Label::Neutral]);
    assert_eq!(finders(&database).await, expected);
}

async fn articles_stored_before_the_index_had_filters_are_found_and_caught_up_with(
    database: TestDatabase,
) {
    let articles = database.articles().await;
    store(
        &articles,
        quake("A quake with a happy end", &[Category::World]),
    )
    .await;
    let is_postgres = database.url.starts_with("postgres");
    if is_postgres {
        database.execute(UNKNOWN).await;
    }
    let world = found(&database, Some(Category::World), Some(Label::Positive)).await;
    let sports = found(&database, Some(Category::Sports), None).await;
    let neutral = found(&database, None, Some(Label::Neutral)).await;
    assert_eq!((world, sports, neutral), (1, 0, 0), "not looked at yet");
    let caught_up = articles.catch_up_filters().await.expect("a batch");
    assert_eq!(caught_up, u64::from(is_postgres));
    assert_eq!(articles.catch_up_filters().await.expect("a batch"), 0);
    let expected = (vec![Category::World], vec![Label::Positive]);
    assert_eq!(finders(&database).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_is_made_though_it_was_interrupted() {
    let database = TestDatabase::postgres().await;
    let articles = database.articles().await;
    store(
        &articles,
        quake("A quake with a happy end", &[Category::World]),
    )
    .await;
    for undo in [
        &[BACK_TO_THE_FIRST_STEP][..],
        &[BACK_TO_THE_FIRST_STEP, BACK_BEFORE_IT],
    ] {
        for statement in undo {
            database.execute(statement).await;
        }
        database.migrated().await;
        assert_eq!(found(&database, Some(Category::World), None).await, 1);
        while articles.catch_up_filters().await.expect("a batch") > 0 {}
        let expected = (vec![Category::World], vec![Label::Positive]);
        assert_eq!(finders(&database).await, expected);
    }
}
