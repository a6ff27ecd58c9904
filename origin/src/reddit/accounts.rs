//! Whose tokens are kept: every SQL statement on OAuth's states and accounts.
//!
//! Must stay true: a state is used once; tokens lie sealed, each bound to its owner. How they are replaced stands in `renewal`, and how
//! those of ended connections are taken back in `revocations`.

mod renewal;
mod revocations;

pub(crate) use revocations::end_of_user;
pub use revocations::forget_revocations;

use super::{Grant, OauthFault};
use crate::database::{Connection, Database, DatabaseError, Dialect, on_pool, stored_time, within};
use crate::secret::Secret;
use crate::vault::Vault;
use chrono::{DateTime, TimeDelta, Utc};
use renewal::Turns;

/// Reddit's codes live ten minutes, so nobody needs longer.
const STATE_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// A connection that belongs to a browser alone ends when it was not used for so long.
const BROWSER_LIFETIME: TimeDelta = TimeDelta::days(30);
/// Connections out of use that one new connection clears away.
const FORGOTTEN_MAX: i64 = 5;

/// Whose connection it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

/// A connection that was deleted, and whose it was; its tokens are sealed.
#[derive(sqlx::FromRow)]
struct Ended {
    user_id: Option<i64>,
    browser_hash: Option<String>,
    access_token: String,
    refresh_token: Option<String>,
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
    turns: Turns,
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
            turns: Turns::new(),
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

    /// Keeps the tokens of a new connection, in place of an older one of the same owner.
    pub async fn connect(
        &self,
        owner: &Owner,
        grant: &Grant,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), AccountFault> {
        let (access, refresh) = self.seal(owner, grant)?;
        let (user_id, browser_hash) = owner.columns();
        let lock = match self.database.dialect() {
            Dialect::Postgres => "SELECT id FROM users WHERE id = $1 FOR KEY SHARE",
            // The transaction has the lock there is.
            Dialect::Sqlite => "SELECT id FROM users WHERE id = $1",
        };
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                // Before the connection's row, as whoever deletes the account.
                sqlx::query(lock).bind(user_id).execute(&mut *tx).await?;
                let forgotten: Vec<Ended> = sqlx::query_as(FORGET).bind(stored_time(now - BROWSER_LIFETIME)).bind(FORGOTTEN_MAX)
                    .fetch_all(&mut *tx).await?;
                let connection = &mut Connection::from(&mut *tx);
                revocations::queue(connection, &forgotten, now).await?;
                revocations::end(connection, owner, now).await?;
                sqlx::query(INSERT).bind(user_id).bind(browser_hash).bind(name).bind(&grant.scope).bind(&access).bind(&refresh)
                    .bind(stored_time(grant.expires_at)).bind(stored_time(now)).execute(&mut *tx).await?;
                tx.commit().await?;
                Ok(())
            })
        })
        .await?;
        Ok(())
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

    /// Ends the owner's connection; its tokens are to be taken back.
    pub async fn disconnect(&self, owner: &Owner, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                revocations::end(&mut Connection::from(&mut *tx), owner, now).await?;
                tx.commit().await?;
                Ok(())
            })
        })
        .await
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

impl Ended {
    /// Each sealed token with what it is bound to; the one that is good for longest comes first.
    fn tokens(&self) -> impl Iterator<Item = (String, &str)> {
        let owner = match (self.user_id, &self.browser_hash) {
            (Some(id), _) => Some(Owner::User(id)),
            (None, hash) => hash.clone().map(Owner::Browser),
        };
        let tokens = [
            ("refresh", self.refresh_token.as_deref()),
            ("access", Some(self.access_token.as_str())),
        ];
        owner.into_iter().flat_map(move |owner| {
            let tokens = tokens.into_iter();
            let placed: Vec<_> = tokens
                .filter_map(|(kind, token)| Some((owner.place(kind), token?)))
                .collect();
            placed
        })
    }
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
