-- Tokens of connections that have ended, sealed as they were, until the provider has taken them back.
CREATE TABLE oauth_revocations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- What the seal is bound to: whose token of which kind it was.
    place text NOT NULL CHECK (place <> ''),
    token text NOT NULL,
    queued_at timestamptz NOT NULL,
    -- Not before; while one replica is at it, not before that must be over.
    try_at timestamptz NOT NULL,
    tries bigint NOT NULL
);
CREATE INDEX oauth_revocations_try_idx ON oauth_revocations (try_at, id);
