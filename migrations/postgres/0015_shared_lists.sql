-- no-transaction
-- The indexes of lists have everybody's articles alone, as the index of words does: what users add for themselves stands in no list
-- but their own feeds, which find it by its source, and however much of it there is, nobody else walks over it. In one transaction
-- for each table, none of which keeps readers waiting for more than a moment; each can be done again when it was interrupted. They
-- take their turn as writers of articles do, who wait meanwhile, a matter of seconds for a million articles.
BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);
CREATE INDEX IF NOT EXISTS articles_shared_newest_idx ON articles (published_at DESC, id DESC, source)
    WHERE source NOT LIKE 'user-feed:%';
CREATE INDEX IF NOT EXISTS articles_shared_language_idx ON articles (language, published_at DESC, id DESC, source)
    WHERE source NOT LIKE 'user-feed:%';
-- By which a story is found that two sources tell at one address: users' own tell none.
CREATE INDEX IF NOT EXISTS articles_shared_url_hash_idx ON articles (url_hash) WHERE source NOT LIKE 'user-feed:%';
DROP INDEX IF EXISTS articles_newest_idx;
DROP INDEX IF EXISTS articles_language_newest_idx;
DROP INDEX IF EXISTS articles_url_hash_idx;
COMMIT;

BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);
CREATE INDEX IF NOT EXISTS article_categories_shared_idx
    ON article_categories (category, published_at DESC, article_id DESC, source, language) WHERE source NOT LIKE 'user-feed:%';
DROP INDEX IF EXISTS article_categories_listed_idx;
COMMIT;

BEGIN;
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);
CREATE INDEX IF NOT EXISTS article_sentiments_shared_idx
    ON article_sentiments (label, published_at DESC, article_id DESC, source, language) WHERE source NOT LIKE 'user-feed:%';
DROP INDEX IF EXISTS article_sentiments_listed_idx;
COMMIT;
