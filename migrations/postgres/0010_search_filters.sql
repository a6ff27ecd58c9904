-- no-transaction
-- What searches are narrowed by stands in the index of words too. In two transactions, neither of which keeps readers waiting for more than
-- a moment; each can be done again when the other was interrupted. Both take their turn as writers of articles do, else they would wait for each other.
BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);

-- The categories of an article, and how it sounds. The index only has to find enough: what is true stands in article_categories and
-- article_sentiments, and is asked as well. So what has never been looked at may stand under anything ('?': it is looked at later).
ALTER TABLE articles ADD COLUMN IF NOT EXISTS filters text[] NOT NULL DEFAULT
    '{?,business,entertainment,general,health,science,sports,technology,world,negative,neutral,positive}';

CREATE OR REPLACE FUNCTION article_filters(article bigint) RETURNS text[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT c.category FROM article_categories c WHERE c.article_id = article ORDER BY c.category COLLATE "C")
        || ARRAY(SELECT s.label FROM article_sentiments s WHERE s.article_id = article ORDER BY s.scored_at DESC LIMIT 1)
$$;

-- At the end of a transaction, whoever writes. An article that was written with its filters isn't written again.
CREATE OR REPLACE FUNCTION renew_article_filters() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE renewed text[] := article_filters(NEW.article_id);
BEGIN
    UPDATE articles SET filters = renewed WHERE id = NEW.article_id AND filters <> renewed;
    RETURN NULL;
END $$;
-- Categories are never taken away, and a tone that was may be found by the index and isn't a match.
DROP TRIGGER IF EXISTS renew_filters ON article_categories;
CREATE CONSTRAINT TRIGGER renew_filters AFTER INSERT ON article_categories
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION renew_article_filters();
DROP TRIGGER IF EXISTS renew_filters ON article_sentiments;
CREATE CONSTRAINT TRIGGER renew_filters AFTER INSERT OR UPDATE ON article_sentiments
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION renew_article_filters();
COMMIT;

-- Writers wait while the index is made, a matter of minutes for a million articles. It has everybody's articles alone: what users
-- add for themselves is never searched, nor compared with headlines, and however much of it there is, it costs no search anything.
BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);
CREATE INDEX IF NOT EXISTS articles_without_filters_idx ON articles (id) WHERE filters[1] = '?';
CREATE INDEX IF NOT EXISTS articles_search_filters_idx ON articles USING gin (search, week, source, language, filters) WITH (fastupdate = off)
    WHERE source NOT LIKE 'user-feed:%';
DROP INDEX IF EXISTS articles_search_idx;
ANALYZE articles;
COMMIT;
