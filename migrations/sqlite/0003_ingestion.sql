-- Purges on their way to the cache, written by the transaction that makes them necessary; they go when the cache has confirmed them.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A JSON array; the one tag '*' stands for everything.
    tags TEXT NOT NULL,
    queued_at TEXT NOT NULL
) STRICT;

-- When an answer last changed what is shown of the source: its articles, or how it fared.
ALTER TABLE questions ADD COLUMN changed_at TEXT NOT NULL DEFAULT '1970-01-01T00:00:00+00:00';

-- Which sources were enabled last, so that answers made with others are made void.
CREATE TABLE enabled_sources (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- A JSON array of names, sorted.
    names TEXT NOT NULL,
    changed_at TEXT NOT NULL
) STRICT;

-- Rounds that somebody asked for.
CREATE TABLE refreshes (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'done')),
    requested_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    -- What came of it, as JSON.
    report TEXT,
    expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refreshes_requested_idx ON refreshes (requested_at);
CREATE INDEX refreshes_expires_idx ON refreshes (expires_at);

-- Keys under which they were asked for: the same key gets the same answer.
CREATE TABLE refresh_keys (
    key TEXT PRIMARY KEY,
    refresh_id TEXT NOT NULL REFERENCES refreshes (id) ON DELETE CASCADE,
    expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_keys_expires_idx ON refresh_keys (expires_at);
CREATE INDEX refresh_keys_refresh_idx ON refresh_keys (refresh_id);
