//! The statements, written once for both databases. Where the dialects differ, the word is an argument of the macro:
//! how a JSON parameter becomes rows. Both understand `$1`, upserts, row values, `string_agg` and `IS DISTINCT FROM`.

use crate::personal::{named_by, not_personal, personal};

/// The statements in one dialect.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) upsert: &'static str,
    pub(super) add_categories: &'static str,
    pub(super) first: &'static str,
    pub(super) outcome: &'static str,
    pub(super) remember: &'static str,
    pub(super) all_changed: &'static str,
    pub(super) asked: &'static str,
    /// Takes away what is older than the newest $2 articles of the source $1.
    pub(super) trim: &'static str,
    /// Remembers that the articles with the hashes $2 stood in the answer of the source $1 at $3.
    pub(super) list: &'static str,
    pub(super) selected: &'static str,
    /// The columns that `ArticleRow` reads, of an article `a`.
    pub(super) columns: &'static str,
    /// Has writers of articles wait for each other.
    pub(super) take_turns: &'static str,
    pub(super) by_id: &'static str,
    pub(super) counts: &'static str,
    pub(super) enabled: &'static str,
    pub(super) enable: &'static str,
}

/// The columns of an article as `ArticleRow` reads them. The others of its story stand in `also_at`, whichever of them is shown:
/// `duplicates::links` knows how many, and who is shown otherwise when that changes. `$object` and `$array` are the functions that make JSON.
macro_rules! article_columns {
    ($object:literal, $array:literal) => {
        concat!(
            "a.id, a.source, a.outlet, a.external_id, a.title, a.description, a.content, a.author, a.url, a.image_url, ",
            "a.published_at, a.published_at_estimated, a.updated_at, a.language, a.duplicate_of, ",
            "(SELECT string_agg(c.category, ',') FROM article_categories c WHERE c.article_id = a.id) AS categories, ",
            "(SELECT CAST(", $object, "('score', s.score, 'label', s.label, 'model', s.model) AS text) ",
            "FROM article_sentiments s WHERE s.article_id = a.id ORDER BY s.scored_at DESC LIMIT 1) AS sentiment, ",
            "(SELECT CAST(", $array, "(", $object, "('id', d.id, 'source', d.source, 'outlet', d.outlet, 'url', d.url)) AS text) ",
            "FROM (SELECT o.id, o.source, o.outlet, o.url FROM articles o WHERE (o.id = a.duplicate_of ",
            "OR o.duplicate_of = coalesce(a.duplicate_of, a.id)) AND o.id <> a.id AND ", not_personal!("o.source"), " ORDER BY o.published_at, o.id LIMIT 10) d) AS also_at"
        )
    };
}

/// Whether an article `r` is of the sources $1 and, where $2 names any, of the categories $2.
macro_rules! is_selected {
    ($names:literal, $words:literal) => {
        concat!(
            "r.source IN (",
            $names,
            ") AND ($2 = '[]' OR EXISTS (SELECT 1 FROM article_categories rc ",
            "WHERE rc.article_id = r.id AND rc.category IN (",
            $words,
            ")))"
        )
    };
}

/// Whether an article `a` comes after ($3, $4) and, where $2 names any, is of the categories $2.
macro_rules! is_wished {
    ($words:literal) => {
        concat!(
            "(a.published_at, a.id) < ($3, $4) AND ($2 = '[]' OR EXISTS (SELECT 1 FROM article_categories f ",
            "WHERE f.article_id = a.id AND f.category IN (",
            $words,
            ") LIMIT 1 OFFSET 0))"
        )
    };
}

/// Whether an article `a` was stored or listed since the user $6 added its source.
macro_rules! is_since_added {
    () => {
        concat!(
            "coalesce(a.listed_at, a.updated_at) >= (SELECT min(f.added_at) FROM user_feeds f WHERE f.user_id = $6 AND ",
            named_by!("f.url_hash"),
            " = a.source)"
        )
    };
}

/// So many of the newest of what has been found.
macro_rules! newest {
    () => {
        " ORDER BY a.published_at DESC, a.id DESC LIMIT $5"
    };
}

macro_rules! statements {
    (names: $names:literal, words: $words:literal, object: $object:literal, array: $array:literal,
    articles: $articles:literal, pairs: $pairs:literal, filters: $filters:literal, given_filters: $given_filters:literal,
    own: $own:expr, take_turns: $take_turns:literal $(,)?) => {
        Statements {
            // Sorted by hash, so that two batches with common articles lock them in one order. A row that would not change is
            // not written. A source that once gave a text and then leaves it out has not taken it back; an estimated time
            // never replaces a stored one, else such an article would rise to the top at each fetch.
            upsert: concat!(
                "INSERT INTO articles (source, outlet, external_id, title, description, content, author, url, url_canonical, ",
                "url_hash, image_url, published_at, published_at_estimated, language, headline", $filters, ", fetched_at, updated_at) ",
                "SELECT $2, i.outlet, i.external_id, i.title, i.description, i.content, i.author, i.url, i.url_canonical, ",
                "i.url_hash, i.image_url, i.published_at, i.published_at_estimated, i.language, i.headline", $given_filters, ", $3, $4 ",
                "FROM ", $articles, " WHERE true ORDER BY i.url_hash ",
                "ON CONFLICT (source, url_hash) DO UPDATE SET ",
                "outlet = coalesce(excluded.outlet, articles.outlet), ",
                "external_id = coalesce(excluded.external_id, articles.external_id), ",
                "title = excluded.title, ",
                "description = coalesce(excluded.description, articles.description), ",
                "content = coalesce(excluded.content, articles.content), ",
                "author = coalesce(excluded.author, articles.author), ",
                "url = excluded.url, ",
                "image_url = coalesce(excluded.image_url, articles.image_url), ",
                "published_at = CASE WHEN excluded.published_at_estimated THEN articles.published_at ELSE excluded.published_at END, ",
                "published_at_estimated = articles.published_at_estimated AND excluded.published_at_estimated, ",
                "language = coalesce(excluded.language, articles.language), headline = excluded.headline, ",
                "fetched_at = excluded.fetched_at, ",
                // A clock that is behind another replica's must not make a copy of the older text hold.
                "updated_at = CASE WHEN excluded.updated_at > articles.updated_at THEN excluded.updated_at ELSE articles.updated_at END ",
                "WHERE excluded.title <> articles.title OR excluded.url <> articles.url ",
                "OR coalesce(excluded.outlet, articles.outlet) IS DISTINCT FROM articles.outlet ",
                "OR coalesce(excluded.external_id, articles.external_id) IS DISTINCT FROM articles.external_id ",
                "OR coalesce(excluded.description, articles.description) IS DISTINCT FROM articles.description ",
                "OR coalesce(excluded.content, articles.content) IS DISTINCT FROM articles.content ",
                "OR coalesce(excluded.author, articles.author) IS DISTINCT FROM articles.author ",
                "OR coalesce(excluded.language, articles.language) IS DISTINCT FROM articles.language ",
                "OR coalesce(excluded.image_url, articles.image_url) IS DISTINCT FROM articles.image_url ",
                "OR (NOT excluded.published_at_estimated AND ",
                "(articles.published_at_estimated OR excluded.published_at <> articles.published_at)) RETURNING id"
            ),
            // A cross join, because SQLite takes the tables of one in the order in which they stand: left to itself it reads every
            // article of the source, and looks each up in the batch.
            add_categories: concat!(
                "INSERT INTO article_categories (article_id, category, source, published_at) ",
                "SELECT a.id, i.category, a.source, a.published_at FROM ", $pairs,
                " CROSS JOIN articles a WHERE a.source = $2 AND a.url_hash = i.url_hash ORDER BY 1, 2 ON CONFLICT DO NOTHING ",
                "RETURNING article_id"
            ),
            // The first step of a batch: who asks the same question for the first time as well waits here, and then is second.
            first: "INSERT INTO questions (source, category, asked_at, outcome, ask_again_at) VALUES ($1, $2, $3, $4, $5) \
                ON CONFLICT (source, category) DO NOTHING",
            outcome: "SELECT outcome FROM questions WHERE source = $1 AND category = $2",
            // Without $7, nothing that is shown has changed; it never goes back.
            remember: "UPDATE questions SET asked_at = $3, outcome = $4, articles = $5, ask_again_at = $6, \
                changed_at = CASE WHEN $7 > changed_at THEN $7 ELSE changed_at END WHERE source = $1 AND category = $2",
            // The lists of all sources are shown otherwise: those that everybody is shown.
            all_changed: concat!("UPDATE questions SET changed_at = $1 WHERE changed_at < $1 AND ", not_personal!("source")),
            asked: concat!(
                "SELECT source, category, asked_at, outcome, articles, ask_again_at, changed_at FROM questions ",
                "WHERE source IN (", $names, ")"
            ),
            // As many at a time as a batch may have brought, and some.
            trim: "DELETE FROM articles WHERE id IN \
                (SELECT id FROM articles WHERE source = $1 ORDER BY published_at DESC, id DESC LIMIT 1000 OFFSET $2)",
            list: concat!(
                "UPDATE articles SET listed_at = $3 WHERE source = $1 AND url_hash IN (", $words, ") ",
                "AND (listed_at IS NULL OR listed_at < $3)"
            ),
            // Everybody's articles are looked for among everybody's, and the reader's own source by source: what others have added is
            // passed by. Of the first ones stories are looked for one at a time (see `lists`); the others tell none.
            selected: concat!(
                "WITH named (source) AS (", $names, "), ",
                "shared AS (SELECT a.id FROM articles a WHERE EXISTS (SELECT 1 FROM named WHERE ", not_personal!("source"), ") AND ",
                // As in lists, "IS TRUE" keeps it from an index that would be gone through once for each source.
                "(a.source IN (SELECT source FROM named)) IS TRUE AND ", not_personal!("a.source"), " AND ", is_wished!($words),
                " AND (a.duplicate_of IS NULL OR (NOT EXISTS (SELECT 1 FROM articles r WHERE r.id = a.duplicate_of ",
                "AND ", is_selected!($names, $words), " LIMIT 1 OFFSET 0) AND NOT EXISTS (SELECT 1 FROM articles r WHERE r.duplicate_of = a.duplicate_of ",
                "AND (r.published_at, r.id) < (a.published_at, a.id) AND ", is_selected!($names, $words), " LIMIT 1 OFFSET 0)))", newest!(), "), ",
                "own AS (", $own, ") ",
                "SELECT ", article_columns!($object, $array), " FROM (SELECT id FROM shared UNION SELECT id FROM own) p ",
                "JOIN articles a ON a.id = p.id", newest!()
            ),
            columns: article_columns!($object, $array),
            take_turns: $take_turns,
            by_id: concat!("SELECT ", article_columns!($object, $array), " FROM articles a WHERE a.id = $1"),
            // One stretch of an index for each, whatever else is in store.
            counts: concat!(
                "WITH named (source) AS (", $names, ") ",
                "SELECT n.source, (SELECT count(*) FROM articles a WHERE a.source = n.source) FROM named n"
            ),
            enabled: "SELECT names, changed_at FROM enabled_sources WHERE id = 1",
            enable: "INSERT INTO enabled_sources (id, names, changed_at) VALUES (1, $1, $2) \
                ON CONFLICT (id) DO UPDATE SET names = excluded.names, changed_at = CASE \
                WHEN excluded.changed_at > enabled_sources.changed_at THEN excluded.changed_at ELSE enabled_sources.changed_at END \
                RETURNING changed_at",
        }
    };
}

pub(super) static POSTGRES: Statements = statements! {
    names: "SELECT jsonb_array_elements_text(CAST($1 AS jsonb))",
    words: "SELECT jsonb_array_elements_text(CAST($2 AS jsonb))",
    object: "json_build_object",
    array: "json_agg",
    articles: "jsonb_to_recordset(CAST($1 AS jsonb)) AS i (outlet text, external_id text, title text, description text, \
        content text, author text, url text, url_canonical text, url_hash text, image_url text, published_at timestamptz, \
        published_at_estimated boolean, language text, headline text, filters text[])",
    pairs: "jsonb_to_recordset(CAST($1 AS jsonb)) AS i (url_hash text, category text)",
    // What searches are narrowed by, so that a new article isn't written a second time when its categories and tone are.
    filters: ", filters",
    given_filters: ", i.filters",
    // For each source as many as there may be on the page: else all articles might be read at once.
    own: concat!(
        "SELECT o.id FROM named n CROSS JOIN LATERAL (SELECT a.id FROM articles a WHERE a.source = n.source AND ",
        is_wished!("SELECT jsonb_array_elements_text(CAST($2 AS jsonb))"), " AND ", is_since_added!(), newest!(), ") o ",
        "WHERE ", personal!("n.source")
    ),
    // Any number that nobody else takes for a lock of a whole transaction.
    take_turns: "SELECT pg_advisory_xact_lock(7310579611)",
};

pub(super) static SQLITE: Statements = statements! {
    names: "SELECT value FROM json_each($1)",
    words: "SELECT value FROM json_each($2)",
    object: "json_object",
    array: "json_group_array",
    articles: "(SELECT value ->> 'outlet' AS outlet, value ->> 'external_id' AS external_id, value ->> 'title' AS title, \
        value ->> 'description' AS description, value ->> 'content' AS content, value ->> 'author' AS author, \
        value ->> 'url' AS url, value ->> 'url_canonical' AS url_canonical, value ->> 'url_hash' AS url_hash, \
        value ->> 'image_url' AS image_url, value ->> 'published_at' AS published_at, \
        value ->> 'published_at_estimated' AS published_at_estimated, value ->> 'language' AS language, \
        value ->> 'headline' AS headline FROM json_each($1)) AS i",
    pairs: "(SELECT value ->> 'url_hash' AS url_hash, value ->> 'category' AS category FROM json_each($1)) AS i",
    filters: "",
    given_filters: "",
    // A cross join, because the tables of one are taken in the order in which they stand.
    own: concat!(
        "SELECT a.id FROM named n CROSS JOIN articles a WHERE a.source = n.source AND ", personal!("n.source"), " AND ",
        is_wished!("SELECT value FROM json_each($2)"), " AND ", is_since_added!(), newest!()
    ),
    // A writing transaction is alone there from its beginning.
    take_turns: "SELECT 1",
};

/// How SQLite goes about a statement, in an empty database.
#[cfg(test)]
pub(crate) async fn plan_on_sqlite(statement: &str) -> String {
    use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
    let database = SqliteConnection::connect("sqlite::memory:").await;
    let mut database = database.expect("a database");
    let migrated = crate::database::SQLITE_MIGRATIONS.run(&mut database).await;
    migrated.expect("the schema");
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let steps = sqlx::query(explain).fetch_all(&mut database).await;
    let steps = steps.expect("a plan");
    let details: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
    details.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{SQLITE, plan_on_sqlite};

    #[tokio::test]
    async fn sqlite_looks_the_articles_of_a_batch_up_by_their_hash() {
        let plan = plan_on_sqlite(SQLITE.add_categories).await;
        let by_hash = "INDEX articles_source_url_hash_key (source=? AND url_hash=?)";
        assert!(plan.contains(by_hash), "{plan}");
    }

    #[tokio::test]
    async fn sqlite_finds_a_readers_own_by_source_and_the_others_among_everybodys() {
        let plan = plan_on_sqlite(SQLITE.selected).await;
        let found = |step: &&str| step.starts_with("SEARCH a ") && !step.contains("PRIMARY KEY");
        let found: Vec<&str> = plan.lines().filter(found).collect();
        let expected = [
            "SEARCH a USING INDEX articles_shared_newest_idx (published_at<?)",
            "SEARCH a USING INDEX articles_source_newest_idx (source=? AND published_at<?)",
        ];
        assert_eq!(found, expected, "{plan}");
    }

    #[tokio::test]
    async fn sqlite_counts_the_articles_of_a_source_in_one_stretch_of_an_index() {
        let plan = plan_on_sqlite(SQLITE.counts).await;
        let counted = "SEARCH a USING COVERING INDEX articles_source_newest_idx (source=?)";
        assert!(plan.contains(counted), "{plan}");
    }
}
