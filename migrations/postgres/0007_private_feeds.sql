-- What users add is known by a hash of its address alone, and kept apart from everybody's. What was stored under names that tell
-- addresses is fetched anew.
SET LOCAL statement_timeout = 0;

CREATE INDEX user_feeds_source_idx ON user_feeds (source);

-- Stories that a user's feed took part in are put together afresh, as those are of which nothing has been computed yet.
UPDATE articles SET duplicate_of = NULL, headline = NULL
WHERE coalesce(duplicate_of, id) IN (SELECT coalesce(duplicate_of, id) FROM articles WHERE source LIKE 'user-feed:%');

DELETE FROM articles WHERE source LIKE 'user-feed:%';
DELETE FROM questions WHERE source LIKE 'user-feed:%';
DELETE FROM source_requests WHERE source LIKE 'user-feed:%';
DELETE FROM source_records WHERE source LIKE 'user-feed:%';
DELETE FROM feed_polls WHERE url_hash IN (SELECT url_hash FROM user_feeds);
DELETE FROM refreshes WHERE report LIKE '%user-feed:%';
UPDATE user_feeds SET source = 'user-feed:' || substr(url_hash, 1, 32);
