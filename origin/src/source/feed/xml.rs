//! feed-rs behind repairs: what many feeds get wrong is put right before parsing, and a document cut off in the middle
//! gives the items before the cut.

use super::SourceError;
use feed_rs::model::Feed;
use feed_rs::parser::{Builder, ParseFeedError, ParseFeedResult};
use std::borrow::Cow;
use url::Url;

/// Reads an XML feed from text without declaration.
pub(super) fn read(text: &str, url: &Url) -> Result<Feed, SourceError> {
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
    matches!(name, "rss" | "feed" | "entry") || name.rsplit(':').next() == Some("RDF")
}

fn read_feed(text: &str, start: usize, end: usize, url: &Url) -> Result<Feed, SourceError> {
    let root = text.get(start..end).unwrap_or_default();
    let name = tag_name(root);
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
    feed(&text, url).or_else(|fault| {
        let fault = || SourceError::Malformed(format!("no feed: {fault}"));
        let whole = whole_items(&text, name).ok_or_else(fault)?;
        feed(&whole, url).map_err(|_| fault())
    })
}

/// A parser that panics on a stranger's bytes must not take the caller with it; feed-rs has done so before.
fn feed(text: &str, url: &Url) -> ParseFeedResult<Feed> {
    let parse = || {
        // Its own made-up ids are random or change with the title: an empty one says that there was none.
        let parser = Builder::new()
            .base_uri(Some(url))
            .id_generator(|_, _, _| String::new())
            .build();
        parser.parse(text.as_bytes())
    };
    std::panic::catch_unwind(parse).unwrap_or_else(|_| {
        Err(ParseFeedError::IoError(std::io::Error::other(
            "the parser failed",
        )))
    })
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
    match rest.find('[').filter(|bracket| *bracket < plain) {
        Some(bracket) => {
            let close = bracket + rest.get(bracket..)?.find(']')?;
            Some(close + rest.get(close..)?.find('>')? + 1)
        }
        None => Some(plain + 1),
    }
}

fn tag_name(tag: &str) -> &str {
    let name = tag.trim_start_matches('<');
    name.split(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))
        .next()
        .unwrap_or_default()
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
    let (item_end, closing) = match root {
        "rss" => ("</item>", "</channel></rss>".to_owned()),
        "feed" => ("</entry>", "</feed>".to_owned()),
        _ if root.ends_with("RDF") => ("</item>", format!("</{root}>")),
        _ => return None,
    };
    let end = text.rfind(item_end)? + item_end.len();
    Some(format!("{}{closing}", text.get(..end)?))
}
