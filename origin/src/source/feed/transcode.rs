//! Bytes to text, whatever they claim to be: byte order mark, then HTTP's charset, then the XML declaration, then UTF-8,
//! and windows-1252 for the rest. A claim that the bytes contradict is passed over. The declaration itself goes,
//! because afterwards it would be wrong.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use std::borrow::Cow;

/// A declaration stands in the first line; nobody writes a longer one.
const DECLARATION_BYTES_MAX: usize = 1_024;

/// The document as text, without byte order mark, XML declaration and characters that no XML may hold.
pub(in crate::source) fn to_text(body: &[u8], http_charset: Option<&str>) -> String {
    let text = decode(body, http_charset);
    let text: String = text.chars().filter(|c| !is_forbidden(*c)).collect();
    match without_declaration(&text) {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

fn decode(body: &[u8], http_charset: Option<&str>) -> String {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(body) {
        let (text, _) =
            encoding.decode_without_bom_handling(body.get(mark_bytes..).unwrap_or_default());
        return text.into_owned();
    }
    let claims = [
        http_charset.and_then(label),
        declared(body),
        unmarked_utf_16(body),
    ];
    // Much is UTF-8 that says Latin-1, and never the reverse: other text is not UTF-8 by accident.
    let utf_8_first = claims
        .iter()
        .flatten()
        .all(|claim| claim.is_single_byte() && *claim == WINDOWS_1252);
    let first = utf_8_first.then_some(UTF_8);
    let mut candidates = first
        .into_iter()
        .chain(claims.into_iter().flatten())
        .chain([UTF_8]);
    let exact = candidates
        .find_map(|encoding| encoding.decode_without_bom_handling_and_without_replacement(body));
    exact.map_or_else(
        || {
            best_guess(
                body,
                claims.into_iter().flatten().find(|claim| *claim != UTF_8),
            )
        },
        Cow::into_owned,
    )
}

/// Nothing fits exactly: broken places will show as U+FFFD. A claim other than UTF-8 is still the best guess. Without one
/// it is UTF-8 with an accident here and there, or not UTF-8 at all: whichever explains more of the text.
fn best_guess(body: &[u8], claim: Option<&'static Encoding>) -> String {
    let utf_8 = UTF_8.decode_without_bom_handling(body).0;
    let broken = utf_8.chars().filter(|c| *c == '\u{FFFD}').count();
    let meant = utf_8.chars().filter(|c| !c.is_ascii()).count() - broken;
    match claim {
        None if meant >= broken => utf_8.into_owned(),
        claim => claim
            .unwrap_or(WINDOWS_1252)
            .decode_without_bom_handling(body)
            .0
            .into_owned(),
    }
}

fn label(name: &str) -> Option<&'static Encoding> {
    Encoding::for_label(name.trim().as_bytes())
}

/// The encoding that an XML declaration names. One that could be read as ASCII can't be UTF-16, whatever it says.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let head = body.get(..DECLARATION_BYTES_MAX.min(body.len()))?;
    let head = String::from_utf8_lossy(head);
    let declaration = head.trim_start().strip_prefix("<?xml")?.split_once("?>")?.0;
    let after = declaration
        .split_once("encoding")?
        .1
        .trim_start()
        .strip_prefix('=')?
        .trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let encoding = label(after.get(1..)?.split_once(quote)?.0)?;
    Some(if encoding == UTF_16LE || encoding == UTF_16BE {
        UTF_8
    } else {
        encoding
    })
}

/// What a document begins with, and the character behind it, in two bytes each.
fn unmarked_utf_16(body: &[u8]) -> Option<&'static Encoding> {
    match body.get(..4)? {
        [b'<' | b'{' | b'[', 0, second, 0] if *second != 0 => Some(UTF_16LE),
        [0, b'<' | b'{' | b'[', 0, second] if *second != 0 => Some(UTF_16BE),
        _ => None,
    }
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\u{0}'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

fn without_declaration(text: &str) -> Option<&str> {
    let declaration = text.trim_start().strip_prefix("<?xml")?;
    // "<?xml-stylesheet" is an instruction of its own.
    if !declaration.starts_with(|c: char| c.is_whitespace()) {
        return None;
    }
    Some(declaration.split_once("?>")?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn the_encoding_is_found_however_it_is_hidden() {
        let latin = b"<rss>caf\xE9</rss>".as_slice();
        let marked = [
            b"\xFF\xFE".as_slice(),
            &utf_16("<rss>café</rss>", u16::to_le_bytes),
        ]
        .concat();
        let marked_be = [
            b"\xFE\xFF".as_slice(),
            &utf_16("<rss>café</rss>", u16::to_be_bytes),
        ]
        .concat();
        let lying = [
            b"\xFF\xFE".as_slice(),
            &utf_16(
                "<?xml version='1.0' encoding='utf-8'?><rss>café</rss>",
                u16::to_le_bytes,
            ),
        ]
        .concat();
        let rows: [(&[u8], Option<&str>, &str); 15] = [
            ("<rss>café</rss>".as_bytes(), None, "<rss>café</rss>"),
            (latin, None, "<rss>café</rss>"),
            (latin, Some("utf-8"), "<rss>café</rss>"),
            (
                "<rss>café naïve \u{1F600}</rss>".as_bytes(),
                None,
                "<rss>café naïve \u{1F600}</rss>",
            ),
            (
                b"<rss>caf\xC3\xA9 na\xC3\xAFve \xE9</rss>",
                None,
                "<rss>café naïve \u{FFFD}</rss>",
            ),
            (b"<rss>\x93x\x94</rss>", None, "<rss>“x”</rss>"),
            (b"\xEF\xBB\xBF<rss/>", Some("iso-8859-1"), "<rss/>"),
            (&marked, Some("utf-8"), "<rss>café</rss>"),
            (&marked_be, None, "<rss>café</rss>"),
            (&lying, None, "<rss>café</rss>"),
            (
                &utf_16("<rss>café</rss>", u16::to_le_bytes),
                None,
                "<rss>café</rss>",
            ),
            (
                b"<?xml version='1.0' encoding='koi8-r'?><rss>\xC4\xC1</rss>",
                None,
                "<rss>да</rss>",
            ),
            (
                b"<?xml version='1.0' encoding='windows-1251'?><rss>\xE4\xE0</rss>",
                Some("utf-8"),
                "<rss>да</rss>",
            ),
            (
                "<?xml version='1.0' encoding='iso-8859-1'?><rss>café</rss>".as_bytes(),
                None,
                "<rss>café</rss>",
            ),
            (
                "<?xml version='1.0' encoding='x-no-such'?><rss>é</rss>".as_bytes(),
                None,
                "<rss>é</rss>",
            ),
        ];
        for (body, charset, expected) in rows {
            assert_eq!(to_text(body, charset), expected, "{body:?} {charset:?}");
        }
    }

    #[test]
    fn only_the_declaration_goes() {
        let rows = [
            ("  <?xml version=\"1.0\"?>\n<rss/>", "\n<rss/>"),
            (
                "<?xml-stylesheet href='a'?><rss/>",
                "<?xml-stylesheet href='a'?><rss/>",
            ),
            ("<?xml version='1.0'", "<?xml version='1.0'"),
            ("{\"a\": \"?>\"}", "{\"a\": \"?>\"}"),
        ];
        for (text, expected) in rows {
            assert_eq!(to_text(text.as_bytes(), None), expected);
        }
    }

    #[test]
    fn characters_that_no_xml_may_hold_are_dropped() {
        assert_eq!(to_text(b"<a>x\0\x0B\x1Fy\tz\n</a>", None), "<a>xy\tz\n</a>");
    }
}
