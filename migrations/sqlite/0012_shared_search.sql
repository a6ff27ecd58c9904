-- The index of words has everybody's articles alone: what users add for themselves is never searched, nor compared with headlines,
-- and however much of it there is, it costs no search anything.
DROP TRIGGER articles_search_insert;
DROP TRIGGER articles_search_delete;
DROP TRIGGER articles_search_update;
DROP TABLE articles_search;

CREATE VIEW shared_articles AS SELECT id, title, description, content FROM articles WHERE source NOT LIKE 'user-feed:%';
CREATE VIRTUAL TABLE articles_search USING fts5 (
    title, description, content,
    content = 'shared_articles', content_rowid = 'id',
    tokenize = "porter unicode61 remove_diacritics 0"
);
INSERT INTO articles_search (articles_search) VALUES ('rebuild');
CREATE TRIGGER articles_search_insert AFTER INSERT ON articles WHEN NEW.source NOT LIKE 'user-feed:%' BEGIN
    INSERT INTO articles_search (rowid, title, description, content) VALUES (NEW.id, NEW.title, NEW.description, NEW.content);
END;
CREATE TRIGGER articles_search_delete AFTER DELETE ON articles WHEN OLD.source NOT LIKE 'user-feed:%' BEGIN
    INSERT INTO articles_search (articles_search, rowid, title, description, content)
    VALUES ('delete', OLD.id, OLD.title, OLD.description, OLD.content);
END;
-- No article goes from one source to another.
CREATE TRIGGER articles_search_update AFTER UPDATE OF title, description, content ON articles
WHEN NEW.source NOT LIKE 'user-feed:%' BEGIN
    INSERT INTO articles_search (articles_search, rowid, title, description, content)
    VALUES ('delete', OLD.id, OLD.title, OLD.description, OLD.content);
    INSERT INTO articles_search (rowid, title, description, content) VALUES (NEW.id, NEW.title, NEW.description, NEW.content);
END;
