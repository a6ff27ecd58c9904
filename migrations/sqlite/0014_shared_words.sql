-- Words that stand in nobody's articles but those that users added for themselves were remembered too, before such articles were kept
-- apart: they are suggested to nobody any more. What is lost besides is remembered when it is written the next time.
CREATE VIRTUAL TABLE shared_words USING fts5 (text, content = '', tokenize = "unicode61 remove_diacritics 0");
CREATE VIRTUAL TABLE shared_words_row USING fts5vocab (shared_words, row);
INSERT INTO shared_words (rowid, text) SELECT id, title || ' ' || coalesce(description, '') FROM shared_articles;

DELETE FROM search_words WHERE word NOT IN (SELECT term FROM shared_words_row);
INSERT INTO search_words_trigrams (search_words_trigrams) VALUES ('delete-all');
INSERT INTO search_words_trigrams (rowid, padded) SELECT id, '  ' || word || ' ' FROM search_words;

DROP TABLE shared_words_row;
DROP TABLE shared_words;
