-- Words that stand in nobody's articles but those that users added for themselves were remembered too, before such articles were kept
-- apart: they are suggested to nobody any more. What is lost besides is remembered when it is written the next time.
SET LOCAL statement_timeout = 0;

-- Marks of punctuation come out first: the parser would take words that a slash or a dot joins for one.
DELETE FROM search_words WHERE word NOT IN (SELECT word FROM ts_stat($$
    SELECT to_tsvector('simple', regexp_replace(
        title || ' ' || left(coalesce(description, ''), 20000), '[!-/:-@\[-`{-~\u00a0\u00ab\u00bb\u2010-\u2027]+', ' ', 'g'))
    FROM articles WHERE source NOT LIKE 'user-feed:%'
$$));
