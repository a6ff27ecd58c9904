//! How often pages were looked at: every SQL statement on that. One row a page and day, so the table grows by days, not by views.

use crate::database::{Database, DatabaseError, on_pool, within};
use chrono::{DateTime, Utc};

/// The counts, in either database.
#[derive(Debug)]
pub struct Views {
    database: Database,
}

impl Views {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
        }
    }

    /// Counts one look at a page. Callers bound what a page may be named.
    pub async fn count(&self, page: &str, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        const SQL: &str = "INSERT INTO page_views (page, day, views) VALUES ($1, $2, 1) \
            ON CONFLICT (page, day) DO UPDATE SET views = page_views.views + 1";
        within(async {
            on_pool!(self.database, pool => sqlx::query(SQL).bind(page).bind(now.date_naive()).execute(pool).await
                .map(drop))?;
            Ok(())
        })
        .await
    }

    /// All looks at all pages.
    pub async fn total(&self) -> Result<i64, DatabaseError> {
        const SQL: &str = "SELECT CAST(coalesce(sum(views), 0) AS bigint) FROM page_views";
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(SQL).fetch_one(pool).await)?)
        })
        .await
    }
}
