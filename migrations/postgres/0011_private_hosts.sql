-- What went wrong with a feed that somebody added is told by its code alone: the words may name its host.
UPDATE source_records SET last_failure = last_failure_code WHERE source LIKE 'user-feed:%';
