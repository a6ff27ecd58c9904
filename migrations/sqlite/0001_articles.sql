-- Articles as the sources gave them, one row for each canonical URL within a source.
-- Times are RFC 3339 text in UTC, always with the offset +00:00, so that they sort as they should.
CREATE TABLE articles (
    -- AUTOINCREMENT: an identifier that was given out once never comes to mean another article.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL CHECK (source <> ''),
    outlet TEXT,
    -- Informative only: feeds repeat and renumber their identifiers, so it is no key.
    external_id TEXT,
    title TEXT NOT NULL CHECK (title <> ''),
    description TEXT,
    content TEXT,
    author TEXT,
    url TEXT NOT NULL,
    url_canonical TEXT NOT NULL,
    -- SHA-256 of url_canonical, in hex.
    url_hash TEXT NOT NULL CHECK (length(url_hash) = 64),
    image_url TEXT,
    published_at TEXT NOT NULL,
    published_at_estimated INTEGER NOT NULL DEFAULT 0,
    fetched_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
-- Within a source: the same story from two sources stays two articles.
CREATE UNIQUE INDEX articles_source_url_hash_key ON articles (source, url_hash);
CREATE INDEX articles_newest_idx ON articles (published_at DESC, id DESC, source);
CREATE INDEX articles_source_newest_idx ON articles (source, published_at DESC, id DESC);

-- An article may stand under several categories; every sighting adds, none takes away.
-- source and published_at repeat the article's own, so that a page of a category is one stretch of one index.
CREATE TABLE article_categories (
    article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    category TEXT NOT NULL CHECK (category IN
        ('business', 'entertainment', 'general', 'health', 'science', 'sports', 'technology', 'world')),
    source TEXT NOT NULL,
    published_at TEXT NOT NULL,
    PRIMARY KEY (article_id, category)
) STRICT, WITHOUT ROWID;
CREATE INDEX article_categories_newest_idx ON article_categories (category, published_at DESC, article_id DESC, source);

-- What was last asked of a source, and what came of it: whether something fresh is stored for a question is read here.
CREATE TABLE questions (
    source TEXT NOT NULL CHECK (source <> ''),
    -- '' asks for the source's news whatever their category.
    category TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    -- 'ok', 'empty' or the stable code of the failure.
    outcome TEXT NOT NULL,
    articles INTEGER NOT NULL DEFAULT 0,
    -- Until then the answer counts as fresh, or after a failure the source is left in peace.
    ask_again_at TEXT NOT NULL,
    PRIMARY KEY (source, category)
) STRICT, WITHOUT ROWID;
