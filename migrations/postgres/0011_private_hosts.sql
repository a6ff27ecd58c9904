-- Waits for whoever writes articles, or reads them at length, as long as it takes.
SET LOCAL statement_timeout = 0;
SELECT pg_advisory_xact_lock(7310579611);

-- What went wrong with a feed that somebody added is told by its code alone: the words may name its host.
UPDATE source_records SET last_failure = last_failure_code WHERE source LIKE 'user-feed:%';

-- Whether anybody has added a source is asked by the name that its address has, not by what was written beside it.
CREATE INDEX user_feeds_name_idx ON user_feeds (('user-feed:' || substr(url_hash, 1, 32)));

-- When an article last stood in a feed that somebody added: whoever adds it later reads nothing that was gone by then.
ALTER TABLE articles ADD COLUMN listed_at timestamptz;
