//! The embedded documents. They also serve as what the simulated upstreams answer with.

use crate::article::Category;

/// 2026-01-15T00:00:00Z, in seconds of the Unix epoch: the midnight behind all stories in the documents.
pub(crate) const WRITTEN_FOR: i64 = 1_768_435_200;

/// NewsAPI's answers say no category, so there is a document for each.
pub(crate) const NEWSAPI: [(Category, &[u8]); 8] = [
    (
        Category::Business,
        include_bytes!("../../../fixtures/sample/newsapi-business.json"),
    ),
    (
        Category::Entertainment,
        include_bytes!("../../../fixtures/sample/newsapi-entertainment.json"),
    ),
    (
        Category::General,
        include_bytes!("../../../fixtures/sample/newsapi-general.json"),
    ),
    (
        Category::Health,
        include_bytes!("../../../fixtures/sample/newsapi-health.json"),
    ),
    (
        Category::Science,
        include_bytes!("../../../fixtures/sample/newsapi-science.json"),
    ),
    (
        Category::Sports,
        include_bytes!("../../../fixtures/sample/newsapi-sports.json"),
    ),
    (
        Category::Technology,
        include_bytes!("../../../fixtures/sample/newsapi-technology.json"),
    ),
    (
        Category::World,
        include_bytes!("../../../fixtures/sample/newsapi-world.json"),
    ),
];

pub(crate) const GUARDIAN: &[u8] = include_bytes!("../../../fixtures/sample/guardian.json");
pub(crate) const ALGOLIA: &[u8] = include_bytes!("../../../fixtures/sample/algolia.json");
pub(crate) const RSS: &[u8] = include_bytes!("../../../fixtures/sample/rss.xml");
pub(crate) const ATOM: &[u8] = include_bytes!("../../../fixtures/sample/atom.xml");
pub(crate) const JSON_FEED: &[u8] = include_bytes!("../../../fixtures/sample/feed.json");

/// Feeds, with the addresses their relative links start from.
pub(crate) const FEEDS: [(&str, &[u8]); 3] = [
    ("https://gazette.example.com/rss.xml", RSS),
    ("https://workshop.example.com/feed.atom", ATOM),
    ("https://postcards.example.com/feed.json", JSON_FEED),
];
