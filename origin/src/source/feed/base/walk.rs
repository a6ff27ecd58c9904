//! What copies of base URLs the parser makes of a document, told by reading it as the parser does: with its reader, set as it sets
//! it, and with its rules of which base holds where.
//!
//! Must stay true: the count is what the parser makes, or there is none. Wherever the two could part ways there is none: behind
//! whatever the reader stumbles over, which the parser may pass over, and behind a declaration, which may change what bytes mean. The time
//! is in proportion to the document's length and to the bytes that are counted. Left out: what is done without a count.

use super::ATTRIBUTE;
use quick_xml::NsReader;
use quick_xml::escape::unescape;
use quick_xml::events::{BytesStart, Event};
use std::io::BufReader;
use url::{ParseError, Url};

/// More than that in one tag take time out of proportion: each that stands twice is looked for among the others.
const ATTRIBUTES_MAX: usize = 1_000;

/// Elements within each other. The reader counts them in two bytes.
const DEPTH_MAX: usize = 10_000;

/// The bytes of the bases in force at all start tags, and of those that are kept while their elements are open: `None` when they
/// can't be told, or when they are more than that many.
pub(super) fn copied_bytes(text: &str, url: &Url, bytes_max: usize) -> Option<usize> {
    let mut reader = NsReader::from_reader(BufReader::new(text.as_bytes()));
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.trim_markup_names_in_closing_tags = true;
    config.trim_text(false);
    let (mut bases, mut copied, mut buffer) = (Bases::new(url), 0, Vec::new());
    loop {
        buffer.clear();
        let (_, event) = reader.read_resolved_event_into(&mut buffer).ok()?;
        match event {
            Event::Start(tag) => copied += bases.begin(&tag)?,
            Event::End(_) => bases.end()?,
            Event::GeneralRef(name) => drop(name.resolve_char_ref().ok()?),
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
            Event::Eof => return Some(copied),
            // The parser takes an empty element apart.
            Event::Decl(_) | Event::Empty(_) => return None,
        }
        if copied > bytes_max {
            return None;
        }
    }
}

/// The bases of the elements that are open, each with the depth of its element.
struct Bases {
    depth: usize,
    open: Vec<(usize, Url)>,
}

impl Bases {
    fn new(url: &Url) -> Self {
        let open = vec![(0, url.clone())];
        Self { depth: 0, open }
    }

    /// What the tag costs: a copy of the base in force, and its own base when it has one.
    fn begin(&mut self, tag: &BytesStart<'_>) -> Option<usize> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return None;
        }
        let kept = match value(tag)? {
            Some(value) => self.push(&value)?,
            None => 0,
        };
        let (_, in_force) = self.open.last()?;
        Some(in_force.as_str().len() + kept)
    }

    fn push(&mut self, value: &str) -> Option<usize> {
        let (_, last) = self.open.last()?;
        let base = match Url::parse(value) {
            Ok(base) => base,
            Err(ParseError::RelativeUrlWithoutBase) => match last.join(value) {
                Ok(base) => base,
                // The one before it goes on.
                Err(_) => return Some(0),
            },
            Err(_) => return None,
        };
        let bytes = base.as_str().len();
        self.open.push((self.depth, base));
        Some(bytes)
    }

    fn end(&mut self) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        while self
            .open
            .last()
            .is_some_and(|(depth, _)| *depth > self.depth)
        {
            self.open.pop();
        }
        Some(())
    }
}

/// The value of the first attribute of that name which the parser can read; `None` when there are too many attributes to look.
fn value(tag: &BytesStart<'_>) -> Option<Option<String>> {
    if !std::str::from_utf8(tag).ok()?.contains(ATTRIBUTE) {
        return Some(None);
    }
    for (index, attribute) in tag.attributes().enumerate() {
        if index >= ATTRIBUTES_MAX {
            return None;
        }
        let Ok(attribute) = attribute else { continue };
        if attribute.key.as_ref() == ATTRIBUTE.as_bytes() {
            let written = std::str::from_utf8(&attribute.value).ok()?;
            let value = unescape(written).map_or_else(|_| written.to_owned(), Into::into);
            return Some(Some(value));
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    const URL: &str = "https://a.example/";
    const MAX: usize = 10_000_000;
    const BASES: [&str; 4] = [
        "",
        " xml:base='b/'",
        " xml:base='http://c.example/dd/'",
        " xml:base='/'",
    ];

    fn copied(text: &str) -> Option<usize> {
        let url = Url::parse(URL).expect("a URL");
        copied_bytes(text, &url, MAX)
    }

    #[test]
    fn each_tag_counts_the_base_that_holds_where_it_stands() {
        let own = URL.len();
        let rows = [
            ("<a/>", own),
            ("<a><b></b><b></b></a>", 3 * own),
            (
                "<a><b xml:base='b/'><c/></b><d/></a>",
                2 * own + 3 * (own + 2),
            ),
            (
                "<a xml:base='b/'><b xml:base='c/'/></a>",
                2 * (own + 2) + 2 * (own + 4),
            ),
            // An absolute one stands for itself, and only as long as its element is open.
            (
                "<a xml:base='b/'><b xml:base='http://c/'/><d/></a>",
                3 * (own + 2) + 2 * 9,
            ),
            // What resolves to less is less, and what resolves to nothing changes nothing.
            ("<a xml:base='/'><b xml:base=''/></a>", 4 * own),
            ("<a xml:base='data:b'><b xml:base='c'/></a>", 2 * 6 + 6),
            // Written however, and the first of several.
            ("<a xml:base = \"&#98;/\"/>", 2 * (own + 2)),
            ("<a xml:base='b/' xml:base='ccc/'/>", 2 * (own + 2)),
            ("<a xml:base='&nothing;'/>", 2 * (own + 9)),
            // Nothing but the attribute of an element counts.
            ("<a b:base='b/' xml:basis='b/' b='xml:base=c'/>", own),
            (
                "<a><!-- <b xml:base='b/'> --><![CDATA[<b xml:base='b/'>]]>xml:base='b/'</a>",
                own,
            ),
            (
                "<?a xml:base='b/'?><!DOCTYPE a [<!ENTITY b \"<b xml:base='c/'>\">]><a>&b;</a>",
                own,
            ),
            // What ends too early is counted as far as it goes.
            ("<a><b xml:base='b/'>", own + 2 * (own + 2)),
        ];
        for (text, bytes) in rows {
            assert_eq!(copied(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn there_is_no_count_where_the_parser_may_read_otherwise() {
        let many = format!("<a {}xml:base='b'/>", "b='' ".repeat(ATTRIBUTES_MAX));
        let rows = [
            "<a></b>",
            "<a/></a>",
            "<a",
            "<a><!-- ",
            "<a>&#0;&#xD800;</a>",
            "<a xml:base='http://'/>",
            "<a><?xml version='1.0' encoding='utf-16'?></a>",
            &many,
        ];
        for text in rows {
            assert_eq!(copied(text), None, "{text}");
        }
    }

    #[test]
    fn counting_ends_where_there_is_too_much() {
        let nested = |elements: usize| copied(&"<a xml:base='b/'>".repeat(elements));
        assert!(nested(100).is_some());
        assert_eq!(nested(10_000), None);
        let deep = |elements: usize| copied(&"<a>".repeat(elements));
        assert!(deep(DEPTH_MAX).is_some());
        assert_eq!(deep(100_000), None);
    }

    fn element() -> impl Strategy<Value = String> {
        let link = select(&BASES[..]).prop_map(|base| format!("<link{base} href='e'/>"));
        let text = select(&["t&amp;", "<!-- <link href='e'/> -->", "<![CDATA[<link>]]>"][..]);
        let leaf = prop_oneof![3 => link, 1 => text.prop_map(str::to_owned)];
        let names = select(&["entry", "author", "content", "source"][..]);
        let parts = (names, select(&BASES[..]));
        leaf.prop_recursive(4, 40, 6, move |inner| {
            (parts.clone(), vec(inner, 0..6)).prop_map(|((name, base), inner)| {
                format!("<{name}{base} type='xhtml'>{}</{name}>", inner.concat())
            })
        })
    }

    proptest! {
        /// A link's own text is one byte of it.
        #[test]
        fn links_come_to_no_more_than_is_counted(elements in vec(element(), 0..20)) {
            let text = format!("<feed xmlns='http://www.w3.org/2005/Atom'>{}</feed>", elements.concat());
            let parser = feed_rs::parser::Builder::new().base_uri(Some(URL)).build();
            let feed = parser.parse(text.as_bytes()).expect("a feed");
            let entries = feed.entries.iter().flat_map(|entry| &entry.links);
            let made = feed.links.iter().chain(entries).map(|link| link.href.len() - 1).sum::<usize>();
            prop_assert!(Some(made) <= copied(&text), "{} of {:?}: {}", made, copied(&text), text);
        }
    }

    #[test]
    fn the_parser_reads_with_this_reader() {
        let lock = include_str!("../../../../../Cargo.lock");
        assert_eq!(lock.matches("name = \"quick-xml\"").count(), 1);
    }
}
