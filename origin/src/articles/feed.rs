//! A reader's own selection: articles by lists of sources, categories and languages, newest first.

use super::row::ArticleRow;
use super::{Article, Articles, Position};
use crate::article::Category;
use crate::database::{DatabaseError, LAST_TIME, json, on_pool, stored_time, within};

/// Which articles, from which point on. An empty list asks nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Only articles of these sources: the one list that must name what it wants.
    pub sources: &'a [String],
    /// Who reads: of the feeds that this user added, only what was stored or listed there since.
    pub reader: Option<i64>,
    pub categories: &'a [Category],
    pub after: Option<Position>,
    pub limit: u16,
}

impl Articles {
    /// So many of the articles selected, newest first.
    pub async fn selected(&self, selection: &Selection<'_>) -> Result<Vec<Article>, DatabaseError> {
        let categories: Vec<&str> = selection
            .categories
            .iter()
            .map(|category| category.as_str())
            .collect();
        let (sources, categories) = (json(&selection.sources)?, json(&categories)?);
        let after = selection.after.unwrap_or(Position {
            published_at: LAST_TIME,
            id: i64::MAX,
        });
        let sql = self.sql.selected;
        let rows: Vec<ArticleRow> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(sql).bind(&sources).bind(&categories)
                .bind(stored_time(after.published_at)).bind(after.id).bind(i64::from(selection.limit)).bind(selection.reader).fetch_all(pool).await)?)
        })
        .await?;
        Ok(rows.into_iter().map(Article::from).collect())
    }
}
