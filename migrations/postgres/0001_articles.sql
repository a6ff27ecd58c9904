-- Articles as the sources gave them, one row for each canonical URL within a source.
CREATE TABLE articles (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL CHECK (source <> ''),
    outlet text,
    -- Informative only: feeds repeat and renumber their identifiers, so it is no key.
    external_id text,
    title text NOT NULL CHECK (title <> ''),
    description text,
    content text,
    author text,
    url text NOT NULL,
    url_canonical text NOT NULL,
    -- SHA-256 of url_canonical, in hex: a unique index on the URL itself refuses long ones.
    url_hash text NOT NULL CHECK (length(url_hash) = 64),
    image_url text,
    published_at timestamptz NOT NULL,
    published_at_estimated boolean NOT NULL DEFAULT false,
    fetched_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
-- Within a source: the same story from two sources stays two articles.
CREATE UNIQUE INDEX articles_source_url_hash_key ON articles (source, url_hash);
CREATE INDEX articles_newest_idx ON articles (published_at DESC, id DESC, source);
CREATE INDEX articles_source_newest_idx ON articles (source, published_at DESC, id DESC);

-- An article may stand under several categories; every sighting adds, none takes away.
-- source and published_at repeat the article's own, so that a page of a category is one stretch of one index.
CREATE TABLE article_categories (
    article_id bigint NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    category text NOT NULL CHECK (category IN
        ('business', 'entertainment', 'general', 'health', 'science', 'sports', 'technology', 'world')),
    source text NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (article_id, category)
);
CREATE INDEX article_categories_newest_idx ON article_categories (category, published_at DESC, article_id DESC, source);

-- What was last asked of a source, and what came of it: whether something fresh is stored for a question is read here.
CREATE TABLE questions (
    source text NOT NULL CHECK (source <> ''),
    -- '' asks for the source's news whatever their category.
    category text NOT NULL,
    asked_at timestamptz NOT NULL,
    -- 'ok', 'empty' or the stable code of the failure.
    outcome text NOT NULL,
    articles bigint NOT NULL DEFAULT 0,
    -- Until then the answer counts as fresh, or after a failure the source is left in peace.
    ask_again_at timestamptz NOT NULL,
    PRIMARY KEY (source, category)
);
