-- How each source fared, and what it asked of us. The row is locked while a source's requests are counted.
CREATE TABLE source_records (
    source text PRIMARY KEY CHECK (source <> ''),
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_failure_code text,
    last_failure text,
    -- Asked for by the source (Retry-After): nothing is asked of it before then.
    paused_until timestamptz,
    -- What the provider says is left until it starts to count anew, less what was asked since.
    remaining double precision,
    resets_at timestamptz
);

-- Requests counted against quotas: a row is committed before its request is made.
CREATE TABLE source_requests (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL CHECK (source <> ''),
    asked_at timestamptz NOT NULL,
    -- Somebody waited for it; else the schedule made it.
    is_live boolean NOT NULL
);
CREATE INDEX source_requests_source_idx ON source_requests (source, asked_at);

-- When each feed was last asked, and with what its next request is made conditional.
CREATE TABLE feed_polls (
    -- SHA-256 of the address, in hex: addresses may hold what lets a subscriber in.
    url_hash text PRIMARY KEY CHECK (length(url_hash) = 64),
    -- As they came, byte for byte.
    etag bytea,
    last_modified bytea,
    polled_at timestamptz NOT NULL,
    poll_again_at timestamptz NOT NULL
);
