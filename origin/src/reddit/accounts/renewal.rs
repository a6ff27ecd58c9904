//! New tokens for those that end: one refresh at a time for each account, on whatever replica.
//!
//! Must stay true: neither a connection of the database nor a lock in it is held while Reddit is asked, so that a slow Reddit is
//! nobody else's trouble. In the process, requests for one account take turns; between replicas, a lease in the account's row
//! says who refreshes. Whatever changes the row counts only if the row is still the one that was read, by its sealed token: no two
//! seals are alike. A refresh that was begun is stored even when nobody waits for it any more.

use super::{AccountFault, Accounts, OWNED, Owner};
use crate::database::{DatabaseError, on_pool, stored_time, within};
use crate::reddit::{Grant, OauthFault, Reddit, is_ending};
use crate::secret::Secret;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Longest that a request waits for new tokens.
const WAIT_MAX: Duration = Duration::from_secs(6);
/// Refreshes that are under way at the same time.
const AT_ONCE_MAX: usize = 4;
/// What a lease lasts beyond the time that Reddit has to answer: for storing.
const LEASE_MARGIN: Duration = Duration::from_secs(10);
/// Between looks at an account that another replica refreshes.
const LOOK_PAUSE: Duration = Duration::from_millis(150);
/// Further tries to store what a refresh brought.
const STORE_TRIES: u32 = 3;
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Who refreshes in this process.
#[derive(Debug)]
pub(super) struct Turns {
    owners: Mutex<HashMap<Owner, Weak<tokio::sync::Mutex<()>>>>,
    seats: Arc<Semaphore>,
}

#[derive(sqlx::FromRow)]
struct Sealed {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: DateTime<Utc>,
    needs_login: bool,
}

enum Usable {
    Now(Secret),
    /// With a new one.
    After(Due),
}

/// A refresh that is due.
struct Due {
    /// The row's token as it was read.
    sealed: String,
    refresh_token: Secret,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            owners: Mutex::default(),
            seats: Arc::new(Semaphore::new(AT_ONCE_MAX)),
        }
    }

    fn of(&self, owner: &Owner) -> Arc<tokio::sync::Mutex<()>> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = owners.get(owner).and_then(Weak::upgrade) {
            return turn;
        }
        owners.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        owners.insert(owner.clone(), Arc::downgrade(&turn));
        turn
    }
}

impl Accounts {
    /// A token to ask with: the one at hand, unless it is `spent` or about to end; then a new one.
    pub async fn access_token(
        self: &Arc<Self>,
        owner: &Owner,
        spent: Option<&Secret>,
        reddit: &Arc<Reddit>,
        now: DateTime<Utc>,
    ) -> Result<Secret, AccountFault> {
        if let Usable::Now(token) = self.look(owner, spent, now).await? {
            return Ok(token);
        }
        let renewed = tokio::time::timeout(WAIT_MAX, self.renewed(owner, spent, reddit, now));
        renewed.await.unwrap_or_else(|_| {
            let late = format!("no new token within {WAIT_MAX:?}");
            Err(OauthFault::Unavailable(late).into())
        })
    }

    async fn renewed(
        self: &Arc<Self>,
        owner: &Owner,
        spent: Option<&Secret>,
        reddit: &Arc<Reddit>,
        now: DateTime<Utc>,
    ) -> Result<Secret, AccountFault> {
        let begun = Instant::now();
        loop {
            let turn = self.turns.of(owner).lock_owned().await;
            let now = now + begun.elapsed();
            // Whoever had the turn before may have brought what is wanted.
            let due = match self.look(owner, spent, now).await? {
                Usable::Now(token) => return Ok(token),
                Usable::After(due) => due,
            };
            let seat = Arc::clone(&self.turns.seats).acquire_owned().await;
            let (accounts, reddit) = (Arc::clone(self), Arc::clone(reddit));
            let owner = owner.clone();
            let task = tokio::spawn(async move {
                let _held = (turn, seat);
                accounts.renew(&owner, &due, &reddit, now).await
            });
            let renewed = task.await.map_err(|error| {
                DatabaseError::Failed(format!("a refresh ended early: {error}"))
            })?;
            if let Some(token) = renewed? {
                return Ok(token);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn look(
        &self,
        owner: &Owner,
        spent: Option<&Secret>,
        now: DateTime<Utc>,
    ) -> Result<Usable, AccountFault> {
        let select = format!(
            "SELECT access_token, refresh_token, expires_at, needs_login FROM oauth_accounts WHERE {OWNED}"
        );
        let (user_id, browser_hash) = owner.columns();
        let row: Option<Sealed> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(user_id).bind(browser_hash)
                .fetch_optional(pool).await)?)
        })
        .await?;
        Ok(self.judge(owner, row, spent, now)?)
    }

    fn judge(
        &self,
        owner: &Owner,
        row: Option<Sealed>,
        spent: Option<&Secret>,
        now: DateTime<Utc>,
    ) -> Result<Usable, OauthFault> {
        let row = row.ok_or(OauthFault::NotConnected)?;
        if row.needs_login {
            return Err(OauthFault::BadRefreshToken);
        }
        let token = self.vault.open(&row.access_token, &owner.place("access"))?;
        // Another request may have replaced the spent one meanwhile.
        if !is_ending(row.expires_at, now) && spent != Some(&token) {
            return Ok(Usable::Now(token));
        }
        let refresh_token = row.refresh_token.ok_or(OauthFault::BadToken)?;
        Ok(Usable::After(Due {
            refresh_token: self.vault.open(&refresh_token, &owner.place("refresh"))?,
            sealed: row.access_token,
        }))
    }

    /// `None` when another replica is at it, or was.
    async fn renew(
        &self,
        owner: &Owner,
        due: &Due,
        reddit: &Reddit,
        now: DateTime<Utc>,
    ) -> Result<Option<Secret>, AccountFault> {
        let until = now + reddit.patience() + LEASE_MARGIN;
        if !self.lease(owner, due, now, until).await? {
            return Ok(None);
        }
        match reddit.refresh(&due.refresh_token, now).await {
            Ok(grant) => Ok(Some(self.keep(owner, due, grant, reddit, now).await?)),
            Err(OauthFault::BadRefreshToken) => {
                self.end(owner, due, now).await?;
                Err(OauthFault::BadRefreshToken.into())
            }
            Err(fault) => {
                self.release(owner, due).await?;
                Err(fault.into())
            }
        }
    }

    async fn lease(
        &self,
        owner: &Owner,
        due: &Due,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, DatabaseError> {
        let sql = format!(
            "UPDATE oauth_accounts SET refreshing_until = $5 WHERE {OWNED} AND access_token = $3 \
             AND (refreshing_until IS NULL OR refreshing_until <= $4)"
        );
        let (user_id, browser_hash) = owner.columns();
        within(async {
            let rows = on_pool!(self.database, pool => sqlx::query(sqlx::AssertSqlSafe(sql)).bind(user_id).bind(browser_hash)
                .bind(&due.sealed).bind(stored_time(now)).bind(stored_time(until)).execute(pool).await
                .map(|done| done.rows_affected()))?;
            Ok(rows > 0)
        })
        .await
    }

    async fn release(&self, owner: &Owner, due: &Due) -> Result<(), DatabaseError> {
        let sql = format!(
            "UPDATE oauth_accounts SET refreshing_until = NULL WHERE {OWNED} AND access_token = $3"
        );
        let (user_id, browser_hash) = owner.columns();
        within(async {
            on_pool!(self.database, pool => sqlx::query(sqlx::AssertSqlSafe(sql)).bind(user_id).bind(browser_hash)
                .bind(&due.sealed).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Reddit took the permission back: only signing in again helps.
    async fn end(&self, owner: &Owner, due: &Due, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let sql = format!(
            "UPDATE oauth_accounts SET needs_login = true, refresh_token = NULL, refreshing_until = NULL, updated_at = $4 \
             WHERE {OWNED} AND access_token = $3"
        );
        let (user_id, browser_hash) = owner.columns();
        within(async {
            on_pool!(self.database, pool => sqlx::query(sqlx::AssertSqlSafe(sql)).bind(user_id).bind(browser_hash)
                .bind(&due.sealed).bind(stored_time(now)).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Stores what a refresh brought; the old token may be spent, so what replaces it must not be lost.
    async fn keep(
        &self,
        owner: &Owner,
        due: &Due,
        grant: Grant,
        reddit: &Reddit,
        now: DateTime<Utc>,
    ) -> Result<Secret, AccountFault> {
        let mut tries = 0;
        loop {
            match self.store(owner, due, &grant, now).await {
                Ok(true) => return Ok(grant.access_token),
                Ok(false) => {
                    // The connection was ended or made anew meanwhile: these belong to nobody.
                    match self.queue_grant(owner, &grant, now).await {
                        Ok(()) => drop(self.revoke_due(reddit, now).await),
                        Err(_) => reddit.revoke_grant(grant, now).await,
                    }
                    return Err(OauthFault::NotConnected.into());
                }
                Err(AccountFault::Database(error)) if tries < STORE_TRIES => {
                    tracing::warn!(%error, "new tokens could not be stored at once");
                }
                Err(fault) => {
                    tracing::error!("new tokens were lost: the connection has to be made anew");
                    return Err(fault);
                }
            }
            tries += 1;
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    /// An answer without a refresh token leaves the old one as it is. False when the row is not the one that was read.
    async fn store(
        &self,
        owner: &Owner,
        due: &Due,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<bool, AccountFault> {
        let sql = format!(
            "UPDATE oauth_accounts SET access_token = $4, refresh_token = coalesce($5, refresh_token), expires_at = $6, \
             scope = CASE WHEN $7 = '' THEN scope ELSE $7 END, needs_login = false, refreshing_until = NULL, updated_at = $8 \
             WHERE {OWNED} AND access_token = $3"
        );
        let (access, refresh) = self.seal(owner, grant)?;
        let (user_id, browser_hash) = owner.columns();
        let rows = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query(sqlx::AssertSqlSafe(sql)).bind(user_id).bind(browser_hash)
                .bind(&due.sealed).bind(&access).bind(&refresh).bind(stored_time(grant.expires_at)).bind(&grant.scope)
                .bind(stored_time(now)).execute(pool).await.map(|done| done.rows_affected()))?)
        })
        .await?;
        Ok(rows > 0)
    }
}
