//! Pages of articles, newest first, for any set of filters.
//!
//! The statements are put together from the filters that are asked for, out of constant parts. What leads is the table that knows the
//! narrowest of them: the categories, the sentiments, else the articles themselves. All three have source, language and time in
//! an index of theirs, so a page is one stretch of one index, and what is passed over in it costs no look at the articles. A
//! category and a tone together cost one look for each article of the category that is passed over.

use super::filters::Filters;
use super::{Article, ArticleRow, Articles, Position, article_columns};
use crate::article::Category;
use crate::database::{DatabaseError, Dialect, LAST_TIME, json, on_pool, stored_time, within};
use crate::sentiment::Label;
use chrono::{DateTime, Utc};
use sqlx::AssertSqlSafe;
use std::time::Duration;

/// Articles are counted as far as that.
pub const TOTAL_MAX: i64 = 10_000;
/// And for no longer than that.
const TOTAL_TIME: Duration = Duration::from_secs(2);

/// Before the newest article.
const BEGINNING: Position = Position {
    published_at: LAST_TIME,
    id: i64::MAX,
};

/// Which articles, from which point on, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageQuery {
    pub filters: Filters,
    /// Only articles that come after this one in the order of pages.
    pub after: Option<Position>,
    pub limit: u16,
}

/// A page of articles.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub articles: Vec<Article>,
    /// Articles that match, on whatever page, as far as they were counted.
    pub total: i64,
    /// Whether these are all.
    pub total_is_exact: bool,
    /// The last article of this page, when others follow it.
    pub next: Option<Position>,
}

/// Binds what the statements number.
macro_rules! bound {
    ($query:expr, $asked:expr, $filters:expr, $before:expr, $rows_max:expr) => {
        $query
            .bind($asked)
            .bind($filters.sources.first())
            .bind($filters.category.map(Category::as_str))
            .bind($filters.language.as_deref())
            .bind($filters.sentiment.map(Label::as_str))
            .bind(stored_time(
                $filters.since.unwrap_or(DateTime::<Utc>::MIN_UTC),
            ))
            .bind(stored_time($filters.until.unwrap_or(LAST_TIME)))
            .bind(stored_time($before.published_at))
            .bind($before.id)
            .bind($rows_max)
    };
}

impl Articles {
    /// One page, newest first.
    pub async fn page(&self, query: &PageQuery) -> Result<Page, DatabaseError> {
        // One more than asked for tells whether another page follows.
        let mut rows = self.rows(query, i64::from(query.limit) + 1).await?;
        let counted = tokio::time::timeout(TOTAL_TIME, self.count(&query.filters)).await;
        // A list without its number is better than none.
        let counted: Option<i64> = match counted {
            Ok(Ok(counted)) => Some(counted),
            Ok(Err(error)) => {
                tracing::warn!(%error, "articles were not counted");
                None
            }
            Err(_) => {
                tracing::warn!("articles were not counted in {TOTAL_TIME:?}");
                None
            }
        };
        let (total, total_is_exact) = total(counted, rows.len(), query);
        let more = rows.len() > usize::from(query.limit);
        rows.truncate(usize::from(query.limit));
        let articles: Vec<Article> = rows.into_iter().map(Article::from).collect();
        let next = articles.last().filter(|_| more).map(|last| Position {
            published_at: last.published_at,
            id: last.id,
        });
        Ok(Page {
            articles,
            total,
            total_is_exact,
            next,
        })
    }

    async fn rows(
        &self,
        query: &PageQuery,
        rows_max: i64,
    ) -> Result<Vec<ArticleRow>, DatabaseError> {
        let (filters, dialect) = (&query.filters, self.database.dialect());
        let (sql, sources) = (page(dialect, filters), json(&filters.sources)?);
        let before = filters.beginning(query.after.unwrap_or(BEGINNING));
        within(async {
            Ok(on_pool!(self.database, pool => {
                let asked = sqlx::query_as(AssertSqlSafe(sql)).persistent(is_kept(dialect));
                bound!(asked, &sources, filters, before, rows_max).fetch_all(pool).await?
            }))
        })
        .await
    }

    async fn count(&self, filters: &Filters) -> Result<i64, DatabaseError> {
        let dialect = self.database.dialect();
        let (sql, sources) = (total_of(dialect, filters), json(&filters.sources)?);
        let before = filters.beginning(BEGINNING);
        within(async {
            Ok(on_pool!(self.database, pool => {
                let asked = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(is_kept(dialect));
                bound!(asked, &sources, filters, before, TOTAL_MAX + 1).fetch_one(pool).await?
            }))
        })
        .await
    }
}

/// Whether a prepared statement is kept. PostgreSQL plans one that is kept for no value in particular after a while: and a plan that is
/// good for most languages reads all articles for one in which nobody writes.
fn is_kept(dialect: Dialect) -> bool {
    dialect == Dialect::Sqlite
}

/// A page: besides the numbers of `Filters`, ($8, $9) is its exclusive beginning and $10 how many rows at most.
pub(super) fn page(dialect: Dialect, filters: &Filters) -> String {
    let (columns, listed) = (article_columns(dialect), listed(dialect, filters));
    format!(
        "SELECT {columns} FROM ({listed}) p JOIN articles a ON a.id = p.id ORDER BY a.published_at DESC, a.id DESC"
    )
}

/// As far as $10: counting everything would read everything, for a number that nobody needs exactly.
pub(super) fn total_of(dialect: Dialect, filters: &Filters) -> String {
    format!("SELECT count(*) FROM ({}) p", listed(dialect, filters))
}

/// The table of which a page is a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    Categories,
    Sentiments,
    Articles,
}

impl Lead {
    fn of(filters: &Filters) -> Self {
        match (filters.category, filters.sentiment) {
            (Some(_), _) => Self::Categories,
            (None, Some(_)) => Self::Sentiments,
            (None, None) => Self::Articles,
        }
    }

    fn id(self) -> &'static str {
        match self {
            Self::Articles => "f.id",
            Self::Categories | Self::Sentiments => "f.article_id",
        }
    }

    fn begins(self) -> &'static str {
        match self {
            Self::Categories => " FROM article_categories f WHERE f.category = $3 AND ",
            // An article has one sentiment at most: each that is written takes the place of the others.
            Self::Sentiments => " FROM article_sentiments f WHERE f.label = $5 AND ",
            Self::Articles => " FROM articles f WHERE ",
        }
    }
}

/// What keeps a look-up one for each row: without it PostgreSQL makes a join of it, and reads all stories for a page of them.
const ONE: &str = "LIMIT 1 OFFSET 0";

/// The articles of a list, from ($8, $9) on. In order even where they are only counted: so it is the same stretch that is read.
fn listed(dialect: Dialect, filters: &Filters) -> String {
    let lead = Lead::of(filters);
    let (begins, id, own) = (lead.begins(), lead.id(), filters.own("f", dialect));
    let mut listed =
        format!("SELECT {id} AS id{begins}{own} AND (f.published_at, {id}) < ($8, $9)");
    if lead == Lead::Categories && filters.sentiment.is_some() {
        listed += &format!(
            " AND EXISTS (SELECT 1 FROM article_sentiments s WHERE s.article_id = f.article_id AND s.label = $5 {ONE})"
        );
    }
    if !filters.duplicates {
        let is_there = filters.is_of_the_answer(dialect);
        listed += &match lead {
            Lead::Articles => format!(" AND {}", tells_first("f", &is_there)),
            // Only the identifier is at hand.
            Lead::Categories | Lead::Sentiments => format!(
                " AND EXISTS (SELECT 1 FROM articles d WHERE d.id = f.article_id AND {} {ONE})",
                tells_first("d", &is_there)
            ),
        };
    }
    listed + &format!(" ORDER BY f.published_at DESC, {id} DESC LIMIT $10")
}

/// Leaves out what tells the story of an earlier article of the same answer: of the article that stands for the story, or, where
/// that one is not in the answer, of another one that points at it. The earliest of those that are there stays: else the story
/// would be lost.
fn tells_first(a: &str, is_there: &str) -> String {
    format!(
        "({a}.duplicate_of IS NULL OR (\
         NOT EXISTS (SELECT 1 FROM articles r WHERE r.id = {a}.duplicate_of AND {is_there} {ONE}) \
         AND NOT EXISTS (SELECT 1 FROM articles r WHERE r.duplicate_of = {a}.duplicate_of \
         AND (r.published_at, r.id) < ({a}.published_at, {a}.id) AND {is_there} {ONE})))"
    )
}

/// How many there are, and whether that is all: what was counted, or else what this page knows.
fn total(counted: Option<i64>, rows: usize, query: &PageQuery) -> (i64, bool) {
    match counted {
        Some(counted) => (counted.min(TOTAL_MAX), counted <= TOTAL_MAX),
        None => {
            let is_all = query.after.is_none() && rows <= usize::from(query.limit);
            (i64::try_from(rows).unwrap_or(i64::MAX), is_all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::articles::statements::plan_on_sqlite;

    fn filters(change: impl FnOnce(&mut Filters)) -> Filters {
        let mut filters = Filters {
            sources: vec!["a".to_owned(), "b".to_owned()],
            ..Filters::default()
        };
        change(&mut filters);
        filters
    }

    #[tokio::test]
    async fn sqlite_reads_a_page_as_one_stretch_of_one_index() {
        let day = || Some(LAST_TIME);
        let lists = [
            (
                "articles_shared_newest_idx (published_at<?)",
                filters(|_| ()),
            ),
            (
                "articles_shared_newest_idx (published_at>? AND published_at<?)",
                filters(|f| (f.since, f.until) = (day(), day())),
            ),
            (
                "articles_source_newest_idx (source=? AND published_at<?)",
                filters(|f| f.sources.truncate(1)),
            ),
            (
                "articles_shared_language_idx (language=? AND published_at<?)",
                filters(|f| f.language = Some("is".to_owned())),
            ),
            (
                "COVERING INDEX article_categories_shared_idx (category=? AND (published_at,article_id)<(?,?))",
                filters(|f| {
                    (f.category, f.language) = (Some(Category::Health), Some("is".to_owned()))
                }),
            ),
            (
                "COVERING INDEX article_sentiments_shared_idx (label=? AND (published_at,article_id)<(?,?))",
                filters(|f| {
                    (f.sentiment, f.language) = (Some(Label::Neutral), Some("is".to_owned()))
                }),
            ),
            (
                "COVERING INDEX article_categories_shared_idx (category=? AND (published_at,article_id)<(?,?))",
                filters(|f| {
                    (f.category, f.sentiment) = (Some(Category::Health), Some(Label::Neutral))
                }),
            ),
        ];
        for (stretch, filters) in lists {
            for sql in [
                page(Dialect::Sqlite, &filters),
                total_of(Dialect::Sqlite, &filters),
            ] {
                let plan = plan_on_sqlite(&sql).await;
                assert!(plan.contains(stretch), "{sql}\n{plan}");
                let is_sorted = plan
                    .split("p\n")
                    .next()
                    .is_some_and(|inner| inner.contains("TEMP B-TREE"));
                assert!(!is_sorted, "{sql}\n{plan}");
                let mut others = plan.lines().filter(|step| step.starts_with("SEARCH r "));
                let by_story = |step: &str| {
                    step.contains("PRIMARY KEY") || step.contains("articles_duplicates_idx")
                };
                assert!(others.all(by_story), "{sql}\n{plan}");
            }
        }
    }

    #[test]
    fn what_was_not_counted_is_at_least_what_is_seen() {
        let query = |is_first: bool| PageQuery {
            filters: Filters::default(),
            after: (!is_first).then_some(Position {
                published_at: LAST_TIME,
                id: 7,
            }),
            limit: 20,
        };
        let rows = [
            (Some(0), 0, true, (0, true)),
            (Some(TOTAL_MAX), 21, true, (TOTAL_MAX, true)),
            (Some(TOTAL_MAX + 1), 21, true, (TOTAL_MAX, false)),
            (None, 21, true, (21, false)),
            (None, 20, true, (20, true)),
            (None, 20, false, (20, false)),
        ];
        for (counted, seen, is_first, expected) in rows {
            let found = total(counted, seen, &query(is_first));
            assert_eq!(found, expected, "{counted:?} {seen} {is_first}");
        }
    }
}
