//! JSON Feed 1.0 and 1.1. Read here rather than by feed-rs, which has no images of items and gives up on the whole feed
//! when one member is of another type than the specification says (ids that are numbers, dates that are null).

use super::super::ITEMS_MAX;
use super::super::{json, words};
use super::{Batch, SourceError};
use crate::article::text::first_image;
use crate::article::{Category, Draft, NewArticle, parse_date};
use chrono::{DateTime, Utc};
use serde_json::Value;
use url::Url;

/// Reads a JSON Feed.
pub(super) fn parse(body: &[u8], url: &Url, now: DateTime<Utc>) -> Result<Batch, SourceError> {
    let feed = json::read(body)?;
    if !feed.get("items").is_some_and(Value::is_array) {
        return Err(SourceError::Malformed(
            "JSON, but no feed: no list of items".to_owned(),
        ));
    }
    let subject = words::of_address(url);
    let mut batch = Batch::default();
    let items = json::list(&feed, "items").iter().take(ITEMS_MAX);
    for (index, item) in items.enumerate() {
        let now = super::in_turn(now, index);
        batch.push(article(item, &feed, subject, url, now));
    }
    Ok(batch)
}

fn article(
    item: &Value,
    feed: &Value,
    subject: Option<Category>,
    base: &Url,
    now: DateTime<Utc>,
) -> Option<NewArticle> {
    let id = json::id(item, "id");
    let html = json::text(item, "content_html");
    let content = html.or_else(|| json::text(item, "content_text"));
    let image = ["image", "banner_image"]
        .into_iter()
        .find_map(|key| json::text(item, key))
        .map(str::to_owned);
    let image = image
        .or_else(|| attached_image(item))
        .or_else(|| html.and_then(first_image));
    let mut categories = words::of_terms(json::list(item, "tags").iter().filter_map(Value::as_str));
    if categories.is_empty() {
        categories.extend(subject.or_else(|| words::of_link(link(item, id.as_deref())?)));
    }
    let description = json::text(item, "summary").or(content);
    let title = super::headline(json::text(item, "title"), description);
    let draft = Draft {
        outlet: json::text(feed, "title"),
        external_id: id.as_deref(),
        title: title.as_deref(),
        description,
        content,
        author: author(item).or_else(|| author(feed)),
        url: link(item, id.as_deref()),
        image_url: image.as_deref(),
        language: json::text(item, "language").or_else(|| json::text(feed, "language")),
        published: ["date_published", "date_modified"]
            .into_iter()
            .find_map(|key| parse_date(json::text(item, key)?)),
        categories,
    };
    draft.finish(Some(base), now)
}

/// The item's own page, then the page it is about, then an id that is an address, as the specification recommends.
fn link<'a>(item: &'a Value, id: Option<&'a str>) -> Option<&'a str> {
    let address = |id: &&str| id.starts_with("https://") || id.starts_with("http://");
    json::text(item, "url")
        .or_else(|| json::text(item, "external_url"))
        .or_else(|| id.filter(address))
}

/// `authors` is 1.1, `author` 1.0; many write both.
fn author(object: &Value) -> Option<&str> {
    let listed = json::list(object, "authors")
        .iter()
        .find_map(|author| json::text(author, "name"));
    listed.or_else(|| json::text(object.get("author")?, "name"))
}

fn attached_image(item: &Value) -> Option<String> {
    json::list(item, "attachments")
        .iter()
        .find(|attachment| {
            json::text(attachment, "mime_type").is_some_and(|kind| kind.starts_with("image/"))
        })
        .and_then(|attachment| json::text(attachment, "url"))
        .map(str::to_owned)
}
