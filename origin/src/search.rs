//! Full-text search over what is stored: PostgreSQL's `tsvector`, SQLite's FTS5, one contract for both.
//!
//! The contract: every word of the question stands in the article, in some form of it (English stemming), phrases side by side,
//! unwanted words nowhere; a match in the title counts more than one in the description, that more than one in the content; of
//! equal matches the newer comes first; each match comes on exactly one page. How far apart two ranks lie is each database's own
//! business. When nothing is found, words that nobody wrote are taken for the most similar ones that somebody did.
//!
//! What is asked is bounded whatever the question is: see `window` for ranking, `statements` for how a window is found.

mod highlight;
mod spelling;
mod statements;
mod stop;
mod terms;
mod window;

pub use highlight::Highlights;
pub(crate) use spelling::worth_remembering;
pub(crate) use statements::week;
pub(crate) use stop::is_stop_word;
pub use terms::Terms;
pub use window::{End, Order, Place, Shown};

use crate::article::Category;
pub use crate::articles::Filters;
use crate::articles::{Article, ArticleRow, Position};
use crate::database::{
    Database, DatabaseError, Dialect, LAST_TIME, Pool, json, on_pool, stored_time, within,
};
use crate::sentiment::Label;
use chrono::{DateTime, Utc};
use highlight::Marked;
use sqlx::AssertSqlSafe;
use std::collections::BTreeMap;
use window::{CANDIDATES_MAX, Candidate, PHRASE_CANDIDATES_MAX, WINDOWS_MAX};

/// What came into a pinned window after it was first looked through: more than that is left out.
const LATECOMERS_MAX: usize = 500;

/// Before the newest article.
const BEGINNING: Place = Place {
    before: Position {
        published_at: LAST_TIME,
        id: i64::MAX,
    },
    end: None,
    shown: None,
};

/// What the statement that finds a window is asked with.
struct Asked<'q> {
    sql: String,
    wide: String,
    exact: String,
    sources: String,
    rows_max: i64,
    before: Position,
    last: Position,
    /// Where the filter alone lets articles begin, whatever page this is.
    since: DateTime<Utc>,
    filters: &'q Filters,
}

/// Binds what `statements::candidates` numbers.
macro_rules! bound {
    ($query:expr, $asked:expr) => {
        $query
            .bind(&$asked.wide)
            .bind(&$asked.exact)
            .bind(&$asked.sources)
            .bind($asked.rows_max)
            .bind(stored_time($asked.before.published_at))
            .bind($asked.before.id)
            .bind(stored_time($asked.last.published_at))
            .bind($asked.last.id)
            .bind(statements::week($asked.last.published_at))
            .bind($asked.filters.sources.first())
            .bind($asked.filters.category.map(Category::as_str))
            .bind($asked.filters.language.as_deref())
            .bind($asked.filters.sentiment.map(Label::as_str))
            .bind($asked.since)
    };
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub terms: Terms,
    pub filters: Filters,
    pub order: Order,
    /// Where an earlier page ended.
    pub place: Option<Place>,
    /// Whether that page was found by other words than these.
    pub is_corrected: bool,
    pub limit: u16,
}

/// An article that was found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Hit {
    #[serde(flatten)]
    pub article: Article,
    pub highlights: Highlights,
}

/// A page of what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub hits: Vec<Hit>,
    /// On the first page: matches, as far as they were counted.
    pub total: Total,
    pub next: Option<Place>,
}

/// How many matches there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    pub value: usize,
    /// False when there are more.
    pub exact: bool,
}

/// The search over one database.
#[derive(Debug)]
pub struct Search {
    database: Database,
}

impl Search {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
        }
    }

    /// One page of what matches.
    pub async fn find(&self, question: &Question) -> Result<Found, DatabaseError> {
        let mut place = question.place.unwrap_or(BEGINNING);
        let mut total = Total {
            value: 0,
            exact: true,
        };
        let mut found = window::Cut {
            ids: Vec::new(),
            next: None,
        };
        if question.terms.is_empty() {
            return Ok(Found {
                hits: Vec::new(),
                total,
                next: None,
            });
        }
        within(async {
            for _ in 0..WINDOWS_MAX {
                let candidates_max = candidates_max(question);
                let candidates = self.candidates(question, place, candidates_max).await?;
                total.value += candidates
                    .iter()
                    .take(candidates_max)
                    .filter(|candidate| candidate.rank.is_some())
                    .count();
                total.exact = candidates.len() <= candidates_max;
                let limit = usize::from(question.limit);
                found = window::cut(&candidates, candidates_max, question.order, place, limit);
                match found.next {
                    Some(next) if found.ids.is_empty() => place = next,
                    _ => break,
                }
            }
            let hits = self.hits(&found.ids, &question.terms).await?;
            Ok(Found {
                hits,
                total,
                next: found.next,
            })
        })
        .await
    }

    /// What PostgreSQL says of finding the window of a question, for measurements; SQLite says nothing.
    pub async fn plan(&self, question: &Question) -> Result<Vec<String>, DatabaseError> {
        let Pool::Postgres(pool) = self.database.pool() else {
            return Ok(Vec::new());
        };
        let place = question.place.unwrap_or(BEGINNING);
        let asked = self.asked(question, place, candidates_max(question))?;
        let sql = format!("EXPLAIN (ANALYZE, COSTS OFF) {}", asked.sql);
        Ok(bound!(sqlx::query_scalar(AssertSqlSafe(sql)), asked)
            .fetch_all(pool)
            .await?)
    }

    /// The articles of a window, newest first, one more than it holds.
    async fn candidates(
        &self,
        question: &Question,
        place: Place,
        candidates_max: usize,
    ) -> Result<Vec<Candidate>, DatabaseError> {
        let asked = self.asked(question, place, candidates_max)?;
        Ok(on_pool!(self.database, pool => {
            bound!(sqlx::query_as(AssertSqlSafe(asked.sql.clone())), asked).fetch_all(pool).await?
        }))
    }

    /// The statement that finds a window, and what it is asked with.
    fn asked<'q>(
        &self,
        question: &'q Question,
        place: Place,
        candidates_max: usize,
    ) -> Result<Asked<'q>, DatabaseError> {
        let filters = &question.filters;
        let (wide, exact) = match self.database.dialect() {
            Dialect::Postgres => (question.terms.all_words(), question.terms.postgres()),
            Dialect::Sqlite => (question.terms.sqlite(), question.terms.sqlite()),
        };
        let slack = if place.end.is_some() {
            LATECOMERS_MAX
        } else {
            0
        };
        Ok(Asked {
            sql: statements::candidates(self.database.dialect(), filters),
            wide,
            exact,
            sources: json(&filters.sources)?,
            rows_max: i64::try_from(candidates_max + slack + 1).unwrap_or(i64::MAX),
            before: filters.beginning(place.before),
            last: later(place.end.map(|end| end.last), filters.since),
            since: stored_time(filters.since.unwrap_or(DateTime::<Utc>::MIN_UTC)),
            filters,
        })
    }

    /// The articles with these identifiers, in this order, with what matched marked.
    async fn hits(&self, ids: &[i64], terms: &Terms) -> Result<Vec<Hit>, DatabaseError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let dialect = self.database.dialect();
        let (ids_json, rows_sql) = (json(&ids)?, statements::rows(dialect));
        let marks_sql = statements::marks(dialect);
        let query = match dialect {
            Dialect::Postgres => terms.postgres(),
            Dialect::Sqlite => terms.sqlite(),
        };
        let (rows, marks): (Vec<ArticleRow>, Vec<Marked>) = on_pool!(self.database, pool => {
            let rows = sqlx::query_as(AssertSqlSafe(rows_sql)).bind(&ids_json).fetch_all(pool).await?;
            let marks = sqlx::query_as(marks_sql).bind(&ids_json).bind(&query).fetch_all(pool).await?;
            (rows, marks)
        });
        let marks: BTreeMap<i64, Marked> = marks
            .into_iter()
            .map(|marked| (marked.id, marked))
            .collect();
        let mut articles: BTreeMap<i64, Article> = rows
            .into_iter()
            .map(Article::from)
            .map(|article| (article.id, article))
            .collect();
        let hit = |id: &i64| {
            let article = articles.remove(id)?;
            let highlights = Highlights::new(&article, marks.get(id));
            Some(Hit {
                article,
                highlights,
            })
        };
        Ok(ids.iter().filter_map(hit).collect())
    }
}

fn candidates_max(question: &Question) -> usize {
    if question.terms.has_phrase() {
        PHRASE_CANDIDATES_MAX
    } else {
        CANDIDATES_MAX
    }
}

/// Where either ends them.
fn later(last: Option<Position>, since: Option<DateTime<Utc>>) -> Position {
    let since = Position {
        published_at: since.unwrap_or(DateTime::<Utc>::MIN_UTC),
        id: 0,
    };
    match last {
        Some(last) if last.published_at >= since.published_at => last,
        _ => since,
    }
}
