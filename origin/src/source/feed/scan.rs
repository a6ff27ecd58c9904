//! Where tags begin and end in text that may be no XML. Left out: what they mean.
//!
//! Must stay true: a walk along the document with these looks at each byte a few times at most, whatever stands there.

pub(super) fn tag_name(tag: &str) -> &str {
    let name = tag.strip_prefix('<').unwrap_or(tag);
    name.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '/'))
        .next()
        .unwrap_or_default()
}

pub(super) fn is_item(tag: &str) -> bool {
    let name = tag_name(tag).rsplit(':').next();
    matches!(name, Some("item" | "entry"))
}

/// Up to the end of a start tag, in whose values anything may stand.
pub(super) fn tag_bytes(tag: &str) -> usize {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    tag.len()
}

/// How many attributes the parser may see in a start tag, at most: everything that stands there outside of quotes, but its own name.
pub(super) fn attributes_max(tag: &str) -> usize {
    let (mut quote, mut in_word, mut words) = (None, false, 0_usize);
    for byte in tag.bytes() {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => (quote, in_word) = (Some(byte), false),
            (None, b'=' | b'>') => in_word = false,
            (None, _) if byte.is_ascii_whitespace() => in_word = false,
            (None, _) => {
                words += usize::from(!in_word);
                in_word = true;
            }
        }
    }
    words.saturating_sub(1)
}

/// What begins like a tag and is none, and what ends it.
const NO_TAGS: [(&str, &str); 3] = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")];

/// How long what begins like a tag and is none goes on; `Some(None)` when it has no end. Who goes on behind one without end asks
/// [`NoTags`].
pub(super) fn no_tag(rest: &str) -> Option<Option<usize>> {
    let (begin, end) = NO_TAGS.iter().find(|(begin, _)| rest.starts_with(begin))?;
    Some(length(rest, begin, end))
}

fn length(rest: &str, begin: &str, end: &str) -> Option<usize> {
    let found = rest.get(begin.len()..)?.find(end)?;
    Some(begin.len() + found + end.len())
}

/// The same all along one document, from its front to its back: what has no end has none further on, and is looked for once.
#[derive(Debug, Default)]
pub(super) struct NoTags {
    endless: [bool; NO_TAGS.len()],
}

impl NoTags {
    /// `None` for a tag, and for what has no end.
    pub(super) fn bytes(&mut self, rest: &str) -> Option<usize> {
        let mut kinds = NO_TAGS.iter().zip(&mut self.endless);
        let ((begin, end), endless) = kinds.find(|((begin, _), _)| rest.starts_with(begin))?;
        if *endless {
            return None;
        }
        let bytes = length(rest, begin, end);
        *endless = bytes.is_none();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_told_from_what_has_one() {
        let rows = [
            ("<!-- a -->b", Some(Some(10))),
            ("<!-->", Some(None)),
            ("<![CDATA[a]]>b", Some(Some(13))),
            ("<![CDATA[a", Some(None)),
            ("<?a?>b", Some(Some(5))),
            ("<a>", None),
            ("<!DOCTYPE a>", None),
        ];
        for (text, expected) in rows {
            assert_eq!(no_tag(text), expected, "{text}");
            assert_eq!(NoTags::default().bytes(text), expected.flatten(), "{text}");
        }
    }

    #[test]
    fn attributes_are_counted_however_they_are_written() {
        let rows = [
            ("<a>", 0),
            ("<a b='1' c=\"2\">", 2),
            ("<a b = '1 = 2 \" 3'c='4'\nd>", 3),
            // Its value may be taken for another one.
            ("<a b=c>", 2),
            ("<a b='c d e", 1),
            ("<a b='1' />", 2),
            ("<", 0),
            ("", 0),
        ];
        for (text, count) in rows {
            assert_eq!(attributes_max(text), count, "{text}");
        }
    }

    #[test]
    fn an_end_that_was_missed_once_is_not_looked_for_again() {
        let mut no_tags = NoTags::default();
        assert_eq!(no_tags.bytes("<!-- <? ?>"), None);
        assert_eq!(no_tags.bytes("<? ?>"), Some(5));
        // No document goes on like this: the answer shows that nobody looked.
        assert_eq!(no_tags.bytes("<!-- -->"), None);
    }
}
