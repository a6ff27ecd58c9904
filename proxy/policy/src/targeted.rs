//! Which field holds a response's directives: `Cache-Control`, or a targeted field in its place
//! (RFC 9213 §2.2).

use http::HeaderMap;
use http::header::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::cache_control::ResponseDirectives;

/// The directives that count, and whether a targeted field holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effective {
    pub(crate) directives: ResponseDirectives,
    pub(crate) targeted: bool,
}

/// RFC 9213 §2.2: the first field of the target list with a valid, non-empty value; else
/// `Cache-Control`.
pub(crate) fn effective(response: &HeaderMap, targets: &[HeaderName]) -> Effective {
    match targets.iter().find_map(|name| dictionary(response, name)) {
        Some(dictionary) => Effective {
            directives: from_dictionary(&dictionary),
            targeted: true,
        },
        None => Effective {
            directives: ResponseDirectives::parse(response),
            targeted: false,
        },
    }
}

/// §2.1: an empty or unparsable field counts as absent.
fn dictionary(response: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let lines: Vec<&[u8]> = response
        .get_all(name)
        .iter()
        .map(|line| line.as_bytes())
        .collect();
    let text = lines.join(&b", "[..]);
    let dictionary: Dictionary = Parser::new(&text).parse().ok()?;
    (!dictionary.is_empty()).then_some(dictionary)
}

fn from_dictionary(dictionary: &Dictionary) -> ResponseDirectives {
    let mut directives = ResponseDirectives::default();
    for (name, entry) in dictionary {
        // Parameters on directives are ignored (§2.1).
        let value = match entry {
            ListEntry::Item(item) => match &item.bare_item {
                BareItem::Boolean(true) => None,
                // `no-store=?0` says that it isn't there.
                BareItem::Boolean(false) => continue,
                BareItem::Integer(seconds) => Some(seconds.to_string()),
                // §2.1: other types are not coerced. An invalid number makes stale.
                _ => Some(String::new()),
            },
            ListEntry::InnerList(_) => Some(String::new()),
        };
        // A list of fields in `private` or `no-cache` arrives here as an empty argument, which is
        // read as the whole response: the stricter reading, and the usual one (§5.2.2.4, note).
        directives.add(name.as_str(), value.as_deref().map(str::as_bytes));
    }
    directives
}
