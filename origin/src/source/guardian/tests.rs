use super::*;

fn now() -> DateTime<Utc> {
    parse_date("2026-01-01T12:00:00Z").expect("a date")
}

fn one(changed: Value) -> Option<NewArticle> {
    let mut item = serde_json::json!({
        "id": "world/2025/dec/31/a-bridge", "type": "article", "sectionId": "world", "sectionName": "World news",
        "webPublicationDate": "2025-12-31T08:00:00Z", "webTitle": "A bridge opens | A. Desk ",
        "webUrl": "https://www.theguardian.com/world/2025/dec/31/a-bridge", "apiUrl": "https://api.example/a-bridge",
        "fields": {"trailText": "<p>Long &amp; wide</p>", "byline": "<a href='x'>A. Desk</a>", "thumbnail": "https://i.example/a.jpg",
            "wordcount": "854", "shouldHideAdverts": false, "isPremoderated": "false"},
        "isHosted": false, "pillarId": "pillar/news", "pillarName": "News"});
    for (key, value) in changed.as_object().expect("an object") {
        item[key] = value.clone();
    }
    let body = serde_json::json!({"response": {"status": "ok", "total": 1, "results": [item]}});
    let mut batch = parse(body.to_string().as_bytes(), now()).expect("a batch");
    assert_eq!(batch.articles.len() + batch.skipped, 1);
    batch.articles.pop()
}

#[test]
fn a_whole_item_is_read() {
    let article = one(serde_json::json!({})).expect("an article");
    assert_eq!(article.title, "A bridge opens | A. Desk");
    assert_eq!(
        article.external_id.as_deref(),
        Some("world/2025/dec/31/a-bridge")
    );
    assert_eq!(article.description.as_deref(), Some("Long & wide"));
    assert_eq!(article.author.as_deref(), Some("A. Desk"));
    assert_eq!(
        article.image_url.as_deref(),
        Some("https://i.example/a.jpg")
    );
    assert_eq!(article.categories, [Category::World]);
    assert_eq!(article.content, None);
}

#[test]
fn a_columnists_name_leaves_the_title() {
    let article = one(serde_json::json!({"fields": {"byline": "A. Desk"}})).expect("an article");
    assert_eq!(article.title, "A bridge opens");
}

#[test]
fn every_optional_member_may_be_missing_or_odd() {
    for odd in [
        Value::Null,
        "".into(),
        5.into(),
        true.into(),
        serde_json::json!({}),
        serde_json::json!([]),
    ] {
        let changed = serde_json::json!({"fields": odd, "webPublicationDate": odd, "sectionId": odd, "pillarId": odd, "type": odd, "tags": odd});
        let article = one(changed).expect("an article");
        assert_eq!(
            (
                article.published_at_estimated,
                &article.description,
                &article.author
            ),
            (true, &None, &None),
            "{odd}"
        );
        assert_eq!(article.categories, [Category::General], "{odd}");
        let fields =
            serde_json::json!({"fields": {"trailText": odd, "byline": odd, "thumbnail": odd}});
        assert_eq!(one(fields).expect("an article").image_url, None, "{odd}");
        assert_eq!(one(serde_json::json!({"webTitle": odd})), None);
    }
}

#[test]
fn a_broken_address_is_rebuilt_from_the_id() {
    for broken in [
        "https: //www.theguardian.com/world/2025/dec/31/a-bridge",
        "",
    ] {
        let article = one(serde_json::json!({"webUrl": broken})).expect("an article");
        assert_eq!(
            article.url,
            "https://www.theguardian.com/world/2025/dec/31/a-bridge"
        );
    }
    assert_eq!(one(serde_json::json!({"webUrl": null, "id": null})), None);
}

#[test]
fn sections_and_pillars_have_categories() {
    let rows = [
        (Some("football"), Some("pillar/sport"), Category::Sports),
        (Some("money"), Some("pillar/lifestyle"), Category::Business),
        (Some("environment"), Some("pillar/news"), Category::Science),
        (Some("society"), None, Category::Health),
        (
            Some("crosswords"),
            Some("pillar/arts"),
            Category::Entertainment,
        ),
        (
            Some("commentisfree"),
            Some("pillar/opinion"),
            Category::General,
        ),
        (None, Some("pillar/sport"), Category::Sports),
        (None, None, Category::General),
    ];
    for (section, pillar, expected) in rows {
        assert_eq!(category(section, pillar), expected, "{section:?}");
    }
}

#[test]
fn the_end_of_a_list_is_no_fault() {
    let body = br#"{"response":{"status":"error","message":"requested page is beyond the number of available pages"}}"#;
    assert_eq!(
        parse(body, now()).expect("an empty batch"),
        Batch::default()
    );
}

#[test]
fn errors_are_told_with_and_without_envelope() {
    let fault = |body: &str| parse(body.as_bytes(), now()).expect_err("an error");
    assert!(matches!(
        fault(r#"{"message":"Unauthorized"}"#),
        SourceError::Credentials(_)
    ));
    assert!(matches!(
        fault(r#"{"message":"API rate limit exceeded"}"#),
        SourceError::RateLimited { .. }
    ));
    let bad_date =
        fault(r#"{"response":{"status":"error","message":"Dates must be an ISO8601 date"}}"#);
    assert!(
        matches!(&bad_date, SourceError::Status { status: 400, message } if message.contains("ISO8601"))
    );
    for body in [
        "",
        "{}",
        "[]",
        r#"{"response":{}}"#,
        r#"{"response":{"status":"ok","results":{}}}"#,
        r#"{"response":null}"#,
    ] {
        assert!(matches!(fault(body), SourceError::Malformed(_)), "{body}");
    }
}

#[test]
fn a_body_stands_in_for_a_missing_trail_text_as_an_excerpt() {
    let body = "<p>Word &amp; ".to_owned() + &"word ".repeat(400) + "</p>";
    let article = one(serde_json::json!({"fields": {"body": body}})).expect("an article");
    let description = article.description.expect("a description");
    assert!(description.starts_with("Word & word") && description.ends_with('…'));
    assert!(description.chars().count() <= EXCERPT_CHARS_MAX);
    assert_eq!(article.content, None);
}

#[test]
fn an_error_with_a_list_is_an_error() {
    let body = r#"{"response":{"status":"error","message":"The index is away","results":[]}}"#;
    assert!(matches!(
        parse(body.as_bytes(), now()),
        Err(SourceError::Status { message, .. }) if message == "The index is away"
    ));
}
