-- no-transaction
-- Lists by language and by tone: what they filter and sort by stands in the one index that they read. In two transactions, neither of
-- which keeps readers waiting; each can be done again when the other was interrupted. Both take their turn as writers of
-- articles do, else they would wait for each other.
BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);

-- They repeat the article's own. The copies are made and kept here, so that nobody who writes an article can forget them.
ALTER TABLE article_categories ADD COLUMN IF NOT EXISTS language text;
ALTER TABLE article_sentiments ADD COLUMN IF NOT EXISTS source text, ADD COLUMN IF NOT EXISTS language text,
    ADD COLUMN IF NOT EXISTS published_at timestamptz;

CREATE OR REPLACE FUNCTION copy_of_article() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT a.source, a.language, a.published_at INTO NEW.source, NEW.language, NEW.published_at
    FROM articles a WHERE a.id = NEW.article_id;
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS article_categories_copy ON article_categories;
CREATE TRIGGER article_categories_copy BEFORE INSERT ON article_categories
    FOR EACH ROW EXECUTE FUNCTION copy_of_article();
DROP TRIGGER IF EXISTS article_sentiments_copy ON article_sentiments;
CREATE TRIGGER article_sentiments_copy BEFORE INSERT ON article_sentiments
    FOR EACH ROW EXECUTE FUNCTION copy_of_article();

CREATE OR REPLACE FUNCTION copy_article() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE article_categories SET language = NEW.language, published_at = NEW.published_at WHERE article_id = NEW.id;
    UPDATE article_sentiments SET language = NEW.language, published_at = NEW.published_at WHERE article_id = NEW.id;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS articles_copy ON articles;
CREATE TRIGGER articles_copy AFTER UPDATE OF language, published_at ON articles FOR EACH ROW
    WHEN (NEW.language IS DISTINCT FROM OLD.language OR NEW.published_at <> OLD.published_at) EXECUTE FUNCTION copy_article();
COMMIT;

-- Writers wait meanwhile, a matter of minutes for a million articles.
BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);

UPDATE article_categories c SET language = a.language FROM articles a
WHERE a.id = c.article_id AND a.language IS DISTINCT FROM c.language;
-- Of several models the last one's score is the one that is shown; others are no longer kept.
DELETE FROM article_sentiments s WHERE EXISTS (SELECT 1 FROM article_sentiments n
    WHERE n.article_id = s.article_id AND (n.scored_at, n.model) > (s.scored_at, s.model));
UPDATE article_sentiments s SET source = a.source, language = a.language, published_at = a.published_at
FROM articles a WHERE a.id = s.article_id AND s.published_at IS NULL;

-- What a trigger has put off would keep the indexes from being made.
SET CONSTRAINTS ALL IMMEDIATE;
CREATE INDEX IF NOT EXISTS articles_language_newest_idx ON articles (language, published_at DESC, id DESC, source);
CREATE INDEX IF NOT EXISTS article_sentiments_listed_idx
    ON article_sentiments (label, published_at DESC, article_id DESC, source, language);
CREATE INDEX IF NOT EXISTS article_categories_listed_idx
    ON article_categories (category, published_at DESC, article_id DESC, source, language);
DROP INDEX IF EXISTS article_categories_newest_idx;
ANALYZE article_categories, article_sentiments;
COMMIT;
