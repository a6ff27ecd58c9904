-- Until when one replica has an account's tokens to refresh; nobody does without it. It ends by itself when that replica dies.
ALTER TABLE oauth_accounts ADD COLUMN refreshing_until timestamptz;
