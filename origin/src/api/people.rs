//! What the answers to people share: their accounts, their board, and how often one of them may try what is costly.

use super::client::Client;
use super::error::ApiError;
use super::exchange::Asker;
use super::failures::Failures;
use super::limit::{HOUR, Limiter, Pace};
use crate::board::Board;
use crate::config::Config;
use crate::database::Database;
use crate::outbox::Outbox;
use crate::preferences::Preferences;
use crate::users::{Email, Passwords, Users};
use crate::views::Views;
use chrono::TimeDelta;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Of one user. More than anybody adds by hand.
const FEEDS_PER_HOUR_MAX: NonZeroU32 = NonZeroU32::new(30).expect("not zero");

/// Feeds that are tried at the same time, whoever adds them: each may bring megabytes.
const INTRODUCTIONS_MAX: usize = 8;
/// Longest wait to be one of those.
const INTRODUCTION_WAIT_MAX: Duration = Duration::from_secs(5);

/// Shared by the handlers of accounts and of the board.
#[derive(Debug)]
pub(super) struct People {
    pub(super) users: Users,
    pub(super) passwords: Passwords,
    pub(super) preferences: Preferences,
    pub(super) board: Board,
    pub(super) views: Views,
    pub(super) session_ttl: TimeDelta,
    public_url: Option<Url>,
    logins: Option<Mutex<Limiter>>,
    registrations: Option<Mutex<Limiter>>,
    messages: Option<Mutex<Limiter>>,
    failures: Mutex<Failures>,
    /// Feeds tried, by user: each is a request to wherever the user says.
    feeds: Mutex<Pace<i64>>,
    introductions: Arc<Semaphore>,
}

impl People {
    pub(super) fn new(config: &Config, database: &Database, outbox: Outbox) -> Self {
        let limiter = |rate: Option<NonZeroU32>| rate.map(|rate| Mutex::new(Limiter::new(rate)));
        Self {
            users: Users::with_outbox(database, outbox),
            passwords: Passwords::for_this_machine(),
            preferences: Preferences::new(database),
            board: Board::new(database),
            views: Views::new(database),
            // Settings are bounded to a year.
            session_ttl: TimeDelta::from_std(config.session_ttl).unwrap_or(TimeDelta::MAX),
            public_url: config.public_url.clone().map(|url| url.0),
            logins: limiter(config.login_rate_limit_per_minute),
            registrations: config
                .registration_rate_limit_per_hour
                .map(|rate| Mutex::new(Limiter::hourly(rate))),
            messages: limiter(config.message_rate_limit_per_minute),
            failures: Mutex::new(Failures::new()),
            introductions: Arc::new(Semaphore::new(INTRODUCTIONS_MAX)),
            feeds: Mutex::new(Pace::new(FEEDS_PER_HOUR_MAX, HOUR)),
        }
    }

    /// Where people reach us, when that was told.
    pub(super) fn public_url(&self) -> Option<&Url> {
        self.public_url.as_ref()
    }

    /// Whether cookies may travel over https alone.
    pub(super) fn is_https(&self, asker: &Asker) -> bool {
        let told = self.public_url().map(|url| url.scheme() == "https");
        told.unwrap_or(asker.https)
    }

    /// Counts a try to sign in or up.
    pub(super) fn admit_login(&self, asker: &Asker) -> Result<(), ApiError> {
        admit(self.logins.as_ref(), asker)
    }

    /// Counts a try to sign up: each account may have feeds, and its words on the board, so there are fewer of these.
    pub(super) fn admit_registration(&self, asker: &Asker) -> Result<(), ApiError> {
        self.admit_login(asker)?;
        admit(self.registrations.as_ref(), asker)
    }

    /// Counts a message.
    pub(super) fn admit_message(&self, asker: &Asker) -> Result<(), ApiError> {
        admit(self.messages.as_ref(), asker)
    }

    /// Counts a feed that a user wants to add.
    pub(super) fn admit_feed(&self, user_id: i64) -> Result<(), ApiError> {
        lock(&self.feeds)
            .admit(user_id, Instant::now())
            .map_err(limited)
    }

    /// Waits for a seat among the feeds that are tried.
    pub(super) async fn introduction(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let seat = Arc::clone(&self.introductions).acquire_owned();
        let seat = tokio::time::timeout(INTRODUCTION_WAIT_MAX, seat).await;
        // It is never closed.
        seat.ok()
            .and_then(Result::ok)
            .ok_or_else(|| limited(INTRODUCTION_WAIT_MAX))
    }

    /// Counts a failure to sign in to an account, before it is known to be one: many at once must not slip through.
    pub(super) fn count_failure(&self, email: &Email, asker: &Asker) -> Result<(), ApiError> {
        lock(&self.failures)
            .count(email, asker.client.address(), asker.begun)
            .map_err(limited)
    }

    /// Takes that back: it was none.
    pub(super) fn forget_failure(&self, email: &Email, asker: &Asker) {
        lock(&self.failures).forget(email, asker.client.address(), asker.begun);
    }
}

fn admit(limiter: Option<&Mutex<Limiter>>, asker: &Asker) -> Result<(), ApiError> {
    // A trusted proxy names the client of what it passes on; one that names nobody is counted as one client here, because what
    // is counted is never fetched on many clients' behalf.
    let (Client::At(address) | Client::Proxy(address)) = asker.client;
    match limiter {
        Some(limiter) => lock(limiter).admit(address, asker.begun).map_err(limited),
        None => Ok(()),
    }
}

fn limited(wait: Duration) -> ApiError {
    ApiError::RateLimited {
        retry_after_secs: wait.as_secs_f64().ceil() as u64,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
