//! Whose tokens are kept: every SQL statement on OAuth's states and accounts.
//!
//! Must stay true: a state is used once; tokens lie sealed, each bound to its owner; one refresh at a time for each account, on
//! whatever replica, and what it brought is stored in the transaction that locked the account before it was asked for.

use super::{Grant, OauthFault, Reddit, is_ending};
use crate::database::{Database, DatabaseError, Dialect, on_pool, stored_time, within};
use crate::secret::Secret;
use crate::vault::Vault;
use chrono::{DateTime, TimeDelta, Utc};
use std::sync::Arc;

/// Reddit's codes live ten minutes, so nobody needs longer.
const STATE_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// A connection that belongs to a browser alone ends when it was not used for so long.
const BROWSER_LIFETIME: TimeDelta = TimeDelta::days(30);
/// Connections out of use that one new connection clears away.
const FORGOTTEN_MAX: i64 = 5;
/// Further tries to store what a refresh brought, when the transaction could not.
const STORE_TRIES: u32 = 3;
const STORE_PAUSE: std::time::Duration = std::time::Duration::from_millis(500);

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A signed-in user.
    User(i64),
    /// Whoever holds the cookie with this digest.
    Browser(String),
}

/// Somebody who was sent to Reddit and is expected back.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Pending {
    /// Digest of the cookie that the browser was given.
    pub browser_hash: String,
    pub user_id: Option<i64>,
}

/// A connection, as its owner may see it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Account {
    /// The name at Reddit, when it told us.
    pub name: Option<String>,
    pub scope: String,
    pub connected_at: DateTime<Utc>,
    /// Reddit took the tokens back: only signing in again helps.
    pub needs_login: bool,
}

/// Tokens of a connection that has ended: to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub refresh_token: Option<Secret>,
    pub access_token: Option<Secret>,
}

/// A connection that was deleted, and whose it was.
#[derive(sqlx::FromRow)]
struct Deleted {
    user_id: Option<i64>,
    browser_hash: Option<String>,
    access_token: String,
    refresh_token: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Sealed {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: DateTime<Utc>,
    needs_login: bool,
}

/// What went wrong with an account.
#[derive(Debug, thiserror::Error)]
pub enum AccountFault {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Oauth(#[from] OauthFault),
}

/// The states and accounts, in either database.
#[derive(Debug)]
pub struct Accounts {
    database: Database,
    vault: Vault,
}

const OWNED: &str = "provider = 'reddit' AND (user_id = $1 OR browser_hash = $2)";
const BEGIN: &str = "INSERT INTO oauth_states (state_hash, browser_hash, user_id, expires_at) VALUES ($1, $2, $3, $4)";
const EXPIRE: &str = "DELETE FROM oauth_states WHERE expires_at <= $1";
const TAKE: &str = "DELETE FROM oauth_states WHERE state_hash = $1 AND expires_at > $2 RETURNING browser_hash, user_id";
const FORGET: &str = "DELETE FROM oauth_accounts WHERE id IN (SELECT id FROM oauth_accounts WHERE user_id IS NULL \
    AND updated_at < $1 ORDER BY updated_at LIMIT $2) RETURNING user_id, browser_hash, access_token, refresh_token";
const INSERT: &str = "INSERT INTO oauth_accounts (provider, user_id, browser_hash, name, scope, access_token, refresh_token, \
    expires_at, needs_login, connected_at, updated_at) VALUES ('reddit', $1, $2, $3, $4, $5, $6, $7, false, $8, $8)";

impl Accounts {
    pub fn new(database: &Database, vault: Vault) -> Self {
        Self {
            database: database.clone(),
            vault,
        }
    }

    /// Remembers that a browser is being sent to Reddit. States are known by their digests alone.
    pub async fn begin(
        &self,
        state_hash: &str,
        pending: &Pending,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            sqlx::query(EXPIRE).bind(stored_time(now)).execute(&mut *tx).await?;
            sqlx::query(BEGIN).bind(state_hash).bind(&pending.browser_hash).bind(pending.user_id)
                .bind(stored_time(now + STATE_LIFETIME)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(())
        })})
        .await
    }

    /// Uses a state up.
    pub async fn take(
        &self,
        state_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Pending>, DatabaseError> {
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(TAKE).bind(state_hash).bind(stored_time(now))
                .fetch_optional(pool).await)?)
        })
        .await
    }

    /// Keeps the tokens of a new connection, in place of an older one of the same owner; gives back what ended by that.
    pub async fn connect(
        &self,
        owner: &Owner,
        grant: &Grant,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Vec<Ended>, AccountFault> {
        let (access, refresh) = self.seal(owner, grant)?;
        let (user_id, browser_hash) = owner.columns();
        let ended: Vec<Deleted> = within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                let mut ended: Vec<Deleted> = sqlx::query_as(FORGET).bind(stored_time(now - BROWSER_LIFETIME)).bind(FORGOTTEN_MAX)
                    .fetch_all(&mut *tx).await?;
                ended.extend(sqlx::query_as::<_, Deleted>(sqlx::AssertSqlSafe(delete())).bind(user_id).bind(browser_hash)
                    .fetch_optional(&mut *tx).await?);
                sqlx::query(INSERT).bind(user_id).bind(browser_hash).bind(name).bind(&grant.scope).bind(&access).bind(&refresh)
                    .bind(stored_time(grant.expires_at)).bind(stored_time(now)).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(ended)
            })
        })
        .await?;
        Ok(ended.into_iter().filter_map(|row| self.open(row)).collect())
    }

    /// The owner's connection.
    pub async fn of(&self, owner: &Owner) -> Result<Option<Account>, DatabaseError> {
        let sql = format!(
            "SELECT name, scope, connected_at, needs_login FROM oauth_accounts WHERE {OWNED}"
        );
        let (user_id, browser_hash) = owner.columns();
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user_id).bind(browser_hash)
                .fetch_optional(pool).await)?)
        })
        .await
    }

    /// A token to ask with: the one at hand, unless it is `spent` or about to end; then a new one. In a task of its own: a
    /// refresh that was begun is stored even when nobody waits for it any more.
    pub async fn access_token(
        self: &Arc<Self>,
        owner: &Owner,
        spent: Option<Secret>,
        reddit: &Arc<Reddit>,
        now: DateTime<Utc>,
    ) -> Result<Secret, AccountFault> {
        let (accounts, reddit, owner) = (Arc::clone(self), Arc::clone(reddit), owner.clone());
        let task = tokio::spawn(async move { accounts.usable(&owner, spent, &reddit, now).await });
        task.await.unwrap_or_else(|error| {
            Err(DatabaseError::Failed(format!("a refresh ended early: {error}")).into())
        })
    }

    async fn usable(
        &self,
        owner: &Owner,
        spent: Option<Secret>,
        reddit: &Reddit,
        now: DateTime<Utc>,
    ) -> Result<Secret, AccountFault> {
        let lock = match self.database.dialect() {
            Dialect::Postgres => " FOR UPDATE",
            // There the transaction itself is the lock.
            Dialect::Sqlite => "",
        };
        let select = format!(
            "SELECT access_token, refresh_token, expires_at, needs_login FROM oauth_accounts WHERE {OWNED}{lock}"
        );
        let (user_id, browser_hash) = owner.columns();
        let mut fresh: Option<Grant> = None;
        let answered = within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            let row: Option<Sealed> = sqlx::query_as(sqlx::AssertSqlSafe(select)).bind(user_id).bind(browser_hash)
                .fetch_optional(&mut *tx).await?;
            let refresh_token = match self.judge(owner, row, spent.as_ref(), now) {
                Ok(Usable::Now(token)) => return Ok(Ok(token)),
                Ok(Usable::After(refresh_token)) => refresh_token,
                Err(fault) => return Ok(Err(fault)),
            };
            let grant = match reddit.refresh(&refresh_token, now).await {
                Ok(grant) => &*fresh.insert(grant),
                Err(OauthFault::BadRefreshToken) => {
                    sqlx::query(sqlx::AssertSqlSafe(ended())).bind(user_id).bind(browser_hash).bind(stored_time(now))
                        .execute(&mut *tx).await?;
                    tx.commit().await?;
                    return Ok(Err(OauthFault::BadRefreshToken));
                }
                Err(fault) => return Ok(Err(fault)),
            };
            let (access, refresh) = match self.seal(owner, grant) {
                Ok(sealed) => sealed,
                Err(fault) => return Ok(Err(fault)),
            };
            sqlx::query(sqlx::AssertSqlSafe(refreshed())).bind(user_id).bind(browser_hash).bind(&access).bind(&refresh)
                .bind(stored_time(grant.expires_at)).bind(&grant.scope).bind(stored_time(now)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(Ok(grant.access_token.clone()))
        })})
        .await;
        match (answered, fresh) {
            (Ok(answer), _) => Ok(answer?),
            // The old token may be spent: what replaced it must not be lost.
            (Err(error), Some(grant)) => {
                tracing::warn!(%error, "new tokens could not be stored at once");
                self.store_again(owner, &grant, now).await?;
                Ok(grant.access_token)
            }
            (Err(error), None) => Err(error.into()),
        }
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
        let refresh_token = self.vault.open(&refresh_token, &owner.place("refresh"))?;
        Ok(Usable::After(refresh_token))
    }

    async fn store_again(
        &self,
        owner: &Owner,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<(), AccountFault> {
        let (access, refresh) = self.seal(owner, grant)?;
        let (user_id, browser_hash) = owner.columns();
        let mut failure = None;
        for _ in 0..STORE_TRIES {
            tokio::time::sleep(STORE_PAUSE).await;
            let stored = within(async {
                on_pool!(self.database, pool => sqlx::query(sqlx::AssertSqlSafe(refreshed())).bind(user_id).bind(browser_hash)
                    .bind(&access).bind(&refresh).bind(stored_time(grant.expires_at)).bind(&grant.scope)
                    .bind(stored_time(now)).execute(pool).await.map(drop))?;
                Ok(())
            });
            match stored.await {
                Ok(()) => return Ok(()),
                Err(error) => failure = Some(error),
            }
        }
        tracing::error!("new tokens were lost: the connection has to be made anew");
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Ends the owner's connection and gives its tokens back, to be revoked.
    pub async fn disconnect(&self, owner: &Owner) -> Result<Option<Ended>, DatabaseError> {
        let (user_id, browser_hash) = owner.columns();
        let row: Option<Deleted> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(sqlx::AssertSqlSafe(delete())).bind(user_id).bind(browser_hash)
                .fetch_optional(pool).await)?)
        })
        .await?;
        Ok(row.and_then(|row| self.open(row)))
    }

    /// What was sealed under a key that is gone cannot be revoked.
    fn open(&self, row: Deleted) -> Option<Ended> {
        let owner = match (row.user_id, row.browser_hash) {
            (Some(id), _) => Owner::User(id),
            (None, hash) => Owner::Browser(hash?),
        };
        let open = |sealed: &str, kind| self.vault.open(sealed, &owner.place(kind)).ok();
        Some(Ended {
            refresh_token: row
                .refresh_token
                .and_then(|sealed| open(&sealed, "refresh")),
            access_token: open(&row.access_token, "access"),
        })
    }

    fn seal(&self, owner: &Owner, grant: &Grant) -> Result<(String, Option<String>), OauthFault> {
        let seal = |token: &Secret, kind| self.vault.seal(token.expose(), &owner.place(kind));
        let refresh = grant
            .refresh_token
            .as_ref()
            .map(|token| seal(token, "refresh"));
        Ok((seal(&grant.access_token, "access")?, refresh.transpose()?))
    }
}

impl From<Grant> for Ended {
    fn from(grant: Grant) -> Self {
        Self {
            refresh_token: grant.refresh_token,
            access_token: Some(grant.access_token),
        }
    }
}

enum Usable {
    Now(Secret),
    /// With a new one, for this refresh token.
    After(Secret),
}

fn delete() -> String {
    format!(
        "DELETE FROM oauth_accounts WHERE {OWNED} RETURNING user_id, browser_hash, access_token, refresh_token"
    )
}

/// An answer without a refresh token leaves the old one as it is.
fn refreshed() -> String {
    format!(
        "UPDATE oauth_accounts SET access_token = $3, refresh_token = coalesce($4, refresh_token), expires_at = $5, \
         scope = CASE WHEN $6 = '' THEN scope ELSE $6 END, needs_login = false, updated_at = $7 WHERE {OWNED}"
    )
}

fn ended() -> String {
    format!(
        "UPDATE oauth_accounts SET needs_login = true, refresh_token = NULL, updated_at = $3 WHERE {OWNED}"
    )
}

impl Owner {
    fn columns(&self) -> (Option<i64>, Option<&str>) {
        match self {
            Self::User(id) => (Some(*id), None),
            Self::Browser(hash) => (None, Some(hash)),
        }
    }

    /// What a sealed token is bound to.
    fn place(&self, kind: &str) -> String {
        match self {
            Self::User(id) => format!("oauth_accounts/reddit/user/{id}/{kind}"),
            Self::Browser(hash) => format!("oauth_accounts/reddit/browser/{hash}/{kind}"),
        }
    }
}
