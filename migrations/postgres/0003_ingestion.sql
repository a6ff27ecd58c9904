-- Purges on their way to the cache, written by the transaction that makes them necessary; they go when the cache has confirmed them.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- A JSON array; the one tag '*' stands for everything.
    tags text NOT NULL,
    queued_at timestamptz NOT NULL
);

-- When an answer last changed what is shown of the source: its articles, or how it fared.
ALTER TABLE questions ADD COLUMN changed_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00';

-- Which sources were enabled last, so that answers made with others are made void.
CREATE TABLE enabled_sources (
    id integer PRIMARY KEY CHECK (id = 1),
    -- A JSON array of names, sorted.
    names text NOT NULL,
    changed_at timestamptz NOT NULL
);

-- Rounds that somebody asked for.
CREATE TABLE refreshes (
    id text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'done')),
    requested_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    -- What came of it, as JSON.
    report text,
    expires_at timestamptz NOT NULL
);
CREATE INDEX refreshes_requested_idx ON refreshes (requested_at);
CREATE INDEX refreshes_expires_idx ON refreshes (expires_at);

-- Keys under which they were asked for: the same key gets the same answer.
CREATE TABLE refresh_keys (
    key text PRIMARY KEY,
    refresh_id text NOT NULL REFERENCES refreshes (id) ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX refresh_keys_expires_idx ON refresh_keys (expires_at);
CREATE INDEX refresh_keys_refresh_idx ON refresh_keys (refresh_id);
