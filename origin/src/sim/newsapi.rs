//! NewsAPI's two endpoints.

use super::reply::{Question, Reply, list, matches, newsapi_error, page};
use crate::article::Category;
use crate::source::sample::documents::NEWSAPI;
use serde_json::{Value, json};

const TEXTS: [&str; 3] = ["title", "description", "content"];
/// What the developer plan shows of any question.
const RESULTS_MAX: usize = 100;

/// `/v2/top-headlines`: by country and category, or by sources.
pub(super) fn top_headlines(question: &Question) -> Reply {
    if let Some(refusal) = refuse(question) {
        return refusal;
    }
    let (country, category, sources) = (
        question.get("country"),
        question.get("category"),
        question.get("sources"),
    );
    if sources.is_some() && (country.is_some() || category.is_some()) {
        return newsapi_error(
            400,
            "parametersIncompatible",
            "The sources parameter can't be mixed with country or category.",
        );
    }
    if country
        .or(category)
        .or(sources)
        .or_else(|| question.get("q"))
        .is_none()
    {
        return newsapi_error(
            400,
            "parametersMissing",
            "Required parameters are missing: sources, q, language, country, category.",
        );
    }
    // Every country but one answers with nothing.
    let mut articles = match country {
        None | Some("us") => headlines(category),
        Some(_) => Vec::new(),
    };
    narrow(&mut articles, question);
    envelope(articles, question, 20)
}

/// `/v2/everything`: by words, sources or domains.
pub(super) fn everything(question: &Question) -> Reply {
    if let Some(refusal) = refuse(question) {
        return refusal;
    }
    if ["q", "qInTitle", "sources", "domains"]
        .into_iter()
        .find_map(|name| question.get(name))
        .is_none()
    {
        return newsapi_error(
            400,
            "parametersMissing",
            "Required parameters are missing: q, qInTitle, sources, domains.",
        );
    }
    let mut articles: Vec<Value> = NEWSAPI
        .iter()
        .flat_map(|(_, document)| list(document, "/articles"))
        .collect();
    narrow(&mut articles, question);
    articles.sort_by(|one, other| {
        other["publishedAt"]
            .as_str()
            .cmp(&one["publishedAt"].as_str())
    });
    envelope(articles, question, 100)
}

/// A key by any of the three ways; "invalid" is one that isn't.
fn refuse(question: &Question) -> Option<Reply> {
    let bearer = || {
        question
            .header("authorization")
            .map(|key| key.trim_start_matches("Bearer ").trim())
    };
    match question
        .header("x-api-key")
        .or_else(bearer)
        .or_else(|| question.get("apiKey"))
    {
        None => Some(newsapi_error(
            401,
            "apiKeyMissing",
            "Your API key is missing. Append this to the URL with the apiKey param, or use the x-api-key HTTP header.",
        )),
        Some("invalid") => Some(newsapi_error(
            401,
            "apiKeyInvalid",
            "Your API key is invalid or incorrect.",
        )),
        Some(_) => None,
    }
}

/// World news are in no headlines; an unknown category has none.
fn headlines(category: Option<&str>) -> Vec<Value> {
    NEWSAPI
        .iter()
        .filter(|(of, _)| {
            *of != Category::World
                && category.is_none_or(|asked| asked.eq_ignore_ascii_case(of.as_str()))
        })
        .flat_map(|(_, document)| list(document, "/articles"))
        .collect()
}

fn narrow(articles: &mut Vec<Value>, question: &Question) {
    if let Some(words) = question.get("q") {
        articles.retain(|article| matches(article, &TEXTS, words));
    }
    if let Some(words) = question.get("qInTitle") {
        articles.retain(|article| matches(article, &TEXTS[..1], words));
    }
}

fn envelope(articles: Vec<Value>, question: &Question, page_size: usize) -> Reply {
    let size = question.number("pageSize", page_size).clamp(1, 100);
    let number = question.number("page", 1).max(1);
    if (number - 1).saturating_mul(size) >= RESULTS_MAX {
        return newsapi_error(
            426,
            "maximumResultsReached",
            "Developer accounts are limited to a max of 100 results.",
        );
    }
    let body = json!({"status": "ok", "totalResults": articles.len(), "articles": page(&articles, number - 1, size)});
    Reply::json(200, &body)
}
