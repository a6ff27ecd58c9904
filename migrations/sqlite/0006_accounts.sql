-- Who was sent to a provider to give permission, and is expected back. Only digests (SHA-256, hex) of states and cookies are kept.
CREATE TABLE oauth_states (
    state_hash TEXT PRIMARY KEY CHECK (length(state_hash) = 64),
    browser_hash TEXT NOT NULL CHECK (length(browser_hash) = 64),
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX oauth_states_expires_idx ON oauth_states (expires_at);
CREATE INDEX oauth_states_user_idx ON oauth_states (user_id);

-- Tokens of people at providers, sealed. An account belongs to a user, or to whoever holds a browser's cookie.
CREATE TABLE oauth_accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    provider TEXT NOT NULL CHECK (provider <> ''),
    user_id INTEGER REFERENCES users (id) ON DELETE CASCADE,
    browser_hash TEXT CHECK (length(browser_hash) = 64),
    name TEXT,
    scope TEXT NOT NULL,
    access_token TEXT NOT NULL,
    refresh_token TEXT,
    expires_at TEXT NOT NULL,
    -- The provider took the tokens back.
    needs_login INTEGER NOT NULL DEFAULT 0,
    connected_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CHECK ((user_id IS NULL) <> (browser_hash IS NULL))
) STRICT;
CREATE UNIQUE INDEX oauth_accounts_user_key ON oauth_accounts (user_id, provider);
CREATE UNIQUE INDEX oauth_accounts_browser_key ON oauth_accounts (browser_hash, provider);

-- Feeds that users added for themselves.
CREATE TABLE user_feeds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    url TEXT NOT NULL CHECK (url <> ''),
    -- SHA-256 of the address, in hex: a unique index on the address itself refuses long ones.
    url_hash TEXT NOT NULL CHECK (length(url_hash) = 64),
    -- The name under which its articles are stored.
    source TEXT NOT NULL CHECK (source <> ''),
    added_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX user_feeds_user_key ON user_feeds (user_id, url_hash);
CREATE INDEX user_feeds_url_idx ON user_feeds (url_hash);
