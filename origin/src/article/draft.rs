//! The one door from raw fields to an article: every source fills a [`Draft`] and the same rules make it valid.

use super::text::{
    self, CONTENT_CHARS_MAX, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX, TITLE_CHARS_MAX,
};
use super::{CanonicalUrl, Category, NewArticle, language, plausible_date};
use chrono::{DateTime, Utc};
use std::borrow::Cow;
use url::Url;

/// Longest external id kept; longer ones are not cut, since half an id identifies nothing.
const EXTERNAL_ID_BYTES_MAX: usize = 1_000;

/// An article's fields as the source wrote them: markup, entities, blanks and all.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    pub outlet: Option<&'a str>,
    pub external_id: Option<&'a str>,
    pub title: Option<&'a str>,
    pub description: Option<&'a str>,
    pub content: Option<&'a str>,
    pub author: Option<&'a str>,
    /// Absolute, or relative to the base given to `finish`.
    pub url: Option<&'a str>,
    pub image_url: Option<&'a str>,
    /// The provider's word for the language.
    pub language: Option<&'a str>,
    pub published: Option<DateTime<Utc>>,
    pub categories: Vec<Category>,
}

impl Draft<'_> {
    /// The article, or `None` when it has no title or no usable link. `base` is the document's own address.
    pub fn finish(self, base: Option<&Url>, now: DateTime<Utc>) -> Option<NewArticle> {
        let title = text::clean(self.title?, TITLE_CHARS_MAX)?;
        let (url, canonical_url) = CanonicalUrl::resolve(&unescaped(self.url?), base).ok()?;
        let description = self
            .description
            .and_then(|raw| text::clean(raw, DESCRIPTION_CHARS_MAX));
        let content = self
            .content
            .and_then(|raw| text::clean(raw, CONTENT_CHARS_MAX));
        let (published_at, published_at_estimated) = plausible_date(self.published, now);
        let language = self
            .language
            .and_then(language::named)
            .or_else(|| language::detected(&title, description.as_deref()).map(str::to_owned));
        Some(NewArticle {
            language,
            outlet: self.outlet.and_then(|raw| text::clean(raw, NAME_CHARS_MAX)),
            external_id: self.external_id.and_then(external_id),
            title,
            // Many feeds repeat one text in both places; twice the same says nothing more.
            content: content.filter(|content| Some(content) != description.as_ref()),
            description,
            author: self.author.and_then(author),
            url: url.into(),
            canonical_url,
            image_url: self.image_url.and_then(|raw| image(raw, base)),
            published_at,
            published_at_estimated,
            categories: known(self.categories),
        })
    }
}

fn external_id(raw: &str) -> Option<String> {
    let id: String = raw.trim().chars().filter(|c| !c.is_control()).collect();
    (!id.is_empty() && id.len() <= EXTERNAL_ID_BYTES_MAX).then_some(id)
}

/// A byline; a page's address in its place names nobody.
fn author(raw: &str) -> Option<String> {
    text::clean(raw, NAME_CHARS_MAX)
        .filter(|name| !name.starts_with("http://") && !name.starts_with("https://"))
}

/// An image's address, absolute; only http and https, so that nobody is handed a `javascript:` or `data:` one.
fn image(raw: &str, base: Option<&Url>) -> Option<String> {
    CanonicalUrl::resolve(&unescaped(raw), base)
        .ok()
        .map(|(url, _)| url.into())
}

/// An address that was escaped for HTML once too often: no address means `&amp;`.
fn unescaped(raw: &str) -> Cow<'_, str> {
    match raw.contains("&amp;") {
        true => raw.replace("&amp;", "&").into(),
        false => raw.into(),
    }
}

fn known(mut categories: Vec<Category>) -> Vec<Category> {
    categories.sort_unstable();
    categories.dedup();
    if categories.is_empty() {
        categories.push(Category::General);
    }
    categories
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600, 0).expect("a date")
    }

    fn draft<'a>() -> Draft<'a> {
        Draft {
            title: Some("A title"),
            url: Some("https://example.com/a"),
            ..Draft::default()
        }
    }

    #[test]
    fn no_title_or_no_link_makes_no_article() {
        let base = Url::parse("https://example.com/feed").expect("a URL");
        let rows = [
            Draft {
                title: None,
                ..draft()
            },
            Draft {
                title: Some(" <b></b> "),
                ..draft()
            },
            Draft {
                url: None,
                ..draft()
            },
            Draft {
                url: Some("  "),
                ..draft()
            },
            Draft {
                url: Some("mailto:desk@example.com"),
                ..draft()
            },
            Draft {
                url: Some("javascript:alert(1)"),
                ..draft()
            },
        ];
        for row in rows {
            assert_eq!(row.clone().finish(Some(&base), now()), None, "{row:?}");
        }
    }

    #[test]
    fn categories_are_sorted_without_repeats_and_never_empty() {
        let many = vec![Category::World, Category::Business, Category::World];
        let article = Draft {
            categories: many,
            ..draft()
        }
        .finish(None, now())
        .expect("an article");
        assert_eq!(article.categories, [Category::Business, Category::World]);
        let article = draft().finish(None, now()).expect("an article");
        assert_eq!(article.categories, [Category::General]);
    }

    #[test]
    fn an_undated_article_is_dated_by_the_fetch_and_says_so() {
        let article = draft().finish(None, now()).expect("an article");
        assert_eq!(
            (article.published_at, article.published_at_estimated),
            (now(), true)
        );
    }

    #[test]
    fn a_content_that_repeats_the_description_is_left_out() {
        let article = Draft {
            description: Some("<p>Same</p>"),
            content: Some("Same"),
            ..draft()
        }
        .finish(None, now());
        let article = article.expect("an article");
        assert_eq!(
            (article.description.as_deref(), article.content),
            (Some("Same"), None)
        );
    }

    #[test]
    fn addresses_that_were_escaped_twice_are_what_they_were() {
        let draft = Draft {
            url: Some("https://example.com/a?b=1&amp;c=2"),
            image_url: Some("https://i.example/i?w=1&amp;h=2"),
            ..draft()
        };
        let article = draft.finish(None, now()).expect("an article");
        assert_eq!(article.url, "https://example.com/a?b=1&c=2");
        let image = article.image_url.as_deref();
        assert_eq!(image, Some("https://i.example/i?w=1&h=2"));
    }

    #[test]
    fn images_and_bylines_that_are_none_are_left_out() {
        let draft = Draft {
            image_url: Some("javascript:x"),
            author: Some("https://social.example/desk"),
            ..draft()
        };
        let article = draft.finish(None, now()).expect("an article");
        assert_eq!((article.image_url, article.author), (None, None));
    }
}
