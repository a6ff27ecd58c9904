-- Lists by language and by tone: what they filter and sort by stands in the one index that they read.

-- Repeats the article's own, as source and published_at do.
ALTER TABLE article_categories ADD COLUMN language TEXT;
UPDATE article_categories SET language = (SELECT a.language FROM articles a WHERE a.id = article_id);
DROP INDEX article_categories_newest_idx;
CREATE INDEX article_categories_listed_idx ON article_categories (category, published_at DESC, article_id DESC, source, language);

-- Of models that came later the last one's score is the one that is shown; others are no longer kept.
DELETE FROM article_sentiments WHERE EXISTS (SELECT 1 FROM article_sentiments n
    WHERE n.article_id = article_sentiments.article_id
    AND (n.scored_at, n.model) > (article_sentiments.scored_at, article_sentiments.model));
ALTER TABLE article_sentiments ADD COLUMN source TEXT;
ALTER TABLE article_sentiments ADD COLUMN language TEXT;
ALTER TABLE article_sentiments ADD COLUMN published_at TEXT;
UPDATE article_sentiments SET (source, language, published_at) =
    (SELECT a.source, a.language, a.published_at FROM articles a WHERE a.id = article_id);
CREATE INDEX article_sentiments_listed_idx ON article_sentiments (label, published_at DESC, article_id DESC, source, language);

CREATE INDEX articles_language_newest_idx ON articles (language, published_at DESC, id DESC, source);

-- The copies are made and kept here, so that nobody who writes an article can forget them.
CREATE TRIGGER article_categories_copy AFTER INSERT ON article_categories BEGIN
    UPDATE article_categories SET language = (SELECT a.language FROM articles a WHERE a.id = NEW.article_id)
    WHERE article_id = NEW.article_id AND category = NEW.category;
END;
CREATE TRIGGER article_sentiments_copy AFTER INSERT ON article_sentiments BEGIN
    UPDATE article_sentiments SET (source, language, published_at) =
        (SELECT a.source, a.language, a.published_at FROM articles a WHERE a.id = NEW.article_id)
    WHERE article_id = NEW.article_id;
END;
CREATE TRIGGER articles_copy AFTER UPDATE OF language, published_at ON articles
WHEN NEW.language IS NOT OLD.language OR NEW.published_at <> OLD.published_at BEGIN
    UPDATE article_categories SET language = NEW.language, published_at = NEW.published_at WHERE article_id = NEW.id;
    UPDATE article_sentiments SET language = NEW.language, published_at = NEW.published_at WHERE article_id = NEW.id;
END;
