-- Search, languages, duplicates and sentiments.

-- Two letters of ISO 639-1; NULL when nobody knows.
ALTER TABLE articles ADD COLUMN language TEXT;
-- The title without what outlets change, to find duplicates by; NULL until it has been computed.
ALTER TABLE articles ADD COLUMN headline TEXT;
-- The earliest article of the same story, when this one isn't it. Never one that has a duplicate_of of its own.
ALTER TABLE articles ADD COLUMN duplicate_of INTEGER REFERENCES articles (id) ON DELETE SET NULL CHECK (duplicate_of <> id);

CREATE INDEX articles_url_hash_idx ON articles (url_hash);
CREATE INDEX articles_duplicates_idx ON articles (duplicate_of) WHERE duplicate_of IS NOT NULL;
CREATE INDEX articles_without_headline_idx ON articles (id) WHERE headline IS NULL;

-- The index holds no copy of the texts. Diacritics count, as they do in PostgreSQL.
CREATE VIRTUAL TABLE articles_search USING fts5 (
    title, description, content,
    content = 'articles', content_rowid = 'id',
    tokenize = "porter unicode61 remove_diacritics 0"
);
INSERT INTO articles_search (articles_search) VALUES ('rebuild');
CREATE TRIGGER articles_search_insert AFTER INSERT ON articles BEGIN
    INSERT INTO articles_search (rowid, title, description, content) VALUES (NEW.id, NEW.title, NEW.description, NEW.content);
END;
CREATE TRIGGER articles_search_delete AFTER DELETE ON articles BEGIN
    INSERT INTO articles_search (articles_search, rowid, title, description, content)
    VALUES ('delete', OLD.id, OLD.title, OLD.description, OLD.content);
END;
CREATE TRIGGER articles_search_update AFTER UPDATE OF title, description, content ON articles BEGIN
    INSERT INTO articles_search (articles_search, rowid, title, description, content)
    VALUES ('delete', OLD.id, OLD.title, OLD.description, OLD.content);
    INSERT INTO articles_search (rowid, title, description, content) VALUES (NEW.id, NEW.title, NEW.description, NEW.content);
END;

-- When a shown article is deleted, the earliest of its duplicates takes its place. Before, because afterwards the foreign key
-- has forgotten whose duplicates they were.
CREATE TRIGGER articles_elect_another BEFORE DELETE ON articles BEGIN
    UPDATE articles
    SET duplicate_of = (SELECT d.id FROM articles d WHERE d.duplicate_of = OLD.id ORDER BY d.published_at, d.id LIMIT 1)
    WHERE duplicate_of = OLD.id
    AND id <> (SELECT d.id FROM articles d WHERE d.duplicate_of = OLD.id ORDER BY d.published_at, d.id LIMIT 1);
    UPDATE articles SET duplicate_of = NULL WHERE duplicate_of = OLD.id;
END;

-- How articles sound, by model. The newest of an article is the one that is shown.
CREATE TABLE article_sentiments (
    article_id INTEGER NOT NULL REFERENCES articles (id) ON DELETE CASCADE,
    model TEXT NOT NULL CHECK (model <> ''),
    version TEXT NOT NULL,
    score REAL NOT NULL CHECK (score BETWEEN -1 AND 1),
    label TEXT NOT NULL CHECK (label IN ('positive', 'neutral', 'negative')),
    scored_at TEXT NOT NULL,
    PRIMARY KEY (article_id, model)
) STRICT, WITHOUT ROWID;

-- The words of titles and descriptions, to find what a mistyped one may have meant. The index has them with two blanks before
-- and one behind, so that the first and last letters make trigrams too.
CREATE TABLE search_words (
    id INTEGER PRIMARY KEY,
    word TEXT NOT NULL UNIQUE
) STRICT;
CREATE VIRTUAL TABLE search_words_trigrams USING fts5 (padded, content = '', tokenize = 'trigram');
CREATE TRIGGER search_words_trigrams_insert AFTER INSERT ON search_words BEGIN
    INSERT INTO search_words_trigrams (rowid, padded) VALUES (NEW.id, '  ' || NEW.word || ' ');
END;

-- Keys that all replicas share and that were made at random.
CREATE TABLE shared_keys (
    name TEXT PRIMARY KEY,
    key TEXT NOT NULL
) STRICT, WITHOUT ROWID;
