-- How each source fared, and what it asked of us.
CREATE TABLE source_records (
    source TEXT PRIMARY KEY CHECK (source <> ''),
    last_success_at TEXT,
    last_failure_at TEXT,
    last_failure_code TEXT,
    last_failure TEXT,
    -- Asked for by the source (Retry-After): nothing is asked of it before then.
    paused_until TEXT,
    -- What the provider says is left until it starts to count anew, less what was asked since.
    remaining REAL,
    resets_at TEXT
) STRICT, WITHOUT ROWID;

-- Requests counted against quotas: a row is committed before its request is made.
CREATE TABLE source_requests (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL CHECK (source <> ''),
    asked_at TEXT NOT NULL,
    -- Somebody waited for it; else the schedule made it.
    is_live INTEGER NOT NULL
) STRICT;
CREATE INDEX source_requests_source_idx ON source_requests (source, asked_at);

-- When each feed was last asked, and with what its next request is made conditional.
CREATE TABLE feed_polls (
    -- SHA-256 of the address, in hex: addresses may hold what lets a subscriber in.
    url_hash TEXT PRIMARY KEY CHECK (length(url_hash) = 64),
    -- As they came, byte for byte.
    etag BLOB,
    last_modified BLOB,
    polled_at TEXT NOT NULL,
    poll_again_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
