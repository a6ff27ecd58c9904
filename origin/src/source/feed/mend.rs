//! What many feeds get wrong, put right in their text: bare `&`, characters that no reference can name, namespaces of other days, and
//! markup within an item that is closed nowhere, which costs that item at most.

use super::super::ITEMS_MAX;
use super::scan::{NoTags, is_item, no_tag, tag_bytes, tag_name};
use super::xml::closing;
use std::borrow::Cow;

/// The namespaces that are understood.
const ATOM: &str = "http://www.w3.org/2005/Atom";
const RSS_1: &str = "http://purl.org/rss/1.0/";
/// What Atom 0.3 called its dates.
const ATOM_0_3: [(&str, &str); 4] = [
    ("<issued>", "<published>"),
    ("</issued>", "</published>"),
    ("<modified>", "<updated>"),
    ("</modified>", "</updated>"),
];
/// Each item is read with its document's root around it: a long one would be read as often as there are items.
const ROOT_BYTES_MAX: usize = 8 * 1024;
/// The members of an item in which people write HTML.
const TEXTS: [&str; 5] = [
    "title",
    "description",
    "summary",
    "content",
    "content:encoded",
];

/// The document with each `&` that begins no reference written as one. A reference to half of a character and its other half
/// behind it are that character; what names none is U+FFFD.
pub(super) fn references(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        // Comments and character data hold no references.
        let taken = match no_tag(from) {
            Some(end) => verbatim(from, end.unwrap_or(from.len()), &mut out),
            None if from.starts_with('<') => verbatim(from, 1, &mut out),
            None => reference(from, &mut out),
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn verbatim(from: &str, bytes: usize, out: &mut String) -> usize {
    out.push_str(from.get(..bytes).unwrap_or(from));
    bytes
}

/// What begins with `&`; how many bytes were read.
fn reference(from: &str, out: &mut String) -> usize {
    if let Some((number, bytes)) = numbered(from) {
        let low = || numbered(from.get(bytes..)?);
        let whole = match (number, low()) {
            (0xD800..=0xDBFF, Some((low @ 0xDC00..=0xDFFF, more))) => {
                let number = 0x1_0000 + ((number - 0xD800) << 10) + (low - 0xDC00);
                (char::from_u32(number), bytes + more)
            }
            _ => (char::from_u32(number).filter(|c| is_allowed(*c)), bytes),
        };
        match whole.0 {
            // As a reference still: it may name a `<`.
            Some(c) => out.push_str(&format!("&#{};", u32::from(c))),
            None => out.push('\u{FFFD}'),
        }
        return whole.1;
    }
    let name = from.get(1..).unwrap_or_default();
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(name.len());
    let is_named = end > 0 && name.get(end..).is_some_and(|rest| rest.starts_with(';'));
    out.push_str(if is_named { "&" } else { "&amp;" });
    1
}

/// The number of a reference at the start of the text, and its length. One that is too large for any character is `u32::MAX`.
fn numbered(text: &str) -> Option<(u32, usize)> {
    let digits = text.strip_prefix("&#")?;
    let (digits, radix) = match digits.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    // Not on to the next `;`: it may be as far as the document is long, and so for each reference.
    let end = digits.find(|c: char| !c.is_digit(radix))?;
    let (number, rest) = digits.split_at(end);
    if number.is_empty() || !rest.starts_with(';') {
        return None;
    }
    let bytes = text.len() - digits.len() + end + 1;
    Some((
        u32::from_str_radix(number, radix).unwrap_or(u32::MAX),
        bytes,
    ))
}

/// XML 1.0 §2.2.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{1_0000}'..)
}

/// The document with the default namespace that its root's name calls for, where it has another: feeds of earlier versions, and
/// of hands that copied a wrong one, are told by their elements.
pub(super) fn namespaces<'a>(text: &'a str, root: &str, start: usize) -> Cow<'a, str> {
    let Some((from, to)) = default_namespace(root) else {
        return text.into();
    };
    let given = root.get(from..to).unwrap_or_default();
    let due = match tag_name(root) {
        "rss" => "",
        "feed" => ATOM,
        name if name.ends_with("RDF") => RSS_1,
        _ => return text.into(),
    };
    if given == due {
        return text.into();
    }
    let (before, after) = (text.get(..start + from), text.get(start + to..));
    let text = [before.unwrap_or_default(), due, after.unwrap_or_default()].concat();
    if due != ATOM {
        return text.into();
    }
    let renamed = |text: String, (old, new): &(&str, &str)| text.replace(old, new);
    ATOM_0_3.iter().fold(text, renamed).into()
}

/// Where in a start tag the value of `xmlns` stands.
fn default_namespace(root: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        at += root.get(at..)?.find("xmlns")? + "xmlns".len();
        let rest = root.get(at..)?;
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
        let Some(value) = value else { continue };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let inner = value.get(1..)?;
        let from = root.len() - inner.len();
        return Some((from, from + inner.find(quote)?));
    }
}

/// The document with those items only that `is_sound` by themselves, and how many are not. Where they are not because of HTML
/// among their members, that is made text first.
pub(super) fn sound_items(
    text: &str,
    root: &str,
    is_sound: impl Fn(&str) -> bool,
) -> Option<(String, usize)> {
    let name = tag_name(root);
    let (item_end, end) = closing(name)?;
    if root.len() > ROOT_BYTES_MAX {
        return None;
    }
    let bare = format!("{root}{}", if name == "rss" { "<channel>" } else { "" });
    let starts = item_starts(text);
    let head = text.get(..*starts.first()?)?;
    let mut whole = match is_sound(&format!("{head}{end}")) {
        true => head.to_owned(),
        false => bare.clone(),
    };
    let (mut kept, mut broken) = (0, 0);
    for (index, from) in starts.iter().enumerate().take(ITEMS_MAX) {
        let to = starts.get(index + 1).copied().unwrap_or(text.len());
        let item = text.get(*from..to)?;
        let item = item
            .rfind(&item_end)
            .and_then(|at| item.get(..at + item_end.len()));
        let sound = item.and_then(|item| {
            [Cow::from(item), Cow::from(as_text(item))]
                .into_iter()
                .find(|item| is_sound(&format!("{bare}{item}{end}")))
        });
        match sound {
            Some(item) => {
                whole.push_str(&item);
                kept += 1;
            }
            None => broken += 1,
        }
    }
    whole.push_str(&end);
    (kept > 0).then_some((whole, broken))
}

/// Of the items that are read, and of the one behind them.
fn item_starts(text: &str) -> Vec<usize> {
    let (mut at, mut starts, mut no_tags) = (0, Vec::new(), NoTags::default());
    while starts.len() <= ITEMS_MAX
        && let Some(next) = text.get(at..).and_then(|rest| rest.find('<'))
    {
        at += next;
        let rest = text.get(at..).unwrap_or_default();
        if is_item(rest) && !rest.starts_with("</") {
            starts.push(at);
        }
        // Within quotes a `>` ends nothing; but where markup is broken, quotes are no guide: the next `<` is a tag.
        at += no_tags.bytes(rest).unwrap_or(1);
    }
    starts
}

/// An item whose texts are character data, as they would be if their writer had known.
fn as_text(item: &str) -> String {
    TEXTS.iter().fold(item.to_owned(), |item, name| {
        member_as_text(&item, name).unwrap_or(item)
    })
}

fn member_as_text(item: &str, name: &str) -> Option<String> {
    let opening = item
        .match_indices('<')
        .filter_map(|(at, _)| Some((at, item.get(at..)?)))
        .find(|(_, tag)| tag_name(tag) == name);
    let (at, tag) = opening?;
    let from = at + tag_bytes(tag);
    let inner = item.get(from..)?;
    let inner = inner.get(..inner.find(&format!("</{name}"))?)?;
    if !inner.contains('<') || inner.contains("<![CDATA[") || inner.contains("]]>") {
        return None;
    }
    let (before, after) = (item.get(..from)?, item.get(from + inner.len()..)?);
    Some([before, "<![CDATA[", inner, "]]>", after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_no_reference_is_written_as_one() {
        let rows = [
            ("a & b &amp; c", "a &amp; b &amp; c"),
            (
                "<a href='?x=1&y=2&#38;z'/>",
                "<a href='?x=1&amp;y=2&#38;z'/>",
            ),
            ("M&S; R&D", "M&S; R&amp;D"),
            ("&eacute; &#233; &#xE9;", "&eacute; &#233; &#233;"),
            (
                "&#0; &#x1F; &#99999999999; &#xFFFE;",
                "\u{FFFD} \u{FFFD} \u{FFFD} \u{FFFD}",
            ),
            (
                "&#55357;&#56832; &#xD83D; &#60;",
                "&#128512; \u{FFFD} &#60;",
            ),
            ("&# &#; &#x; &", "&amp;# &amp;#; &amp;#x; &amp;"),
            ("&#0000000000000065; &#65 ;", "&#65; &amp;#65 ;"),
            (
                "<![CDATA[a & b]]> & <!-- & -->",
                "<![CDATA[a & b]]> &amp; <!-- & -->",
            ),
            ("<![CDATA[a & b", "<![CDATA[a & b"),
        ];
        for (text, expected) in rows {
            assert_eq!(references(text), expected, "{text}");
        }
    }

    #[test]
    fn the_default_namespace_is_that_of_the_roots_name() {
        let rows = [
            (
                "<rss xmlns:x='a' xmlns = \"http://backend.example/rss2\">",
                "<rss xmlns:x='a' xmlns = \"\">",
            ),
            ("<rss xmlns:x='a'>", "<rss xmlns:x='a'>"),
            (
                "<feed xmlns='https://www.w3.org/2005/Atom'>",
                "<feed xmlns='http://www.w3.org/2005/Atom'>",
            ),
            (
                "<feed xmlns='http://www.w3.org/2005/Atom'><issued>",
                "<feed xmlns='http://www.w3.org/2005/Atom'><issued>",
            ),
            (
                "<feed xmlns='http://purl.org/atom/ns#'><issued>x</issued>",
                "<feed xmlns='http://www.w3.org/2005/Atom'><published>x</published>",
            ),
            (
                "<rdf:RDF xmlns='http://my.netscape.com/rdf/simple/0.9/'>",
                "<rdf:RDF xmlns='http://purl.org/rss/1.0/'>",
            ),
            ("<feed xmlns=>", "<feed xmlns=>"),
        ];
        for (text, expected) in rows {
            let root = text.split_inclusive('>').next().expect("a tag");
            assert_eq!(namespaces(text, root, 0), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_mended_without_end(text in "[<>&;#x0-9a!\\[\\]CDATA/ item'\"=-]{0,80}") {
            let mended = references(&text);
            proptest::prop_assert_eq!(references(&mended), mended);
            let _ = sound_items(&text, "<rss>", |_| true);
            let _ = namespaces(&text, "<rss xmlns='x'>", 0);
        }
    }
}
