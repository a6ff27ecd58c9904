//! The key by which cursors are signed, made at random once and kept in the database: so every replica knows it, a restart doesn't
//! void the cursors that are out, and nobody has to set it.

use crate::database::{Database, DatabaseError, on_pool, within};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::OnceCell;

const NAME: &str = "cursors";
const KEY_BYTES: usize = 32;
const MAKE: &str = "INSERT INTO shared_keys (name, key) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const READ: &str = "SELECT key FROM shared_keys WHERE name = $1";

/// The key, read when it is first asked for.
#[derive(Debug)]
pub struct CursorKey {
    database: Database,
    key: OnceCell<Vec<u8>>,
}

impl CursorKey {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            key: OnceCell::new(),
        }
    }

    /// The key; whoever asks first makes it.
    pub async fn get(&self) -> Result<&[u8], DatabaseError> {
        let key = self.key.get_or_try_init(|| self.read_or_make());
        Ok(key.await?)
    }

    async fn read_or_make(&self) -> Result<Vec<u8>, DatabaseError> {
        within(async {
            let read = on_pool!(self.database, pool => {
                sqlx::query_scalar(READ).bind(NAME).fetch_optional(pool).await?
            });
            if let Some(key) = read {
                return Ok(String::into_bytes(key));
            }
            let mut key = [0; KEY_BYTES];
            getrandom::fill(&mut key).map_err(|error| DatabaseError::Failed(error.to_string()))?;
            let key = STANDARD_NO_PAD.encode(key);
            // Of replicas that make one at the same time, all use the one that was first.
            let key: String = on_pool!(self.database, pool => {
                sqlx::query(MAKE).bind(NAME).bind(key).execute(pool).await?;
                sqlx::query_scalar(READ).bind(NAME).fetch_one(pool).await?
            });
            Ok(key.into_bytes())
        })
        .await
    }
}
