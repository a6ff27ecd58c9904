//! How articles sound: scored when they are stored, when their text changes, and afterwards with another model. On both databases.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::news::{article, noon};
use crate::support::until;
use chrono::TimeDelta;
use larder_origin::article::NewArticle;
use larder_origin::articles::{Answer, Article, Articles, Filters, PageQuery};
use larder_origin::sentiment::{Label, Lexicon, ModelName, Score, ScoreError, Scorer, Text};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

on_both_databases!(
    an_article_is_scored_when_stored_and_when_its_text_changes,
    what_cannot_be_scored_is_stored_all_the_same,
    what_was_missed_is_scored_later_and_nothing_else_is_touched,
    a_new_model_scores_what_is_there_in_batches_and_goes_on_where_it_was,
    articles_of_an_earlier_schema_are_caught_up_with,
    what_is_stored_anew_meanwhile_is_not_computed_from_its_old_text,
);

/// Fails, panics, or gives everything the same score.
#[derive(Debug)]
struct Constant {
    model: ModelName,
    score: Result<f64, &'static str>,
}

impl Scorer for Constant {
    fn model(&self) -> &ModelName {
        &self.model
    }

    fn score(&self, _: Text<'_>) -> Result<Option<Score>, ScoreError> {
        match self.score {
            Ok(value) => Ok(Some(Score {
                value,
                label: Label::Positive,
            })),
            Err("panic") => panic!("as told"),
            Err(cause) => Err(ScoreError(cause.to_owned())),
        }
    }
}

/// Says when it begins, and waits for a word before it ends.
#[derive(Debug)]
struct Held {
    model: ModelName,
    begun: Sender<()>,
    go: Mutex<Receiver<()>>,
}

impl Scorer for Held {
    fn model(&self) -> &ModelName {
        &self.model
    }

    fn score(&self, _: Text<'_>) -> Result<Option<Score>, ScoreError> {
        let _ = self.begun.send(());
        let _ = self.go.lock().expect("no panic while locked").recv();
        let (value, label) = (1.0, Label::Positive);
        Ok(Some(Score { value, label }))
    }
}

fn constant(version: &str, score: Result<f64, &'static str>) -> Arc<dyn Scorer> {
    let (name, version) = ("constant".to_owned(), version.to_owned());
    Arc::new(Constant {
        model: ModelName { name, version },
        score,
    })
}

fn titled(path: &str, title: &str) -> NewArticle {
    NewArticle {
        title: title.to_owned(),
        description: None,
        language: Some("en".to_owned()),
        ..article(path, 0)
    }
}

async fn store(articles: &Articles, batch: &[NewArticle]) {
    let answer = Answer {
        source: "a",
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

async fn all(articles: &Articles) -> Vec<Article> {
    let query = PageQuery {
        filters: Filters {
            sources: vec!["a".to_owned()],
            duplicates: true,
            ..Filters::default()
        },
        after: None,
        limit: 1_000,
    };
    articles.page(&query).await.expect("a page").articles
}

async fn labels(articles: &Articles) -> Vec<Option<(String, Label)>> {
    let sentiments = all(articles).await.into_iter();
    sentiments
        .map(|article| {
            article
                .sentiment
                .map(|sentiment| (sentiment.model, sentiment.label))
        })
        .collect()
}

async fn an_article_is_scored_when_stored_and_when_its_text_changes(database: TestDatabase) {
    let articles = database.articles().await;
    let vader = |label| vec![Some(("vader".to_owned(), label))];
    store(&articles, &[titled("x", "A wonderful success for all")]).await;
    assert_eq!(labels(&articles).await, vader(Label::Positive));
    store(
        &articles,
        &[titled("x", "A terrible disaster kills dozens")],
    )
    .await;
    assert_eq!(labels(&articles).await, vader(Label::Negative));
    // A language that the model doesn't know: what was said of the old text no longer holds.
    let mut german = titled("x", "Ein Text in einer anderen Sprache");
    german.language = Some("de".to_owned());
    store(&articles, &[german]).await;
    assert_eq!(labels(&articles).await, [None]);
}

async fn what_cannot_be_scored_is_stored_all_the_same(database: TestDatabase) {
    for fault in ["out of order", "panic"] {
        let articles = database
            .articles()
            .await
            .scored_by(constant("1", Err(fault)));
        store(
            &articles,
            &[titled(fault, &format!("A headline to {fault}"))],
        )
        .await;
    }
    assert_eq!(labels(&database.articles().await).await, [None, None]);
}

async fn what_was_missed_is_scored_later_and_nothing_else_is_touched(database: TestDatabase) {
    let articles = database.articles().await;
    let foreign = NewArticle {
        language: Some("de".to_owned()),
        ..titled("de", "Ein Text in einer anderen Sprache")
    };
    let well = titled("well", "A wonderful success for all");
    store(&articles, &[foreign, well]).await;
    let broken = database.articles().await;
    let broken = broken.scored_by(constant("1", Err("out of order")));
    let missed: Vec<NewArticle> = (0..150)
        .map(|n| {
            titled(
                &format!("n/{n}"),
                &format!("A terrible disaster number {n}"),
            )
        })
        .collect();
    store(&broken, &missed).await;
    assert_eq!(broken.score_missed(noon()).await.expect("a round"), 0);

    let later = noon() + TimeDelta::hours(1);
    assert_eq!(articles.score_missed(later).await.expect("a round"), 150);
    assert_eq!(articles.score_missed(later).await.expect("a round"), 0);
    let all = all(&articles).await;
    let touched = all.iter().filter(|article| article.updated_at == later);
    assert_eq!(touched.count(), 150);
    let without: Vec<&str> = all
        .iter()
        .filter(|article| article.sentiment.is_none())
        .map(|article| article.title.as_str())
        .collect();
    assert_eq!(without, ["Ein Text in einer anderen Sprache"]);
    // Another model has scored these: whether anew is not decided here.
    let other = database.articles().await.scored_by(constant("2", Ok(0.5)));
    assert_eq!(other.score_missed(later).await.expect("a round"), 1);
}

async fn a_new_model_scores_what_is_there_in_batches_and_goes_on_where_it_was(
    database: TestDatabase,
) {
    let articles = database.articles().await;
    let batch: Vec<NewArticle> = (0..250)
        .map(|n| titled(&format!("n/{n}"), &format!("Headline number {n}")))
        .collect();
    store(&articles, &batch).await;
    let later = database.articles().await.scored_by(constant("1", Ok(0.5)));
    let first = later
        .rescore(0, noon())
        .await
        .expect("a batch")
        .expect("articles");
    assert_eq!((first.articles, first.scored), (100, 100));
    // As after an interruption: from the beginning, only what is left.
    let (mut after, mut scored) = (0, 0);
    while let Some(batch) = later.rescore(after, noon()).await.expect("a batch") {
        after = batch.last;
        scored += batch.scored;
    }
    assert_eq!(scored, 150);
    let expected = vec![Some(("constant".to_owned(), Label::Positive)); 250];
    assert_eq!(labels(&articles).await, expected);
    // Another version of the same model scores anew; the one that did has nothing to do.
    assert_eq!(later.rescore(0, noon()).await.expect("a batch"), None);
    let newer = database.articles().await.scored_by(constant("2", Ok(0.7)));
    assert!(newer.rescore(0, noon()).await.expect("a batch").is_some());
}

async fn articles_of_an_earlier_schema_are_caught_up_with(database: TestDatabase) {
    let articles = database
        .articles()
        .await
        .scored_by(Arc::new(Lexicon::new()));
    let headline = "A wonderful success for all the northern harbours";
    store(&articles, &[titled("one", headline)]).await;
    let mut other = titled("two", headline);
    other.outlet = Some("Elsewhere".to_owned());
    store(&articles, &[other]).await;
    for forget in [
        "UPDATE articles SET headline = NULL, language = NULL, duplicate_of = NULL",
        "DELETE FROM article_sentiments",
        "DELETE FROM search_words",
    ] {
        database.execute(forget).await;
    }
    assert_eq!(articles.catch_up(noon()).await.expect("a batch"), 2);
    assert_eq!(articles.catch_up(noon()).await.expect("a batch"), 0);
    let all = all(&articles).await;
    assert!(
        all.iter()
            .all(|article| article.language.as_deref() == Some("en")),
        "{all:?}"
    );
    assert!(
        all.iter().all(|article| article.sentiment.is_some()),
        "{all:?}"
    );
    assert_eq!(
        all.iter()
            .filter(|article| article.duplicate_of.is_some())
            .count(),
        1
    );
}

async fn what_is_stored_anew_meanwhile_is_not_computed_from_its_old_text(database: TestDatabase) {
    let articles = database.articles().await;
    let both = [("x", "A day like any other"), ("y", "Another such day")];
    let batch = both.map(|(path, title)| titled(path, title));
    store(&articles, &batch).await;
    let bad_news = ["A terrible disaster kills dozens", "Dozens die in a war"];
    for (is_catching_up, title) in [true, false].into_iter().zip(bad_news) {
        if is_catching_up {
            database
                .execute("UPDATE articles SET headline = NULL")
                .await;
        }
        let ((begun, has_begun), (let_go, go)) = (channel(), channel());
        let (name, version) = ("held".to_owned(), "1".to_owned());
        let held = database.articles().await.scored_by(Arc::new(Held {
            model: ModelName { name, version },
            begun,
            go: Mutex::new(go),
        }));
        let computing = tokio::spawn(async move {
            if is_catching_up {
                held.catch_up(noon()).await.map(drop)
            } else {
                held.rescore(0, noon()).await.map(drop)
            }
        });
        until("it begins", || async { has_begun.try_recv().is_ok() }).await;
        store(&articles, &[titled("x", title)]).await;
        drop(let_go);
        computing.await.expect("no panic").expect("a batch");
        let all = all(&articles).await;
        let tone = |title: &str| {
            let article = all.iter().find(|article| article.title == title);
            let sentiment = article.and_then(|article| article.sentiment.clone());
            sentiment.map(|sentiment| sentiment.model)
        };
        assert_eq!(tone("Another such day").as_deref(), Some("held"));
        assert_eq!(tone(title).as_deref(), Some("vader"));
    }
}
