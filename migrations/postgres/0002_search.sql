-- Search, languages, duplicates and sentiments. On a table with many articles the new columns take minutes.
SET LOCAL statement_timeout = 0;

CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;

ALTER TABLE articles
    -- Two letters of ISO 639-1; NULL when nobody knows.
    ADD COLUMN language text,
    -- The title without what outlets change, to find duplicates by; NULL until it has been computed.
    ADD COLUMN headline text,
    -- The earliest article of the same story, when this one isn't it. Never one that has a duplicate_of of its own.
    ADD COLUMN duplicate_of bigint REFERENCES articles (id) ON DELETE SET NULL CHECK (duplicate_of <> id),
    -- Weeks since 2000-01-01: the index answers for one week at a time, so that a common word costs as little as a rare one.
    ADD COLUMN week integer NOT NULL GENERATED ALWAYS AS
        (CAST(greatest(0, floor((extract(epoch FROM published_at AT TIME ZONE 'UTC') - 946684800) / 604800)) AS integer)) STORED,
    -- left(): a tsvector holds a megabyte, and an article that holds more must not be lost.
    ADD COLUMN search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A') ||
        setweight(to_tsvector('english', left(coalesce(description, ''), 20000)), 'B') ||
        setweight(to_tsvector('english', left(coalesce(content, ''), 200000)), 'C')) STORED;

-- Without a list of pending entries, which every search would have to read through.
CREATE INDEX articles_search_idx ON articles USING gin (search, week, source, language) WITH (fastupdate = off);
CREATE INDEX articles_url_hash_idx ON articles (url_hash);
CREATE INDEX articles_duplicates_idx ON articles (duplicate_of) WHERE duplicate_of IS NOT NULL;
CREATE INDEX articles_without_headline_idx ON articles (id) WHERE headline IS NULL;

-- When a shown article is deleted, the earliest of its duplicates takes its place. The name sorts before that of the foreign
-- key's own trigger, which would have forgotten whose duplicates they were.
CREATE FUNCTION elect_another_article() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE elected bigint;
BEGIN
    SELECT id INTO elected FROM articles WHERE duplicate_of = OLD.id ORDER BY published_at, id LIMIT 1;
    IF elected IS NOT NULL THEN
        UPDATE articles SET duplicate_of = NULL WHERE id = elected;
        UPDATE articles SET duplicate_of = elected WHERE duplicate_of = OLD.id AND id <> elected;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER "A_elect_another" AFTER DELETE ON articles FOR EACH ROW EXECUTE FUNCTION elect_another_article();

-- How articles sound, by model. The newest of an article is the one that is shown.
CREATE TABLE article_sentiments (
    article_id bigint NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    model text NOT NULL CHECK (model <> ''),
    version text NOT NULL,
    score double precision NOT NULL CHECK (score BETWEEN -1 AND 1),
    label text NOT NULL CHECK (label IN ('positive', 'neutral', 'negative')),
    scored_at timestamptz NOT NULL,
    PRIMARY KEY (article_id, model)
);

-- The words of titles and descriptions, to find what a mistyped one may have meant.
CREATE TABLE search_words (word text PRIMARY KEY);
CREATE INDEX search_words_trigrams_idx ON search_words USING gin (word gin_trgm_ops);

-- Keys that all replicas share and that were made at random.
CREATE TABLE shared_keys (
    name text PRIMARY KEY,
    key text NOT NULL
);
