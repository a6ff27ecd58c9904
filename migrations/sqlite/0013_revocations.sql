-- Tokens of connections that have ended, sealed as they were, until the provider has taken them back.
CREATE TABLE oauth_revocations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What the seal is bound to: whose token of which kind it was.
    place TEXT NOT NULL CHECK (place <> ''),
    token TEXT NOT NULL,
    queued_at TEXT NOT NULL,
    -- Not before; while one replica is at it, not before that must be over.
    try_at TEXT NOT NULL,
    tries INTEGER NOT NULL
) STRICT;
CREATE INDEX oauth_revocations_try_idx ON oauth_revocations (try_at, id);
