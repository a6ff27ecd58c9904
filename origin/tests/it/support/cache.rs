//! A cache that notes what it is told, and does as the test says.

use async_trait::async_trait;
use larder_origin::outbox::{Cache, Purge, PurgeFault};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone, Default)]
pub(crate) struct TestCache(Arc<State>);

#[derive(Debug, Default)]
struct State {
    refuses: AtomicBool,
    holds: AtomicBool,
    asked: AtomicUsize,
    purges: Mutex<Vec<Purge>>,
}

impl TestCache {
    /// One that confirms everything.
    pub(crate) fn well() -> Self {
        Self::default()
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.0.refuses.store(refuses, Ordering::SeqCst);
    }

    /// It never answers.
    pub(crate) fn hold(&self) {
        self.0.holds.store(true, Ordering::SeqCst);
    }

    /// How often it was told anything, confirmed or not.
    pub(crate) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// What it confirmed.
    pub(crate) fn purges(&self) -> Vec<Purge> {
        self.0
            .purges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The tags of each purge that it confirmed.
    pub(crate) fn told(&self) -> Vec<BTreeSet<String>> {
        let tags = |purge: &Purge| match purge {
            Purge::Tags(tags) => tags.iter().map(ToString::to_string).collect(),
            Purge::Everything => BTreeSet::from(["everything".to_owned()]),
        };
        self.purges().iter().map(tags).collect()
    }
}

#[async_trait]
impl Cache for TestCache {
    async fn purge(&self, purge: &Purge) -> Result<(), PurgeFault> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        if self.0.holds.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        if self.0.refuses.load(Ordering::SeqCst) {
            return Err(PurgeFault("the test says so".to_owned()));
        }
        let mut purges = self.0.purges.lock().unwrap_or_else(PoisonError::into_inner);
        purges.push(purge.clone());
        Ok(())
    }
}
