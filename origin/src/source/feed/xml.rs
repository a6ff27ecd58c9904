//! feed-rs behind repairs: what many feeds get wrong is put right before parsing, and a document cut off in the middle
//! gives the items before the cut.

use super::super::ITEMS_MAX;
use super::base::{self, Base};
use super::scan::{attributes_max, is_item, no_tag, tag_bytes, tag_name};
use super::{SourceError, mend};
use crate::article::parse_date;
use feed_rs::model::Feed;
use feed_rs::parser::{Builder, ParseFeedError, ParseFeedResult};
use std::borrow::Cow;
use url::Url;

/// Elements of all the items that are read: a hundred each.
const TAGS_MAX: usize = 100 * ITEMS_MAX;

/// Attributes of an element, besides which no other is read: the parser compares each with all before it.
const ATTRIBUTES_MAX: usize = 500;

/// Items of a document of which fewer can be told apart: what is written there is made to confuse.
const ITEMS_COUNTED_MAX: usize = 10 * ITEMS_MAX;

const TOO_MUCH_BASE: &str = "too much of xml:base";
const TOO_MANY_TAGS: &str = "too many elements";

/// Reads an XML feed from text without declaration; and how many of its items are no XML.
pub(super) fn read(text: &str, url: &Url) -> Result<(Feed, usize), SourceError> {
    let malformed = |what: &str| SourceError::Malformed(what.to_owned());
    let (start, end) = root_tag(text).ok_or_else(|| malformed("no XML element at all"))?;
    let root = text.get(start..end).unwrap_or_default();
    if is_feed(tag_name(root)) {
        return read_feed(text, start, end, url);
    }
    // Some wrap their feed in a page.
    let inner = ["<feed ", "<feed>", "<rss ", "<rss>", "<rdf:RDF "]
        .into_iter()
        .filter_map(|tag| text.find(tag))
        .min();
    let page = tag_name(root).eq_ignore_ascii_case("html");
    let no_feed = || {
        malformed(if page {
            "an HTML page where a feed was due"
        } else {
            "XML, but no feed"
        })
    };
    let inner = inner.and_then(|at| text.get(at..)).ok_or_else(no_feed)?;
    let (start, end) = root_tag(inner).ok_or_else(no_feed)?;
    read_feed(inner, start, end, url).map_err(|_| no_feed())
}

fn is_feed(name: &str) -> bool {
    matches!(
        name.rsplit(':').next(),
        Some("rss" | "feed" | "entry" | "RDF")
    )
}

fn read_feed(
    text: &str,
    start: usize,
    end: usize,
    url: &Url,
) -> Result<(Feed, usize), SourceError> {
    let root = text.get(start..end).unwrap_or_default();
    let name = tag_name(root);
    let Some(bounded) = bounded(text, name) else {
        let many = format!("more than {TAGS_MAX} elements, or {ATTRIBUTES_MAX} attributes of one");
        return Err(SourceError::Malformed(many));
    };
    let text = bounded.as_ref();
    let text = match supported_version(root, name) {
        Some(root) => Cow::Owned(
            [
                text.get(..start).unwrap_or_default(),
                &root,
                text.get(end..).unwrap_or_default(),
            ]
            .concat(),
        ),
        None => Cow::Borrowed(text),
    };
    let root = text
        .get(start..)
        .map_or("", |rest| rest.get(..tag_bytes(rest)).unwrap_or(rest));
    let text = mend::namespaces(&text, root, start);
    if base::of(&text, url) == Base::TooMuch {
        return Err(SourceError::Malformed(TOO_MUCH_BASE.to_owned()));
    }
    match feed(&text, url) {
        Ok(feed) => Ok((feed, 0)),
        Err(fault) => {
            mended(&text, url).ok_or_else(|| SourceError::Malformed(format!("no feed: {fault}")))
        }
    }
}

/// What can be had of a document that is no XML; and how many items can't.
fn mended(text: &str, url: &Url) -> Option<(Feed, usize)> {
    let text = mend::references(text);
    let rest = text.get(root_tag(&text)?.0..)?;
    let root = rest.get(..tag_bytes(rest)).unwrap_or(rest);
    let whole = |text: &str| feed(text, url).ok().map(|feed| (feed, 0));
    let cut = || whole(&whole_items(&text, tag_name(root))?);
    let items = || {
        let (sound, broken) = mend::sound_items(&text, root, |text| feed(text, url).is_ok())?;
        // What stood behind markup without end was not counted before.
        let sound = bounded(&sound, tag_name(root))?;
        Some((feed(&sound, url).ok()?, broken))
    };
    whole(&text).or_else(cut).or_else(items)
}

/// The document up to its first items, closed properly: the parser makes all of them, and of a few bytes each hundreds more. `None`
/// when there is too much in it and no item to end at.
fn bounded<'a>(text: &'a str, root: &str) -> Option<Cow<'a, str>> {
    match excess(text) {
        // What hides so many from this count may not hide them from the parser.
        None if has_countless_items(text) => None,
        None => Some(text.into()),
        Some(Excess::Item(at)) => {
            let (_, closing) = closing(root)?;
            Some(format!("{}{closing}", text.get(..at)?).into())
        }
        Some(Excess::Tag(at)) => whole_items(text.get(..at)?, root).map(Cow::Owned),
    }
}

/// Where there begins to be too much.
#[derive(Debug, PartialEq, Eq)]
enum Excess {
    /// An item after those that are read.
    Item(usize),
    /// Any element, or one with too many attributes.
    Tag(usize),
}

/// Counts start tags, but not in comments, character data and values of attributes.
fn excess(text: &str) -> Option<Excess> {
    let (mut at, mut tags, mut items) = (0, 0, 0);
    loop {
        at += text.get(at..)?.find('<')?;
        let rest = text.get(at..)?;
        if let Some(skip) = no_tag(rest) {
            at += skip?;
            continue;
        }
        if rest.starts_with("</") || rest.starts_with("<!") {
            at += 1;
            continue;
        }
        tags += 1;
        items += usize::from(is_item(rest));
        if items > ITEMS_MAX {
            return Some(Excess::Item(at));
        }
        let bytes = tag_bytes(rest);
        if tags > TAGS_MAX || attributes_max(rest.get(..bytes)?) > ATTRIBUTES_MAX {
            return Some(Excess::Tag(at));
        }
        at += bytes;
    }
}

fn has_countless_items(text: &str) -> bool {
    let tags = text.match_indices('<').filter_map(|(at, _)| text.get(at..));
    tags.filter(|tag| is_item(tag)).count() > ITEMS_COUNTED_MAX
}

/// A parser that panics on a stranger's bytes must not take the caller with it; feed-rs has done so before.
fn feed(text: &str, url: &Url) -> ParseFeedResult<Feed> {
    let failed = |what: &str| Err(ParseFeedError::IoError(std::io::Error::other(what)));
    // Both of every text that is parsed: mending changes it.
    if excess(text).is_some() || has_countless_items(text) {
        return failed(TOO_MANY_TAGS);
    }
    let base = match base::of(text, url) {
        Base::Given(url) => Some(url),
        Base::Without => None,
        Base::TooMuch => return failed(TOO_MUCH_BASE),
    };
    let parse = || {
        // Its own made-up ids are random or change with the title: an empty one says that there was none.
        let parser = Builder::new()
            .base_uri(base)
            .id_generator(|_, _, _| String::new())
            .timestamp_parser(parse_date)
            .build();
        parser.parse(text.as_bytes())
    };
    std::panic::catch_unwind(parse).unwrap_or_else(|_| failed("the parser failed"))
}

/// Where the root's start tag begins and ends: behind comments, instructions and the document type.
fn root_tag(text: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        at += text.get(at..)?.find('<')?;
        let rest = text.get(at..)?;
        let skip = if let Some(comment) = rest.strip_prefix("<!--") {
            comment.find("-->")? + 7
        } else if rest.starts_with("<?") {
            rest.find("?>")? + 2
        } else if rest.starts_with("<!") {
            doctype_end(rest)?
        } else {
            return Some((at, at + rest.find('>')? + 1));
        };
        at += skip;
    }
}

/// A document type may hold entities in brackets, each with its own `>`.
fn doctype_end(rest: &str) -> Option<usize> {
    let plain = rest.find('>')?;
    // Further on it isn't looked for: there may be as many of these as the document is long.
    match rest.get(..plain)?.find('[') {
        Some(bracket) => {
            let close = bracket + rest.get(bracket..)?.find(']')?;
            Some(close + rest.get(close..)?.find('>')? + 1)
        }
        None => Some(plain + 1),
    }
}

/// The `<rss>` tag with version 2.0 when it has none, or one the parser does not know. All of them are subsets of it.
fn supported_version(root: &str, name: &str) -> Option<String> {
    if name != "rss" {
        return None;
    }
    let Some((before, after)) = root.split_once("version") else {
        return Some(root.replacen("<rss", "<rss version=\"2.0\"", 1));
    };
    let value = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (version, rest) = value.get(1..)?.split_once(quote)?;
    (!matches!(version, "2.0" | "0.91" | "0.92")).then(|| format!("{before}version=\"2.0\"{rest}"))
}

/// The document up to its last whole item, closed properly; `None` when there is no whole item.
fn whole_items(text: &str, root: &str) -> Option<String> {
    let (item_end, closing) = closing(root)?;
    let end = text.rfind(&item_end)? + item_end.len();
    Some(format!("{}{closing}", text.get(..end)?))
}

/// What ends an item, and what ends the document behind it.
pub(super) fn closing(root: &str) -> Option<(String, String)> {
    let (prefix, local) = root
        .split_once(':')
        .map_or(("", root), |(prefix, local)| (prefix, local));
    let colon = if prefix.is_empty() { "" } else { ":" };
    match local {
        "rss" => Some(("</item>".to_owned(), format!("</channel></{root}>"))),
        "feed" => Some((format!("</{prefix}{colon}entry>"), format!("</{root}>"))),
        "RDF" => Some(("</item>".to_owned(), format!("</{root}>"))),
        _ => None,
    }
}
