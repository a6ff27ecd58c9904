//! Just enough HTML to take tags out of text and find an image in it; no tree, one pass, any input.

/// The text between tags. Block tags leave a blank behind, inline ones nothing; comments, scripts and styles go whole.
/// A `<` that opens no tag stays: "5 < 6" is text. A tag that a length limit cut off goes.
pub fn strip_tags(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let last = Last::of(html);
    let mut rest = html;
    while let Some((before, from_tag)) = split_at_char(rest, '<') {
        out.push_str(before);
        let Some(tag) = read_tag(from_tag, &last) else {
            out.push('<');
            rest = from_tag.get(1..).unwrap_or_default();
            continue;
        };
        if tag.is_block() {
            out.push(' ');
        }
        rest = tag.rest;
    }
    out.push_str(rest);
    out
}

/// The address of the first `<img>` in the markup, entities decoded.
pub fn first_image(html: &str) -> Option<String> {
    let last = Last::of(html);
    let mut rest = html;
    while let Some((_, from_tag)) = split_at_char(rest, '<') {
        let Some(tag) = read_tag(from_tag, &last) else {
            rest = from_tag.get(1..)?;
            continue;
        };
        if tag.name.eq_ignore_ascii_case("img")
            && let Some(src) = attribute(tag.inner, "src")
            && !src.starts_with("data:")
        {
            return Some(html_escape::decode_html_entities(src).into_owned());
        }
        rest = tag.rest;
    }
    None
}

/// How far from the end of the markup the last `>` and the last `=` stand. It spares every `<` behind them a search to the
/// end: a text of nothing but `<a <a <a` would take minutes.
struct Last {
    end: Option<usize>,
    equals: Option<usize>,
}

impl Last {
    fn of(html: &str) -> Self {
        let from_end = |c| html.rfind(c).map(|at| html.len() - at);
        Self {
            end: from_end('>'),
            equals: from_end('='),
        }
    }

    fn end_is_in(&self, rest: &str) -> bool {
        self.end.is_some_and(|bytes| bytes <= rest.len())
    }

    fn equals_is_in(&self, rest: &str) -> bool {
        self.equals.is_some_and(|bytes| bytes <= rest.len())
    }
}

struct Tag<'a> {
    /// Without the slash of an end tag; empty for comments and declarations.
    name: &'a str,
    /// What stands between name and `>`.
    inner: &'a str,
    /// What follows the tag (for script and style: what follows their end).
    rest: &'a str,
}

impl Tag<'_> {
    fn is_block(&self) -> bool {
        const BLOCKS: [&str; 25] = [
            "address",
            "article",
            "aside",
            "blockquote",
            "br",
            "dd",
            "div",
            "dl",
            "dt",
            "figcaption",
            "figure",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "hr",
            "li",
            "ol",
            "p",
            "section",
            "table",
            "td",
            "ul",
        ];
        BLOCKS
            .iter()
            .any(|block| self.name.eq_ignore_ascii_case(block))
    }
}

/// Reads the tag that `html` begins with; `None` when its `<` is only a character.
fn read_tag<'a>(html: &'a str, last: &Last) -> Option<Tag<'a>> {
    if let Some(comment) = html.strip_prefix("<!--") {
        let rest = comment
            .find("-->")
            .and_then(|end| comment.get(end + 3..))
            .unwrap_or_default();
        return Some(Tag {
            name: "",
            inner: "",
            rest,
        });
    }
    let body = html.get(1..)?;
    let named = body.strip_prefix('/').unwrap_or(body);
    let first = named.chars().next()?;
    if matches!(first, '!' | '?') {
        if !last.end_is_in(body) {
            return None;
        }
        let end = body.find('>')?;
        return Some(Tag {
            name: "",
            inner: "",
            rest: body.get(end + 1..).unwrap_or_default(),
        });
    }
    if !first.is_ascii_alphabetic() {
        return None;
    }
    let name_end = named
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | ':')))
        .unwrap_or(named.len());
    let (name, after_name) = named.split_at_checked(name_end)?;
    let end = last.end_is_in(after_name).then(|| tag_end(after_name));
    let Some(end) = end.flatten() else {
        // Cut off in the middle. Only what surely was a tag is dropped: "a <b and c" has no end either.
        let was_tag =
            last.equals_is_in(after_name) || after_name.is_empty() && html.starts_with("</");
        return was_tag.then_some(Tag {
            name,
            inner: after_name,
            rest: "",
        });
    };
    let inner = after_name.get(..end)?;
    let rest = after_name.get(end + 1..).unwrap_or_default();
    let raw_text = ["script", "style"]
        .into_iter()
        .find(|raw| name.eq_ignore_ascii_case(raw));
    let rest = match raw_text {
        Some(raw) if !body.starts_with('/') => after_raw_text(rest, raw),
        _ => rest,
    };
    Some(Tag { name, inner, rest })
}

/// Where the tag's `>` is: not one inside quotes, unless the quotes never close.
fn tag_end(inner: &str) -> Option<usize> {
    let mut quote = None;
    let mut after_equals = false;
    for (index, byte) in inner.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(index),
            (None, b'"' | b'\'') if after_equals => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            after_equals = byte == b'=';
        }
    }
    quote.and_then(|_| inner.find('>'))
}

/// What follows `</name ...>`; nothing when it never comes.
fn after_raw_text<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(start) = rest.find("</") {
        rest = rest.get(start + 2..).unwrap_or_default();
        if rest
            .get(..name.len())
            .is_some_and(|end| end.eq_ignore_ascii_case(name))
        {
            return rest
                .find('>')
                .and_then(|end| rest.get(end + 1..))
                .unwrap_or_default();
        }
    }
    ""
}

/// The value of an attribute, quoted or not.
fn attribute<'a>(inner: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('=') {
        let found = before.split_ascii_whitespace().next_back()?;
        let after = after.trim_start();
        let (value, next) = match after.chars().next()? {
            quote @ ('"' | '\'') => after.get(1..)?.split_once(quote)?,
            _ => after
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((after, "")),
        };
        if found.eq_ignore_ascii_case(name) {
            return Some(value.trim());
        }
        rest = next;
    }
    None
}

/// Splits before the first `c`.
fn split_at_char(text: &str, c: char) -> Option<(&str, &str)> {
    text.split_at_checked(text.find(c)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hide_the_end_of_a_tag() {
        assert_eq!(strip_tags("a<i title='x > y'>b</i>c"), "abc");
        assert_eq!(strip_tags("it's <b>John's</b> turn"), "it's John's turn");
        assert_eq!(strip_tags("a<i title='open>b"), "ab");
    }

    #[test]
    fn a_lone_angle_bracket_is_text() {
        for text in ["a < b", "<3", "<", "x <", "a <b and c", "<>", "</>"] {
            assert_eq!(strip_tags(text), text);
        }
    }

    #[test]
    fn tags_that_never_end_cost_one_look_each() {
        let begun = std::time::Instant::now();
        for piece in [
            "<a ",
            "<!",
            "<?x ",
            "</a ",
            "<a<",
            "&a",
            "<!-",
            "<a='",
            "<img src=\"",
            "<5",
        ] {
            let html = piece.repeat(512 * 1024 / piece.len());
            let text = crate::article::text::clean(&html, 10);
            assert!(
                text.is_none_or(|text| text.chars().count() <= 10),
                "{piece}"
            );
            first_image(&html);
            let closed = format!("{html}\u{201c}=x");
            strip_tags(&closed);
        }
        // One search to the end for each of them takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn an_image_is_found_however_it_is_quoted() {
        let rows = [
            (
                "<p>x</p><img alt='a' src=\"https://example.com/a.jpg\">",
                Some("https://example.com/a.jpg"),
            ),
            ("<IMG SRC=/b.png alt=x>", Some("/b.png")),
            (
                "<img src='https://example.com/?a=1&amp;b=2'/>",
                Some("https://example.com/?a=1&b=2"),
            ),
            (
                "<img src='data:image/gif;base64,R0'><img src='c.jpg'>",
                Some("c.jpg"),
            ),
            ("<image src='d.jpg'>", None),
            ("<img data-src='e.jpg'>", None),
            ("no image", None),
            ("<img src='unclosed", None),
        ];
        for (html, expected) in rows {
            assert_eq!(first_image(html).as_deref(), expected, "{html}");
        }
    }
}
