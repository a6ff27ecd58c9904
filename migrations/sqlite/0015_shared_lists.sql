-- The indexes of lists have everybody's articles alone, as the index of words does: what users add for themselves stands in no list
-- but their own feeds, which find it by its source, and however much of it there is, nobody else walks over it.
DROP INDEX articles_newest_idx;
CREATE INDEX articles_shared_newest_idx ON articles (published_at DESC, id DESC, source)
    WHERE source NOT LIKE 'user-feed:%';
DROP INDEX articles_language_newest_idx;
CREATE INDEX articles_shared_language_idx ON articles (language, published_at DESC, id DESC, source)
    WHERE source NOT LIKE 'user-feed:%';
-- By which a story is found that two sources tell at one address: users' own tell none.
DROP INDEX articles_url_hash_idx;
CREATE INDEX articles_shared_url_hash_idx ON articles (url_hash) WHERE source NOT LIKE 'user-feed:%';

DROP INDEX article_categories_listed_idx;
CREATE INDEX article_categories_shared_idx
    ON article_categories (category, published_at DESC, article_id DESC, source, language) WHERE source NOT LIKE 'user-feed:%';

DROP INDEX article_sentiments_listed_idx;
CREATE INDEX article_sentiments_shared_idx
    ON article_sentiments (label, published_at DESC, article_id DESC, source, language) WHERE source NOT LIKE 'user-feed:%';
