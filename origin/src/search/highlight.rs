//! What matched, marked: HTML in which everything is escaped but `<mark>` around matches, safe to put into a page as it is.

use crate::articles::Article;
use serde::Serialize;

/// What the databases put around a match. Stored texts have no control characters.
const START: char = '\u{2}';
const STOP: char = '\u{3}';

/// Title and excerpt with `<mark>` around what matched; all other markup is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Highlights {
    pub title: String,
    pub text: Option<String>,
}

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Marked {
    pub(super) id: i64,
    pub(super) title: Option<String>,
    pub(super) text: Option<String>,
}

impl Highlights {
    /// Where nothing is marked, the title as it is.
    pub(super) fn new(article: &Article, marked: Option<&Marked>) -> Self {
        let title = marked.and_then(|marked| marked.title.as_deref());
        let text = marked
            .and_then(|marked| marked.text.as_deref())
            .filter(|text| !text.trim().is_empty());
        Self {
            title: to_html(title.unwrap_or(&article.title)),
            text: text.map(to_html),
        }
    }
}

/// Escapes, then makes marks of the two control characters. Every mark that is opened is closed.
fn to_html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 32);
    let mut open = false;
    for c in text.chars() {
        match c {
            START if !open => {
                html.push_str("<mark>");
                open = true;
            }
            STOP if open => {
                html.push_str("</mark>");
                open = false;
            }
            START | STOP => {}
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    if open {
        html.push_str("</mark>");
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_the_only_markup() {
        let rows = [
            ("a \u{2}quake\u{3} hits", "a <mark>quake</mark> hits"),
            (
                "<script>\u{2}alert\u{3}('1')</script> & \"co\"",
                "&lt;script&gt;<mark>alert</mark>(&#39;1&#39;)&lt;/script&gt; &amp; &quot;co&quot;",
            ),
            ("\u{3}\u{2}\u{2}open", "<mark>open</mark>"),
            ("<mark>", "&lt;mark&gt;"),
        ];
        for (text, expected) in rows {
            assert_eq!(to_html(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_leaves_other_markup(text in "[<>&\"'\u{2}\u{3}a-z/ ]{0,60}") {
            let html = to_html(&text);
            let rest = html.replace("<mark>", "").replace("</mark>", "");
            prop_assert!(!rest.contains(['<', '>', '"', '\'']), "{html}");
            prop_assert_eq!(html.matches("<mark>").count(), html.matches("</mark>").count());
        }
    }
}
