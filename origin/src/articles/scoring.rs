//! How texts are scored: away from the threads that answer requests, one batch at a time, and before any transaction begins.
//!
//! A model may take its time; the database's deadline and its locks are no place to wait for it. So what somebody waits for is
//! bounded here: texts that aren't reached in time have no score, are stored without one, and are found again by its absence
//! (`backfill`). A model that is busy is hardly waited for: else one text that hangs would hold everybody up.

use crate::sentiment::{Score, Scorer, Text};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// What a single text may take beyond the time for all of them, before it is given up.
const GRACE: Duration = Duration::from_secs(1);

/// How long somebody waits for a model that others use.
const TURN_WAIT_MAX: Duration = Duration::from_secs(1);

/// A text to be scored, owned: scoring runs where it may take its time.
#[derive(Debug, Clone)]
pub(super) struct OwnedText {
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) language: Option<String>,
}

/// A model, and whose turn it is to use it: several batches at once would only slow each other down.
#[derive(Debug, Clone)]
pub(super) struct Scoring {
    scorer: Arc<dyn Scorer>,
    turn: Arc<Semaphore>,
}

impl Scoring {
    pub(super) fn new(scorer: Arc<dyn Scorer>) -> Self {
        Self {
            scorer,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    pub(super) fn scorer(&self) -> &dyn Scorer {
        &*self.scorer
    }

    /// Scores texts, whatever time that takes. What fails has no score.
    pub(super) async fn score<K: Ord + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
    ) -> BTreeMap<K, Option<Score>> {
        self.run(texts, None).await
    }

    /// Scores texts as far as that is possible in this time. What fails or isn't reached has no score.
    pub(super) async fn score_within<K: Ord + Clone + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
        time: Duration,
    ) -> BTreeMap<K, Option<Score>> {
        let keys: Vec<K> = texts.iter().map(|(key, _)| key.clone()).collect();
        let mut scored = self.score_reached(texts, time).await;
        let unscored = keys.iter().filter(|key| !scored.contains_key(key)).count();
        if unscored > 0 {
            let model = &self.scorer.model().name;
            tracing::warn!(unscored, model, "texts were not scored, or not in time");
        }
        for key in keys {
            scored.entry(key).or_insert(None);
        }
        scored
    }

    /// The same without those that weren't reached.
    pub(super) async fn score_reached<K: Ord + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
        time: Duration,
    ) -> BTreeMap<K, Option<Score>> {
        let until = Instant::now() + time;
        let scored = tokio::time::timeout(time + GRACE, self.run(texts, Some(until))).await;
        scored.unwrap_or_default()
    }

    /// Without those that were not begun in time. The turn goes with the work: it lasts as long, though nobody may wait any more.
    async fn run<K: Ord + Send + 'static>(
        &self,
        texts: Vec<(K, OwnedText)>,
        until: Option<Instant>,
    ) -> BTreeMap<K, Option<Score>> {
        if texts.is_empty() {
            return BTreeMap::new();
        }
        let turn = Arc::clone(&self.turn).acquire_owned();
        let turn = match until {
            None => turn.await.ok(),
            Some(_) => {
                let turn = tokio::time::timeout(TURN_WAIT_MAX, turn).await;
                turn.ok().and_then(Result::ok)
            }
        };
        let Some(turn) = turn else {
            return BTreeMap::new();
        };
        let scorer = Arc::clone(&self.scorer);
        let scored = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let is_time = || until.is_none_or(|until| Instant::now() < until);
            let texts = texts.into_iter().take_while(|_| is_time());
            let scored = texts.map(|(key, text)| {
                let score = score(&*scorer, &text);
                (key, score)
            });
            scored.collect()
        });
        scored.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the scorer panicked");
            BTreeMap::new()
        })
    }
}

fn score(scorer: &dyn Scorer, text: &OwnedText) -> Option<Score> {
    let text = Text {
        title: &text.title,
        description: text.description.as_deref(),
        language: text.language.as_deref(),
    };
    scorer.score(text).unwrap_or_else(|error| {
        tracing::warn!(%error, model = scorer.model().name, "a text could not be scored");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentiment::{Label, ModelName, ScoreError};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Scores one text for each word it is given, and waits for it.
    #[derive(Debug)]
    struct Patient {
        model: ModelName,
        begun: Sender<()>,
        go: Mutex<Receiver<()>>,
    }

    impl Scorer for Patient {
        fn model(&self) -> &ModelName {
            &self.model
        }

        fn score(&self, _: Text<'_>) -> Result<Option<Score>, ScoreError> {
            let _ = self.begun.send(());
            let go = self.go.lock().expect("no panic while locked").recv();
            go.map_err(|_| ScoreError("nobody is there".to_owned()))?;
            let (value, label) = (0.5, Label::Positive);
            Ok(Some(Score { value, label }))
        }
    }

    fn patient() -> (Scoring, Receiver<()>, Sender<()>) {
        let ((begun, has_begun), (let_go, go)) = (channel(), channel());
        let (name, version) = ("patient".to_owned(), "1".to_owned());
        let scorer = Patient {
            model: ModelName { name, version },
            begun,
            go: Mutex::new(go),
        };
        (Scoring::new(Arc::new(scorer)), has_begun, let_go)
    }

    fn texts(keys: &[i64]) -> Vec<(i64, OwnedText)> {
        let text = |key: &i64| OwnedText {
            title: format!("Text {key}"),
            description: None,
            language: None,
        };
        keys.iter().map(|key| (*key, text(key))).collect()
    }

    #[tokio::test]
    async fn what_is_not_reached_in_time_has_no_score() {
        let (scoring, has_begun, _let_go) = patient();
        let scored = scoring.score_within(texts(&[1, 2]), Duration::ZERO).await;
        assert_eq!(scored, BTreeMap::from([(1, None), (2, None)]));
        assert!(has_begun.try_recv().is_err(), "it was not even begun");
    }

    #[tokio::test]
    async fn a_model_that_hangs_is_given_up_and_its_turn_comes_back_with_it() {
        let (scoring, has_begun, let_go) = patient();
        let time = Duration::from_millis(50);
        let scored = scoring.score_within(texts(&[1]), time).await;
        assert_eq!(scored, BTreeMap::from([(1, None)]));
        has_begun.recv().expect("it was begun");
        // Nobody else begins while it hangs, nor waits for it for long.
        let begun = Instant::now();
        let hour = Duration::from_secs(3_600);
        let scored = scoring.score_within(texts(&[2]), hour).await;
        assert_eq!(scored, BTreeMap::from([(2, None)]));
        assert!(begun.elapsed() < Duration::from_secs(60));
        assert!(has_begun.try_recv().is_err());
        for _ in 0..2 {
            let_go.send(()).expect("somebody waits");
        }
        let scored = scoring.score(texts(&[3])).await;
        assert!(scored[&3].is_some());
    }
}
