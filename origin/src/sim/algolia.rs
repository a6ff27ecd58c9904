//! Algolia's two searches over Hacker News.

use super::reply::{Question, Reply, list, matches, page};
use crate::source::sample::documents::ALGOLIA;
use serde_json::{Value, json};

/// `/api/v1/search`: the most noted first.
pub(super) fn search(question: &Question) -> Reply {
    answer(question, "points")
}

/// `/api/v1/search_by_date`: the newest first.
pub(super) fn search_by_date(question: &Question) -> Reply {
    answer(question, "created_at_i")
}

fn answer(question: &Question, order: &str) -> Reply {
    let mut hits = list(ALGOLIA, "/hits");
    if let Some(tags) = question.get("tags") {
        hits.retain(|hit| tags.split(',').all(|tag| has_tag(hit, tag)));
    }
    if let Some(words) = question.get("query") {
        hits.retain(|hit| matches(hit, &["title", "story_text", "url"], words));
    }
    if let Some(filters) = question.get("numericFilters") {
        hits.retain(|hit| filters.split(',').all(|filter| passes(hit, filter)));
    }
    hits.sort_by_key(|hit| std::cmp::Reverse(hit[order].as_i64()));
    let size = question.number("hitsPerPage", 20).clamp(1, 1_000);
    let number = question.number("page", 0);
    let body = json!({
        "hits": page(&hits, number, size), "nbHits": hits.len(), "page": number, "nbPages": hits.len().div_ceil(size),
        "hitsPerPage": size, "exhaustiveNbHits": true, "query": question.get("query").unwrap_or_default(), "processingTimeMS": 1,
    });
    Reply::json(200, &body)
}

fn has_tag(hit: &Value, tag: &str) -> bool {
    hit["_tags"]
        .as_array()
        .is_some_and(|tags| tags.iter().any(|known| known == tag))
}

/// `points>20` and the like.
fn passes(hit: &Value, filter: &str) -> bool {
    let Some(at) = filter.find(['<', '>', '=']) else {
        return true;
    };
    let (member, rest) = filter.split_at(at);
    let operator: String = rest
        .chars()
        .take_while(|c| matches!(c, '<' | '>' | '='))
        .collect();
    let (Some(value), Ok(bound)) = (
        hit[member].as_i64(),
        rest.trim_start_matches(['<', '>', '=']).parse::<i64>(),
    ) else {
        return false;
    };
    match operator.as_str() {
        "<" => value < bound,
        "<=" => value <= bound,
        ">" => value > bound,
        ">=" => value >= bound,
        _ => value == bound,
    }
}
