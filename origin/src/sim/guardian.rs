//! The Guardian's search.

use super::reply::{Question, Reply, guardian_error, list, matches, page};
use crate::source::sample::documents::GUARDIAN;
use serde_json::{Value, json};

/// `/search`: by section and words, with only the fields that were asked for.
pub(super) fn search(question: &Question) -> Reply {
    match question
        .get("api-key")
        .or_else(|| question.header("api-key"))
    {
        // The gateway answers, which knows no envelope.
        None | Some("invalid") => return Reply::json(401, &json!({"message": "Unauthorized"})),
        Some(_) => {}
    }
    let mut results = list(GUARDIAN, "/response/results");
    if let Some(sections) = question.get("section") {
        results.retain(|result| {
            sections
                .split('|')
                .any(|section| result["sectionId"] == section)
        });
    }
    if let Some(words) = question.get("q") {
        results.retain(|result| matches(result, &["webTitle"], words));
    }
    let newest_first = question.get("order-by") != Some("oldest");
    results.sort_by(|one, other| {
        one["webPublicationDate"]
            .as_str()
            .cmp(&other["webPublicationDate"].as_str())
    });
    if newest_first {
        results.reverse();
    }
    let wanted = question.get("show-fields").unwrap_or_default();
    results
        .iter_mut()
        .for_each(|result| keep_fields(result, wanted));
    envelope(&results, question)
}

fn keep_fields(result: &mut Value, wanted: &str) {
    let Some(result) = result.as_object_mut() else {
        return;
    };
    if wanted.is_empty() {
        result.remove("fields");
        return;
    }
    if let Some(fields) = result.get_mut("fields").and_then(Value::as_object_mut) {
        fields.retain(|name, _| wanted == "all" || wanted.split(',').any(|field| field == name));
    }
}

fn envelope(results: &[Value], question: &Question) -> Reply {
    let size = question.number("page-size", 10).clamp(1, 200);
    let number = question.number("page", 1).max(1);
    let pages = results.len().div_ceil(size);
    if number > pages.max(1) {
        return guardian_error(
            400,
            "requested page is beyond the number of available pages",
        );
    }
    let body = json!({"response": {
        "status": "ok", "userTier": "developer", "total": results.len(), "startIndex": (number - 1) * size + 1, "pageSize": size,
        "currentPage": number, "pages": pages, "orderBy": question.get("order-by").unwrap_or("newest"),
        "results": page(results, number - 1, size),
    }});
    Reply::json(200, &body)
}
