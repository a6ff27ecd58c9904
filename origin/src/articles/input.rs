//! From articles to the JSON parameter that a batch travels in: without repeats, in the databases' alphabet and range of time.

use crate::article::{NewArticle, title};
use crate::database::{DatabaseError, json, stored_time, without_nul};
use crate::sentiment::Label;
use chrono::SecondsFormat;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The key of an article within its source.
pub(super) fn url_hash(canonical_url: &str) -> String {
    Sha256::digest(canonical_url.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[derive(Debug, Serialize)]
struct ArticleInput<'a> {
    outlet: Option<Cow<'a, str>>,
    external_id: Option<Cow<'a, str>>,
    title: Cow<'a, str>,
    description: Option<Cow<'a, str>>,
    content: Option<Cow<'a, str>>,
    author: Option<Cow<'a, str>>,
    url: Cow<'a, str>,
    url_canonical: Cow<'a, str>,
    url_hash: &'a str,
    image_url: Option<Cow<'a, str>>,
    language: Option<&'a str>,
    headline: String,
    published_at: String,
    published_at_estimated: bool,
    filters: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
struct CategoryInput<'a> {
    url_hash: &'a str,
    category: &'static str,
}

/// A batch by hash: of repeats the last sighting stays, since one upsert cannot touch a row twice; their categories all count.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    by_hash: BTreeMap<String, Vec<&'a NewArticle>>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(articles: &'a [NewArticle]) -> Self {
        let mut by_hash: BTreeMap<String, Vec<&NewArticle>> = BTreeMap::new();
        for article in articles {
            by_hash
                .entry(url_hash(article.canonical_url.as_str()))
                .or_default()
                .push(article);
        }
        Self { by_hash }
    }

    /// The parameter of the upsert. `tone` tells how the text with a hash sounds.
    pub(super) fn articles(
        &self,
        tone: impl Fn(&str) -> Option<Label>,
    ) -> Result<String, DatabaseError> {
        let rows = self.by_hash.iter().filter_map(|(hash, sightings)| {
            let filters = filters(sightings, tone(hash));
            Some(article_input(hash, sightings.last()?, filters))
        });
        json(&rows.collect::<Vec<ArticleInput<'_>>>())
    }

    /// Each hash with the sighting that is stored.
    pub(super) fn latest(&self) -> impl Iterator<Item = (&str, &'a NewArticle)> {
        self.by_hash
            .iter()
            .filter_map(|(hash, sightings)| Some((hash.as_str(), *sightings.last()?)))
    }

    /// The hashes as a parameter.
    pub(super) fn hashes(&self) -> Result<String, DatabaseError> {
        json(&self.by_hash.keys().collect::<Vec<_>>())
    }

    /// The parameter that adds categories.
    pub(super) fn categories(&self) -> Result<String, DatabaseError> {
        let pairs = self.by_hash.iter().flat_map(|(hash, sightings)| {
            let categories = sightings.iter().flat_map(|article| &article.categories);
            categories.map(move |category| CategoryInput {
                url_hash: hash,
                category: category.as_str(),
            })
        });
        json(&pairs.collect::<Vec<_>>())
    }
}

/// What a new article is found under: its categories in order, then its tone, as the database puts them together itself.
fn filters(sightings: &[&NewArticle], tone: Option<Label>) -> Vec<&'static str> {
    let categories = sightings.iter().flat_map(|article| &article.categories);
    let categories: BTreeSet<&str> = categories.map(|category| category.as_str()).collect();
    categories
        .into_iter()
        .chain(tone.map(Label::as_str))
        .collect()
}

fn article_input<'a>(
    url_hash: &'a str,
    article: &'a NewArticle,
    filters: Vec<&'static str>,
) -> ArticleInput<'a> {
    let optional = |text: &'a Option<String>| text.as_deref().map(without_nul);
    ArticleInput {
        outlet: optional(&article.outlet),
        external_id: optional(&article.external_id),
        title: without_nul(&article.title),
        description: optional(&article.description),
        content: optional(&article.content),
        author: optional(&article.author),
        url: without_nul(&article.url),
        url_canonical: without_nul(article.canonical_url.as_str()),
        url_hash,
        image_url: optional(&article.image_url),
        language: article.language.as_deref(),
        headline: title::normalised(&article.title, &[article.outlet.as_deref()]),
        // The form in which the SQLite driver writes times: they are compared as text there.
        published_at: stored_time(article.published_at)
            .to_rfc3339_opts(SecondsFormat::AutoSi, false),
        published_at_estimated: article.published_at_estimated,
        filters,
    }
}
