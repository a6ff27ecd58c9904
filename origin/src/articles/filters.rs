//! Which articles an answer is about, for lists and searches alike, and what that asks of an article in SQL.

use super::Position;
use crate::article::Category;
use crate::database::Dialect;
use crate::personal::not_personal;
use crate::sentiment::Label;
use chrono::{DateTime, Utc};

/// Which articles count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// Only articles of these sources.
    pub sources: Vec<String>,
    pub category: Option<Category>,
    pub language: Option<String>,
    pub sentiment: Option<Label>,
    /// Published then or later.
    pub since: Option<DateTime<Utc>>,
    /// Published before that.
    pub until: Option<DateTime<Utc>>,
    /// Whether articles are shown whose story another one of the answer tells.
    pub duplicates: bool,
}

impl Filters {
    /// Where both the page and the filter let articles begin. No article has the identifier 0.
    pub(crate) fn beginning(&self, before: Position) -> Position {
        match self.until {
            Some(until) if until < before.published_at => Position {
                published_at: until,
                id: 0,
            },
            _ => before,
        }
    }

    /// What is asked of the columns that articles have, and that the tables beside them repeat, of a row of this name: $1 sources,
    /// $2 the first of them, $4 language, $6 the beginning of the time. What is one person's own is in no list, in the very words in which
    /// the indexes of lists leave it out: they are of use to no statement without them.
    pub(super) fn own(&self, row: &str, dialect: Dialect) -> String {
        let names = match dialect {
            Dialect::Postgres => "ANY (ARRAY(SELECT jsonb_array_elements_text(CAST($1 AS jsonb))))",
            Dialect::Sqlite => "(SELECT value FROM json_each($1))",
        };
        let mut conditions = match (self.sources.as_slice(), dialect) {
            ([_], _) => format!("{row}.source = $2"),
            // "IS TRUE" keeps it from an index, which would be gone through once for each source.
            (_, Dialect::Postgres) => format!("({row}.source = {names}) IS TRUE"),
            (_, Dialect::Sqlite) => format!("({row}.source IN {names}) IS TRUE"),
        };
        conditions += &format!(" AND {row}.{}", not_personal!("source"));
        if self.language.is_some() {
            conditions += &format!(" AND {row}.language = $4");
        }
        if self.since.is_some() {
            conditions += &format!(" AND {row}.published_at >= $6");
        }
        conditions
    }

    /// Whether an article `r` is of the answer: $3 category, $5 sentiment, $7 the end of the time. It is found by what it has to do with
    /// another one, and by no index on anything else.
    pub(super) fn is_of_the_answer(&self, dialect: Dialect) -> String {
        let mut conditions = self.own("r", dialect);
        if self.until.is_some() {
            conditions += " AND r.published_at < $7";
        }
        conditions = format!("({conditions}) IS TRUE");
        if self.category.is_some() {
            conditions += " AND EXISTS (SELECT 1 FROM article_categories c WHERE c.article_id = r.id AND c.category = $3)";
        }
        if self.sentiment.is_some() {
            conditions += " AND EXISTS (SELECT 1 FROM article_sentiments s WHERE s.article_id = r.id AND s.label = $5)";
        }
        conditions
    }
}
