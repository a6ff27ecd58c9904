//! Larder's origin: a news aggregator that fetches from outside sources, keeps articles in a database and answers from it.
//!
//! Arrows point one way: `main -> api, ingest -> articles, source -> article`.

pub mod article;
pub mod source;
