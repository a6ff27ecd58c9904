-- Who signed up. The address is kept as it is compared: trimmed and in lower case.
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email <> ''),
    -- What others see.
    name text NOT NULL CHECK (name <> ''),
    -- A PHC string, which names its own parameters.
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL
);

-- Who is signed in, by bearer token or by cookie. Only a token's SHA-256 (hex) is kept: what leaks from here opens nothing.
CREATE TABLE sessions (
    token_hash text PRIMARY KEY CHECK (length(token_hash) = 64),
    user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user_idx ON sessions (user_id, created_at);
CREATE INDEX sessions_expires_idx ON sessions (expires_at);

CREATE TABLE preferences (
    user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key text NOT NULL CHECK (key <> ''),
    -- A JSON text.
    value text NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
);

-- The message board. Who is signed in leaves a message that goes when the user goes; others leave a name, or none.
CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint REFERENCES users (id) ON DELETE CASCADE,
    author text NOT NULL CHECK (author <> ''),
    text text NOT NULL CHECK (text <> ''),
    posted_at timestamptz NOT NULL
);
CREATE INDEX messages_user_idx ON messages (user_id);

-- How often each page was looked at, by day in UTC.
CREATE TABLE page_views (
    page text NOT NULL,
    day date NOT NULL,
    views bigint NOT NULL,
    PRIMARY KEY (page, day)
);
