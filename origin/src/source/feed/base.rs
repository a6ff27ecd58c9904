//! How long the parser's copies of base URLs may become: it resolves every link against the one in force (`xml:base`, or the
//! document's own), so that a tag of a few bytes takes as much memory as its base is long.
//!
//! Must stay true: what is judged here is never less than what the parser makes of it. So nothing is parsed at first, everything is
//! counted: whatever looks like a tag, and whatever looks like the attribute, in comments and texts too. Only what that finds too much
//! is read as the parser reads it (`walk`), and is too much when it can't be.

mod walk;

use url::Url;

/// The attribute as the parser knows it: by these characters, whatever its namespace.
const ATTRIBUTE: &str = "xml:base";
/// Longest value, in bytes as written.
const VALUE_BYTES_MAX: usize = 2_048;
/// Most bytes of all tags' bases together.
const COPIED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a character may become that may not stand in a URL: its bytes are read one by one, and three of each are written as `%XX`.
const ENCODED_BYTES_MAX: usize = 9;
/// What resolving adds of its own: a scheme, slashes, an address in full.
const ADDED_BYTES_MAX: usize = 64;

/// What a document may be resolved against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base<'a> {
    Given(&'a Url),
    /// Links stay as they are written: there is too much of them for the document's own URL.
    Without,
    /// Its own bases are too long for so many tags.
    TooMuch,
}

/// Decides what the document, which came from `url`, may be resolved against.
pub(super) fn of<'a>(text: &str, url: &'a Url) -> Base<'a> {
    let Some(values) = values(text) else {
        return Base::TooMuch;
    };
    let longest = values.absolute + values.relative + url.as_str().len();
    if longest.saturating_mul(tags(text)) <= COPIED_BYTES_MAX {
        return Base::Given(url);
    }
    if values.count == 0 {
        return Base::Without;
    }
    match fits(text, url) {
        true => Base::Given(url),
        false => Base::TooMuch,
    }
}

/// Whether there isn't too much in what the parser makes of it. A reader that panics on a stranger's bytes has not told that.
fn fits(text: &str, url: &Url) -> bool {
    let count = || walk::copied_bytes(text, url, COPIED_BYTES_MAX);
    std::panic::catch_unwind(count).is_ok_and(|copied| copied.is_some())
}

/// What the values of the attribute may come to, in bytes of a URL.
#[derive(Debug, Default, PartialEq, Eq)]
struct Values {
    count: usize,
    /// The longest that stands for itself.
    absolute: usize,
    /// All the others together, as if each were resolved against the one before it.
    relative: usize,
}

/// `None` when one of them is too long.
fn values(text: &str) -> Option<Values> {
    let mut values = Values::default();
    for (at, attribute) in text.match_indices(ATTRIBUTE) {
        values.count += 1;
        let rest = text.get(at + attribute.len()..).unwrap_or_default();
        let value = value(rest)?;
        let bytes = ADDED_BYTES_MAX + value.bytes().map(encoded_bytes_max).sum::<usize>();
        if value.starts_with("http://") || value.starts_with("https://") {
            values.absolute = values.absolute.max(bytes);
        } else {
            values.relative += bytes;
        }
    }
    Some(values)
}

/// What stands in quotes behind the attribute's name; empty when nothing does, `None` when it has no end near by.
fn value(rest: &str) -> Option<&str> {
    let value = rest
        .trim_start()
        .strip_prefix('=')
        .map(str::trim_start)
        .and_then(|value| Some((value.chars().next()?, value.get(1..)?)))
        .filter(|(quote, _)| matches!(quote, '"' | '\''));
    let Some((quote, value)) = value else {
        return Some("");
    };
    let bytes = value
        .bytes()
        .take(VALUE_BYTES_MAX + 1)
        .position(|byte| char::from(byte) == quote)?;
    value.get(..bytes)
}

fn encoded_bytes_max(byte: u8) -> usize {
    match byte.is_ascii_alphanumeric() || b"-._~:/?#@!$()*+,;=%".contains(&byte) {
        true => 1,
        false => ENCODED_BYTES_MAX,
    }
}

/// What looks like a start tag.
fn tags(text: &str) -> usize {
    let after = text.as_bytes().windows(2);
    after
        .filter(|pair| matches!(pair, [b'<', next] if !matches!(next, b'/' | b'!' | b'?')))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://feed.example/rss.xml").expect("a URL")
    }

    #[test]
    fn values_are_found_however_they_are_written() {
        let rows = [
            ("<a xml:base='http://a.example/'>", 1, 17, 0),
            ("<a xml:base = \"b/\"><b\n xml:base\t=\t'c/'>", 2, 0, 4),
            (
                "<a xml:base='http://a.example/'><b xml:base='https://b.example/'>",
                2,
                18,
                0,
            ),
            (
                "<![CDATA[xml:base]]> <!-- xml:base='b' --> xml:base=",
                3,
                0,
                1,
            ),
            ("<a xml:base='&#233;é '>", 1, 0, 9 + 1 + 3 + 1 + 2 * 9 + 9),
            ("<a xmlbase='b'>", 0, 0, 0),
        ];
        for (text, count, absolute, relative) in rows {
            let found = values(text).expect("short ones");
            assert_eq!(found.count, count, "{text}");
            let added = |sum: usize| sum % ADDED_BYTES_MAX;
            assert_eq!(
                (added(found.absolute), added(found.relative)),
                (absolute, relative),
                "{text}"
            );
        }
    }

    #[test]
    fn modest_bases_are_kept_and_long_ones_refused() {
        let url = url();
        let feed = |base: &str, links: usize| {
            let links = "<link href='c'/>".repeat(links);
            of(&format!("<feed xml:base='{base}'>{links}</feed>"), &url)
        };
        assert_eq!(feed("https://blog.example/", 50_000), Base::Given(&url));
        let long = format!("https://blog.example/{}", "b".repeat(1_000));
        assert_eq!(feed(&long, 5_000), Base::Given(&url));
        assert_eq!(feed(&long, 50_000), Base::TooMuch);
        let longest = VALUE_BYTES_MAX - "https://blog.example/".len();
        let longest = format!("https://blog.example/{}", "b".repeat(longest));
        assert_eq!(feed(&longest, 1), Base::Given(&url));
        assert_eq!(feed(&format!("{longest}b"), 1), Base::TooMuch);
        let nested = |elements: usize| of(&"<a xml:base='b/'>".repeat(elements), &url);
        assert_eq!(nested(100), Base::Given(&url));
        let in_turn = |elements: usize| of(&"<a xml:base='b/'/>".repeat(elements), &url);
        assert_eq!(in_turn(20_000), Base::Given(&url));
        let unsound = format!("{}</b>", "<a xml:base='b/'/>".repeat(20_000));
        assert_eq!(of(&unsound, &url), Base::TooMuch);
        assert_eq!(nested(20_000), Base::TooMuch);
        assert_eq!(of("<a xml:base='b", &url), Base::TooMuch);
    }

    #[test]
    fn a_documents_own_long_url_is_left_out_where_it_would_be_copied_too_often() {
        let long = format!("https://feed.example/{}", "b".repeat(60_000));
        let long = Url::parse(&long).expect("a URL");
        let links = |links: usize| "<link href='c'/>".repeat(links);
        assert_eq!(of(&links(100), &long), Base::Given(&long));
        assert_eq!(of(&links(1_000), &long), Base::Without);
        let based = format!("<a xml:base='b/'/>{}", links(1_000));
        assert_eq!(of(&based, &long), Base::TooMuch);
    }
}
