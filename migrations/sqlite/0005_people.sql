-- Who signed up. The address is kept as it is compared: trimmed and in lower case.
CREATE TABLE users (
    -- AUTOINCREMENT: nobody ever inherits the identifier of a user who is gone.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL UNIQUE CHECK (email <> ''),
    -- What others see.
    name TEXT NOT NULL CHECK (name <> ''),
    -- A PHC string, which names its own parameters.
    password_hash TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

-- Who is signed in, by bearer token or by cookie. Only a token's SHA-256 (hex) is kept: what leaks from here opens nothing.
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY CHECK (length(token_hash) = 64),
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user_idx ON sessions (user_id, created_at);
CREATE INDEX sessions_expires_idx ON sessions (expires_at);

CREATE TABLE preferences (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key TEXT NOT NULL CHECK (key <> ''),
    -- A JSON text.
    value TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (user_id, key)
) STRICT, WITHOUT ROWID;

-- The message board. Who is signed in leaves a message that goes when the user goes; others leave a name, or none.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    author TEXT NOT NULL CHECK (author <> ''),
    text TEXT NOT NULL CHECK (text <> ''),
    posted_at TEXT NOT NULL
) STRICT;
CREATE INDEX messages_user_idx ON messages (user_id);

-- How often each page was looked at, by day in UTC.
CREATE TABLE page_views (
    page TEXT NOT NULL,
    day TEXT NOT NULL,
    views INTEGER NOT NULL,
    PRIMARY KEY (page, day)
) STRICT, WITHOUT ROWID;
