//! One item of an XML feed, as feed-rs gives it, to an article.

use super::super::words;
use crate::article::text::first_image;
use crate::article::{Category, Draft, NewArticle};
use chrono::{DateTime, Utc};
use feed_rs::model::{Entry, MediaObject};
use url::Url;

/// `language` is the whole feed's; `subject` is what the feed's address says of all its items; an item's own words go first.
pub(super) fn article(
    entry: &Entry,
    (outlet, language): (Option<&str>, Option<&str>),
    subject: Option<Category>,
    base: &Url,
    now: DateTime<Utc>,
) -> Option<NewArticle> {
    let summary = entry.summary.as_ref().map(|text| text.content.as_str());
    let content = entry
        .content
        .as_ref()
        .and_then(|content| content.body.as_deref());
    let mut categories = words::of_terms(
        entry
            .categories
            .iter()
            .map(|category| category.term.as_str()),
    );
    if categories.is_empty() {
        categories.extend(subject.or_else(|| words::of_link(link(entry)?)));
    }
    // `xml:base` counts for what stands in the item's markup.
    let own_base = entry.base.as_deref().and_then(|own| base.join(own).ok());
    let base = own_base.as_ref().unwrap_or(base);
    let image = image(entry)
        .or_else(|| content.and_then(first_image))
        .or_else(|| summary.and_then(first_image));
    let description = summary.or(content).or_else(|| media_description(entry));
    let title = entry.title.as_ref().map(|text| text.content.as_str());
    let title = super::headline(title, description);
    let draft = Draft {
        outlet,
        external_id: Some(entry.id.as_str()),
        title: title.as_deref(),
        description,
        content,
        author: author(entry),
        url: link(entry),
        image_url: image.as_deref(),
        language: entry.language.as_deref().or(language),
        published: entry.published.or(entry.updated),
        categories,
    };
    draft.finish(Some(base), now)
}

/// The first link that is the item itself, not its comments or edit form. A guid that is an address is a permanent link by RSS's own
/// rule, but one that begins like an address only. Of an episode without a page, its recording.
fn link(entry: &Entry) -> Option<&str> {
    let own = |rel: Option<&str>| {
        rel.is_none_or(|rel| rel.is_empty() || rel.eq_ignore_ascii_case("alternate"))
    };
    let linked = entry
        .links
        .iter()
        .find(|link| own(link.rel.as_deref()) && !link.href.trim().is_empty());
    let permanent = || {
        let id = entry.id.trim();
        (id.starts_with("https://") || id.starts_with("http://")).then_some(id)
    };
    linked
        .map(|link| link.href.as_str())
        .or_else(permanent)
        .or_else(|| recording(entry))
}

fn recording(entry: &Entry) -> Option<&str> {
    let contents = entry.media.iter().flat_map(|media| &media.content);
    let recorded = contents.filter(|content| {
        content.content_type.as_ref().is_some_and(|kind| {
            matches!(
                kind.ty().as_str().to_ascii_lowercase().as_str(),
                "audio" | "video"
            )
        })
    });
    recorded
        .filter_map(|content| content.url.as_ref())
        .map(url::Url::as_str)
        .next()
}

/// RSS's `<author>` is an e-mail address, often with the name behind it in parentheses; feed-rs names that person "author".
fn author(entry: &Entry) -> Option<&str> {
    entry.authors.iter().find_map(|person| {
        match &person.email {
            Some(email) if person.name == "author" => Some(name_in(email)),
            _ => Some(person.name.as_str()),
        }
        .filter(|name| !name.trim().is_empty())
    })
}

/// `desk@example.com (The desk)` is the desk; an address alone is nobody's name and stays private.
fn name_in(contact: &str) -> &str {
    match contact.split_once('(') {
        Some((_, name)) => name.trim_end().trim_end_matches(')'),
        None if contact.contains('@') => "",
        None => contact,
    }
}

/// The largest picture the item brings along: thumbnails, then contents that are images.
fn image(entry: &Entry) -> Option<String> {
    let thumbnails = entry.media.iter().flat_map(|media| &media.thumbnails);
    let widest = thumbnails
        .map(|thumbnail| &thumbnail.image)
        .max_by_key(|image| image.width.unwrap_or(0));
    widest
        .map(|image| image.uri.clone())
        .or_else(|| entry.media.iter().find_map(picture))
}

fn picture(media: &MediaObject) -> Option<String> {
    let pictures = media.content.iter().filter_map(|content| {
        let url = content.url.as_ref()?;
        let typed = content
            .content_type
            .as_ref()
            .map(|kind| kind.ty().as_str().eq_ignore_ascii_case("image"));
        let path = url.path().to_ascii_lowercase();
        let looks = || {
            [".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif"]
                .iter()
                .any(|end| path.ends_with(end))
        };
        typed
            .unwrap_or_else(looks)
            .then(|| (content.width.unwrap_or(0), url.to_string()))
    });
    pictures.max_by_key(|(width, _)| *width).map(|(_, url)| url)
}

fn media_description(entry: &Entry) -> Option<&str> {
    entry
        .media
        .iter()
        .find_map(|media| media.description.as_ref().map(|text| text.content.as_str()))
}
