//! Plain text out of what strangers wrote: tags go, entities are decoded once, control characters go, blanks collapse.
//!
//! Left out: sanitising HTML for display. Nothing here gives HTML back; what looks like a tag afterwards was text.

mod markup;

pub use markup::{first_image, strip_tags};

/// Longest title kept, in characters: no real headline comes near.
pub const TITLE_CHARS_MAX: usize = 500;
/// Longest description kept, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 2_000;
/// Longest body kept, in characters: enough for search and tone, and licences allow excerpts only.
pub const CONTENT_CHARS_MAX: usize = 20_000;
/// Longest name of an author or outlet, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// Markup is longer than its text, but not without end: only this much of a field is looked at.
const MARKUP_BYTES_MAX: usize = 512 * 1024;

/// The plain text of a field that may hold HTML, at most `chars_max` long; `None` when nothing is left.
pub fn clean(raw: &str, chars_max: usize) -> Option<String> {
    let raw = head(raw, MARKUP_BYTES_MAX);
    let text = strip_tags(raw);
    // Old pages leave out the semicolon of this one more often than not.
    let text = text.replace("&nbsp;", " ").replace("&nbsp", " ");
    let text = html_escape::decode_html_entities(&text);
    let text = collapse(&text);
    (!text.is_empty()).then(|| cut(text, chars_max))
}

/// What somebody wrote for us, on one line: blanks collapse, what cannot be seen goes, and nothing is taken for markup.
pub fn plain_line(raw: &str) -> Option<String> {
    let text = collapse(raw);
    (!text.is_empty()).then_some(text)
}

/// The same on several lines, with at most one empty line between two others.
pub fn plain_lines(raw: &str) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut empty_lines = 0;
    for line in raw.lines().map(collapse) {
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        if !text.is_empty() {
            text.push_str(if empty_lines == 0 { "\n" } else { "\n\n" });
        }
        empty_lines = 0;
        text.push_str(&line);
    }
    (!text.is_empty()).then_some(text)
}

/// The longest prefix of at most `bytes_max` bytes that ends between characters.
fn head(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

/// Blanks of any kind become one space; control characters and those that change the reading direction of what
/// stands around them go, NUL above all: PostgreSQL's `text` refuses it.
fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars().map(windows_1252) {
        if c.is_whitespace() {
            blank = !out.is_empty();
        } else if !is_unprintable(c) {
            if blank {
                out.push(' ');
                blank = false;
            }
            out.push(c);
        }
    }
    out
}

/// Old pages write `&#146;` and mean the windows-1252 byte, as HTML itself reads it: nobody means the control character.
fn windows_1252(c: char) -> char {
    match u8::try_from(c) {
        Ok(byte @ 0x80..=0x9F) => encoding_rs::WINDOWS_1252
            .decode_without_bom_handling(&[byte])
            .0
            .chars()
            .next()
            .unwrap_or(c),
        _ => c,
    }
}

fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{AD}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{FFFC}' | '\u{FFFE}' | '\u{FFFF}')
}

/// At most `chars_max` characters, an ellipsis in the place of the last one when something was cut.
fn cut(text: String, chars_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(chars_max) else {
        return text;
    };
    let mut short: String = text.get(..end).unwrap_or_default().to_owned();
    short.pop();
    let trimmed = short.trim_end().len();
    short.truncate(trimmed);
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_plain_text() {
        let rows = [
            ("plain", "plain"),
            ("  two \r\n\t blanks\u{a0}here ", "two blanks here"),
            ("<b>Bold</b> move", "Bold move"),
            ("<p>One</p><p>Two</p>", "One Two"),
            ("line<br/>break", "line break"),
            (
                "AT&amp;T &#x27;n&#39; more &mdash; all",
                "AT&T 'n' more — all",
            ),
            ("&lt;b&gt; is a tag", "<b> is a tag"),
            ("&amp;lt;b&amp;gt; once only", "&lt;b&gt; once only"),
            ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
            (
                "avert a partial <a href=\"/world/us/what-does-it…",
                "avert a partial",
            ),
            ("a<!-- hidden -->b", "ab"),
            ("x<script>alert('<p>')</script>y", "xy"),
            ("x<style>p{}</style>y", "xy"),
            ("nul\0and\u{7}bell", "nulandbell"),
            (
                "soft\u{ad}hyphen \u{202e}turned\u{202c}",
                "softhyphen turned",
            ),
            ("&nbsp;edge&nbsp;", "edge"),
            ("Open &nbsp Access", "Open Access"),
            ("it&#146;s &#150; old", "it’s – old"),
        ];
        for (raw, expected) in rows {
            assert_eq!(clean(raw, 100).as_deref(), Some(expected), "{raw:?}");
        }
    }

    #[test]
    fn nothing_left_is_none() {
        for raw in [
            "",
            "  ",
            "<p></p>",
            "&nbsp;",
            "\0",
            "<!-- only -->",
            "<img src='x'>",
        ] {
            assert_eq!(clean(raw, 100), None, "{raw:?}");
        }
    }

    #[test]
    fn what_people_write_stays_as_it_is_but_for_blanks_and_what_cannot_be_seen() {
        let written = "  <b>5 &lt; 6</b>\t\u{202E}now \r\n\n \n\n\0second\nthird\n\n";
        let lines = plain_lines(written);
        assert_eq!(
            lines.as_deref(),
            Some("<b>5 &lt; 6</b> now\n\nsecond\nthird")
        );
        assert_eq!(plain_line("a\nb\u{200B} c").as_deref(), Some("a b c"));
        for nothing in ["", " \n\t", "\u{200B}\n\0"] {
            assert_eq!((plain_line(nothing), plain_lines(nothing)), (None, None));
        }
    }

    #[test]
    fn cutting_counts_characters_and_marks_the_cut() {
        assert_eq!(clean("äöüß", 4).as_deref(), Some("äöüß"));
        assert_eq!(clean("äöüßx", 4).as_deref(), Some("äöü…"));
        assert_eq!(clean("ab cd", 4).as_deref(), Some("ab…"));
    }

    #[test]
    fn huge_markup_is_looked_at_only_so_far() {
        let raw = "é".repeat(MARKUP_BYTES_MAX);
        let text = clean(&raw, CONTENT_CHARS_MAX).expect("text");
        assert_eq!(text.chars().count(), CONTENT_CHARS_MAX);
    }
}
