use super::*;
use crate::article::NewArticle;

fn now() -> DateTime<Utc> {
    parse_date("2026-01-01T12:00:00Z").expect("a date")
}

fn one(hit: Value) -> Option<NewArticle> {
    let mut batch = parse(
        serde_json::json!({"hits": [hit]}).to_string().as_bytes(),
        now(),
    )
    .expect("a batch");
    assert_eq!(batch.articles.len() + batch.skipped, 1);
    batch.articles.pop()
}

#[test]
fn a_hit_with_null_members_and_one_without_them_are_the_same() {
    let nulls = serde_json::json!({"created_at": "2025-12-31T08:00:00.000Z", "title": "A queue", "url": "https://a.example/q", "author": "reader",
        "points": 7, "story_text": null, "comment_text": null, "story_id": null, "story_title": null, "story_url": null, "parent_id": null,
        "created_at_i": 1_767_168_000, "_tags": ["story"], "objectID": "12", "_highlightResult": {"title": {"value": "A <em>queue</em>"}}});
    let bare = serde_json::json!({"created_at": "2025-12-31T08:00:00Z", "title": "A queue", "url": "https://a.example/q", "author": "reader", "objectID": "12"});
    let article = one(nulls).expect("an article");
    assert_eq!(one(bare), Some(article.clone()));
    assert_eq!(
        (article.title.as_str(), article.external_id.as_deref()),
        ("A queue", Some("12"))
    );
    assert_eq!(article.categories, [Category::Technology]);
    assert!(!article.published_at_estimated);
}

#[test]
fn a_story_without_address_is_its_discussion() {
    for url in [
        Value::Null,
        "".into(),
        "javascript:alert(1)".into(),
        "nowhere".into(),
    ] {
        let hit = serde_json::json!({"title": "Ask HN: Why?", "url": url, "story_text": "I&#x27;d <p>like to <i>know</i>", "objectID": 46, "created_at_i": 1_767_168_000.0});
        let article = one(hit).expect("an article");
        assert_eq!(article.url, "https://news.ycombinator.com/item?id=46");
        assert_eq!(article.description.as_deref(), Some("I'd like to know"));
        assert_eq!(
            article.published_at.to_rfc3339(),
            "2025-12-31T08:00:00+00:00"
        );
    }
}

#[test]
fn comments_and_hits_with_nothing_to_show_are_skipped() {
    let rows = [
        serde_json::json!({"_tags": ["comment"], "title": null, "comment_text": "No.", "story_title": "A queue", "story_url": "https://a.example/q", "objectID": "1"}),
        serde_json::json!({"title": null, "url": "https://a.example/q", "objectID": "1"}),
        serde_json::json!({"title": "A queue"}),
        serde_json::json!({}),
        serde_json::json!(null),
        serde_json::json!("hit"),
    ];
    for row in rows {
        assert_eq!(one(row.clone()), None, "{row}");
    }
}

#[test]
fn what_is_no_list_of_hits_is_told() {
    let fault = |body: &str| parse(body.as_bytes(), now()).expect_err("an error");
    let worded = fault(r#"{"message":"Invalid value for \"hitsPerPage\"","status":400}"#);
    assert!(
        matches!(&worded, SourceError::Status { status: 400, message } if message.contains("hitsPerPage"))
    );
    for body in ["", "null", "{}", "[1, 2]", r#"{"hits": null}"#, "<html>"] {
        assert!(matches!(fault(body), SourceError::Malformed(_)), "{body}");
    }
}
