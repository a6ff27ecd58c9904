//! Tokens that Reddit is to take back: sealed as they were, until it has, or a week is over.
//!
//! Must stay true: whatever deletes a connection queues its tokens in the same transaction, so that they are neither forgotten nor
//! waited for: the connection is gone when that is committed, whatever Reddit says. Replicas share the rows by taking each for a while.
//! A week's end needs nobody who speaks to Reddit: tokens are forgotten as well where it has been turned off.

use super::{Accounts, Ended, Owner};
use crate::database::{
    Connection, Database, DatabaseError, on_connection, on_pool, stored_time, within,
};
use crate::reddit::{Grant, Reddit};
use chrono::{DateTime, TimeDelta, Utc};
use std::time::{Duration, Instant};

/// What Reddit has not taken by then it is not asked for any more.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Tokens that one round takes back; further ones wait for the next.
const AT_ONCE_MAX: usize = 20;
/// What a round may have a token for beyond the time that Reddit has to answer.
const TURN_MARGIN: Duration = Duration::from_secs(10);
/// After the first failure; twice as long after each further one.
const PAUSE: TimeDelta = TimeDelta::minutes(1);
const PAUSE_MAX: TimeDelta = TimeDelta::hours(6);

const END: &str = "DELETE FROM oauth_accounts WHERE provider = 'reddit' AND (user_id = $1 OR browser_hash = $2) \
    RETURNING user_id, browser_hash, access_token, refresh_token";
const EXPIRE: &str = "DELETE FROM oauth_revocations WHERE queued_at <= $1";
const QUEUE: &str = "INSERT INTO oauth_revocations (place, token, queued_at, try_at, tries) VALUES ($1, $2, $3, $3, 0)";
const TAKE: &str = "UPDATE oauth_revocations SET tries = tries + 1, try_at = $2 WHERE try_at <= $1 AND id = \
    (SELECT id FROM oauth_revocations WHERE try_at <= $1 ORDER BY try_at, id LIMIT 1) RETURNING id, place, token, tries";
const PUT_OFF: &str = "UPDATE oauth_revocations SET try_at = $2 WHERE id = $1";
const DONE: &str = "DELETE FROM oauth_revocations WHERE id = $1";

/// A token that is to be taken back, sealed.
#[derive(sqlx::FromRow)]
struct Due {
    id: i64,
    /// What its seal is bound to.
    place: String,
    token: String,
    tries: i64,
}

impl Due {
    /// Reddit's word for what it is.
    fn hint(&self) -> &'static str {
        match self.place.ends_with("/refresh") {
            true => "refresh_token",
            false => "access_token",
        }
    }
}

/// Ends an owner's connection, if there is one, within the caller's transaction.
pub(super) async fn end(
    connection: &mut Connection<'_>,
    owner: &Owner,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let (user_id, browser_hash) = owner.columns();
    let ended: Vec<Ended> = on_connection!(connection, c => {
        sqlx::query_as(END).bind(user_id).bind(browser_hash).fetch_all(&mut **c).await?
    });
    queue(connection, &ended, now).await
}

/// Ends what a user had connected, within the transaction that deletes the user.
pub(crate) async fn end_of_user(
    connection: &mut Connection<'_>,
    user_id: i64,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    end(connection, &Owner::User(user_id), now).await
}

/// Forgets the tokens that Reddit has not taken back in a week, whether anybody still speaks to it here or not.
pub async fn forget_revocations(
    database: &Database,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let expired = stored_time(now - KEPT);
    within(async {
        on_pool!(database, pool => sqlx::query(EXPIRE).bind(expired).execute(pool).await.map(drop))?;
        Ok(())
    })
    .await
}

/// Queues the tokens of ended connections.
pub(super) async fn queue(
    connection: &mut Connection<'_>,
    ended: &[Ended],
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let now = stored_time(now);
    on_connection!(connection, c => {
        for (place, token) in ended.iter().flat_map(Ended::tokens) {
            sqlx::query(QUEUE).bind(place).bind(token).bind(now).execute(&mut **c).await?;
        }
    });
    Ok(())
}

impl Accounts {
    /// Takes back what is due. A failure ends the round: what one token meets others would meet too. Gives how many Reddit took.
    pub async fn revoke_due(
        &self,
        reddit: &Reddit,
        now: DateTime<Utc>,
    ) -> Result<usize, DatabaseError> {
        let begun = Instant::now();
        let mut taken = 0;
        while taken < AT_ONCE_MAX {
            let now = now + begun.elapsed();
            let Some(due) = self.take_due(reddit, now).await? else {
                break;
            };
            let Ok(token) = self.vault.open(&due.token, &due.place) else {
                tracing::warn!(
                    "a token that is to be taken back was sealed under a key that is gone"
                );
                self.done(due.id).await?;
                continue;
            };
            if let Err(fault) = reddit.revoke(&token, due.hint(), now).await {
                tracing::warn!(%fault, hint = due.hint(), tries = due.tries, "Reddit did not take a token back yet");
                self.put_off(due.id, now + pause(due.tries)).await?;
                break;
            }
            self.done(due.id).await?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Queues tokens that belong to no connection (any more).
    pub(super) async fn queue_grant(
        &self,
        owner: &Owner,
        grant: &Grant,
        now: DateTime<Utc>,
    ) -> Result<(), super::AccountFault> {
        let (access_token, refresh_token) = self.seal(owner, grant)?;
        let (user_id, browser_hash) = owner.columns();
        let ended = [Ended {
            user_id,
            browser_hash: browser_hash.map(str::to_owned),
            access_token,
            refresh_token,
        }];
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                queue(&mut Connection::from(&mut *tx), &ended, now).await?;
                tx.commit().await?;
                Ok(())
            })
        })
        .await?;
        Ok(())
    }

    async fn take_due(
        &self,
        reddit: &Reddit,
        now: DateTime<Utc>,
    ) -> Result<Option<Due>, DatabaseError> {
        let until = stored_time(now + reddit.patience() + TURN_MARGIN);
        within(async {
            on_pool!(self.database, pool => {
                sqlx::query(EXPIRE).bind(stored_time(now - KEPT)).execute(pool).await?;
                Ok(sqlx::query_as(TAKE).bind(stored_time(now)).bind(until).fetch_optional(pool).await?)
            })
        })
        .await
    }

    async fn put_off(&self, id: i64, until: DateTime<Utc>) -> Result<(), DatabaseError> {
        within(async {
            on_pool!(self.database, pool => {
                sqlx::query(PUT_OFF).bind(id).bind(stored_time(until)).execute(pool).await.map(drop)
            })?;
            Ok(())
        })
        .await
    }

    async fn done(&self, id: i64) -> Result<(), DatabaseError> {
        within(async {
            on_pool!(self.database, pool => sqlx::query(DONE).bind(id).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }
}

fn pause(tries: i64) -> TimeDelta {
    let doublings = u32::try_from(tries.clamp(1, 16) - 1).unwrap_or(0);
    (PAUSE * 2_i32.pow(doublings)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_hours() {
        let minutes = [0, 1, 2, 3, 9, 10, 1_000].map(|tries| pause(tries).num_minutes());
        assert_eq!(minutes, [1, 1, 2, 4, 256, 360, 360]);
    }
}
