//! The statements of the search. Those that find are put together from the filters that are asked for, out of constant parts:
//! a filter that stands in a statement without being asked for would spoil its plan.
//!
//! On PostgreSQL the index (`search`, `week`, `source`, `language`, `filters`) is asked for one week after the other, newest first,
//! until there is enough: the posting list of a common word is entered only where the week's own list is. So a word that every third
//! article has costs a few weeks' worth of it, and a rare one a descent into the index for each week. The weeks that there are come
//! from the index on time, one look for each.
//!
//! Which index answers what is no matter of what the planner believes: before it has counted the articles, after an import, it
//! believes that reading all their times for each week were cheap. So each step is fenced off (`OFFSET 0`) with those conditions
//! alone that its index is to answer.

use super::Filters;
use crate::articles::article_columns;
use crate::database::Dialect;
use crate::personal::not_personal;
use chrono::{DateTime, Utc};

/// 2000-01-01 00:00 UTC.
const WEEKS_BEGIN_SECS: i64 = 946_684_800;
const WEEK_SECS: i64 = 7 * 24 * 3600;

/// The week of a time, as the database computes it: since 2000-01-01, what lies before in the first one.
pub(crate) fn week(time: DateTime<Utc>) -> i32 {
    let weeks = (time.timestamp() - WEEKS_BEGIN_SECS).div_euclid(WEEK_SECS);
    i32::try_from(weeks.max(0)).unwrap_or(i32::MAX)
}

/// Who has the words. $1 words for the index, $2 the whole question, $3 sources, $4 rows at most, ($5, $6) exclusive beginning,
/// ($7, $8) inclusive end, $9 its week, $10 the one source, $11 category, $12 language, $13 sentiment, $14 the filter's own
/// beginning: what hides a duplicate may stand on another page.
pub(super) fn candidates(dialect: Dialect, filters: &Filters) -> String {
    match dialect {
        Dialect::Postgres => postgres(filters),
        Dialect::Sqlite => sqlite(filters),
    }
}

fn postgres(filters: &Filters) -> String {
    let sources = "SELECT jsonb_array_elements_text(CAST($3 AS jsonb))";
    let fence = " OFFSET 0";
    let (own, shown) = (
        conditions("a", filters, sources, fence),
        conditions("r", filters, sources, fence),
    );
    let is_found =
        format!("r.search @@ (SELECT exact FROM asked) AND r.published_at >= $14{shown}");
    let unless_duplicate = unless_duplicate(filters, &is_found, fence);
    // Of everybody's articles alone, in the very words in which the indexes leave the others out.
    let (in_index, shared) = (in_index(filters), not_personal!("o.source"));
    let timed = not_personal!("n.source");
    format!(
        "WITH RECURSIVE asked AS MATERIALIZED ( \
             SELECT websearch_to_tsquery('english', $1) AS wide, websearch_to_tsquery('english', $2) AS exact), \
         weeks (week) AS ( \
             (SELECT n.week FROM articles n WHERE {timed} AND n.published_at <= $5 ORDER BY n.published_at DESC, n.id DESC LIMIT 1) \
             UNION ALL \
             SELECT (SELECT n.week FROM articles n \
                     WHERE {timed} AND n.published_at < timestamptz '2000-01-01 00:00:00+00' + w.week * interval '7 days' \
                     ORDER BY n.published_at DESC, n.id DESC LIMIT 1) \
             FROM weeks w WHERE w.week > $9), \
         candidates AS ( \
             SELECT f.id, f.published_at FROM weeks w CROSS JOIN LATERAL ( \
                 SELECT a.id, a.published_at FROM ( \
                     SELECT o.* FROM articles o \
                     WHERE o.search @@ (SELECT wide FROM asked) AND o.week = w.week AND {shared}{in_index}{fence}) a \
                 WHERE (a.published_at, a.id) < ($5, $6) AND (a.published_at, a.id) >= ($7, $8){own}{unless_duplicate} \
                 ORDER BY a.published_at DESC, a.id DESC LIMIT $4) f \
             LIMIT $4) \
         SELECT c.id, c.published_at, CASE WHEN a.search @@ (SELECT exact FROM asked) \
         THEN CAST(ts_rank(a.search, (SELECT exact FROM asked), 1) AS double precision) END AS rank \
         FROM candidates c JOIN articles a ON a.id = c.id ORDER BY c.published_at DESC, c.id DESC"
    )
}

/// What the index of words answers as well, if only nearly: `conditions` asks for certain.
fn in_index(filters: &Filters) -> String {
    let mut conditions = String::new();
    if let [_] = filters.sources.as_slice() {
        conditions += " AND o.source = $10";
    }
    if filters.language.is_some() {
        conditions += " AND o.language = $12";
    }
    conditions += match (filters.category, filters.sentiment) {
        (None, None) => "",
        (Some(_), None) => " AND o.filters @> ARRAY[$11]",
        (None, Some(_)) => " AND o.filters @> ARRAY[$13]",
        (Some(_), Some(_)) => " AND o.filters @> ARRAY[$11, $13]",
    };
    conditions
}

fn sqlite(filters: &Filters) -> String {
    let sources = "SELECT value FROM json_each($3)";
    let (own, shown) = (
        conditions("a", filters, sources, ""),
        conditions("r", filters, sources, ""),
    );
    let has_the_words =
        "r.id IN (SELECT t.rowid FROM articles_search t WHERE t.articles_search MATCH $2)";
    // Found by its story, and by no index on anything else: that of a language would be gone through for each match.
    let is_found = format!("({has_the_words} AND r.published_at >= $14{shown}) IS TRUE");
    let unless_duplicate = unless_duplicate(filters, &is_found, "");
    // A cross join, because SQLite takes the tables of one in the order in which they stand: left to itself it goes through all
    // articles of a language and looks each up among the matches. bm25 is the smaller the better.
    format!(
        "SELECT a.id, a.published_at, -bm25(articles_search, 10.0, 4.0, 1.0) AS rank \
         FROM articles_search CROSS JOIN articles a \
         WHERE articles_search MATCH $2 AND a.id = articles_search.rowid AND (a.published_at, a.id) < ($5, $6) AND (a.published_at, a.id) >= ($7, $8)\
         {own}{unless_duplicate} ORDER BY a.published_at DESC, a.id DESC LIMIT $4"
    )
}

/// Leaves out what tells the story of an earlier match: of the article that stands for the story, or, where that one is no match,
/// of another one that points at it. So of each story the earliest match is found, and no other.
fn unless_duplicate(filters: &Filters, is_found: &str, fence: &str) -> String {
    if filters.duplicates {
        return String::new();
    }
    format!(
        " AND (a.duplicate_of IS NULL OR (NOT EXISTS \
         (SELECT 1 FROM (SELECT o.* FROM articles o WHERE o.id = a.duplicate_of{fence}) r WHERE {is_found}) AND NOT EXISTS \
         (SELECT 1 FROM (SELECT o.* FROM articles o WHERE o.duplicate_of = a.duplicate_of{fence}) r \
         WHERE (r.published_at, r.id) < (a.published_at, a.id) AND {is_found})))"
    )
}

/// What the filters ask of an article.
fn conditions(article: &str, filters: &Filters, sources: &str, fence: &str) -> String {
    let mut conditions = match filters.sources.as_slice() {
        [_] => format!(" AND {article}.source = $10"),
        _ => format!(" AND {article}.source IN ({sources})"),
    };
    if filters.category.is_some() {
        conditions += &format!(
            " AND EXISTS (SELECT 1 FROM article_categories k WHERE k.article_id = {article}.id AND k.category = $11{fence})"
        );
    }
    if filters.language.is_some() {
        conditions += &format!(" AND {article}.language = $12");
    }
    if filters.sentiment.is_some() {
        conditions += &format!(
            " AND (SELECT s.label FROM article_sentiments s WHERE s.article_id = {article}.id \
             ORDER BY s.scored_at DESC LIMIT 1) = $13"
        );
    }
    conditions
}

/// The articles with the identifiers $1, in any order.
pub(super) fn rows(dialect: Dialect) -> String {
    let ids = match dialect {
        Dialect::Postgres => "SELECT CAST(jsonb_array_elements_text(CAST($1 AS jsonb)) AS bigint)",
        Dialect::Sqlite => "SELECT value FROM json_each($1)",
    };
    let columns = article_columns(dialect);
    format!("SELECT {columns} FROM articles a WHERE a.id IN ({ids})")
}

/// Titles and excerpts of the articles $1 with what matches $2 between two control characters, which no stored text has.
pub(super) fn marks(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => {
            "SELECT a.id, \
             ts_headline('english', a.title, q.query, E'StartSel=\"\\x02\", StopSel=\"\\x03\", HighlightAll=true') AS title, \
             ts_headline('english', left(concat_ws(' … ', a.description, a.content), 2000), q.query, \
                 E'StartSel=\"\\x02\", StopSel=\"\\x03\", MaxFragments=1, MaxWords=40, MinWords=20') AS text \
             FROM articles a, (SELECT websearch_to_tsquery('english', $2) AS query) q \
             WHERE a.id IN (SELECT CAST(jsonb_array_elements_text(CAST($1 AS jsonb)) AS bigint))"
        }
        Dialect::Sqlite => {
            "SELECT s.rowid AS id, highlight(articles_search, 0, char(2), char(3)) AS title, \
             CASE WHEN instr(highlight(articles_search, 1, char(2), char(3)), char(2)) OR a.content IS NULL \
             THEN snippet(articles_search, 1, char(2), char(3), '…', 40) \
             ELSE snippet(articles_search, 2, char(2), char(3), '…', 40) END AS text \
             FROM articles_search s JOIN articles a ON a.id = s.rowid \
             WHERE s.articles_search MATCH $2 AND s.rowid IN (SELECT value FROM json_each($1))"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sqlite_begins_with_the_matches_whatever_the_filters() {
        let all = Filters {
            sources: vec!["a".to_owned(), "b".to_owned()],
            ..Filters::default()
        };
        let language = Some("is".to_owned());
        for filters in [all.clone(), Filters { language, ..all }] {
            let plan = crate::articles::plan_on_sqlite(&sqlite(&filters)).await;
            assert!(plan.starts_with("SCAN articles_search"), "{plan}");
            let mut others = plan.lines().filter(|step| step.starts_with("SEARCH"));
            let by_key = |step: &str| {
                step.contains("PRIMARY KEY") || step.contains("articles_duplicates_idx")
            };
            assert!(others.all(by_key), "{plan}");
        }
    }

    #[test]
    fn weeks_begin_with_the_year_2000_and_what_lies_before_is_in_the_first() {
        for (time, expected) in [
            ("2000-01-01T00:00:00Z", 0),
            ("2000-01-07T23:59:59.999Z", 0),
            ("2000-01-08T00:00:00Z", 1),
            ("1999-12-31T23:59:59Z", 0),
            ("0001-01-01T00:00:00Z", 0),
            ("2026-11-22T00:00:00Z", 1403),
        ] {
            assert_eq!(week(time.parse().expect("a time")), expected, "{time}");
        }
    }
}
