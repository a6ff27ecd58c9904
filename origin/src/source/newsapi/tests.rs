use super::*;
use crate::article::NewArticle;
use crate::discipline::Purpose;

fn now() -> DateTime<Utc> {
    parse_date("2026-01-01T12:00:00Z").expect("a date")
}

/// One answer with one article, whose members are those of a whole one unless `changed`.
fn one(changed: Value) -> Option<NewArticle> {
    let mut article = serde_json::json!({
        "source": {"id": null, "name": "Town Post"}, "author": "A. Desk", "title": "A bridge opens - Town Post",
        "description": "Short.", "url": "https://town.example/a", "urlToImage": "http://town.example/a.gif",
        "publishedAt": "2025-12-31T08:00:00Z", "content": "Long\r\ntext… [+1234 chars]"});
    for (key, value) in changed.as_object().expect("an object") {
        article[key] = value.clone();
    }
    let body = serde_json::json!({"status": "ok", "totalResults": 1, "articles": [article]});
    let mut batch =
        parse(body.to_string().as_bytes(), Some(Category::Science), now()).expect("a batch");
    assert_eq!(batch.articles.len() + batch.skipped, 1);
    batch.articles.pop()
}

#[test]
fn a_whole_article_is_read() {
    let article = one(serde_json::json!({})).expect("an article");
    assert_eq!(article.title, "A bridge opens");
    assert_eq!(article.outlet.as_deref(), Some("Town Post"));
    assert_eq!(article.author.as_deref(), Some("A. Desk"));
    assert_eq!(article.description.as_deref(), Some("Short."));
    assert_eq!(article.content.as_deref(), Some("Long text…"));
    assert_eq!(
        article.image_url.as_deref(),
        Some("http://town.example/a.gif")
    );
    assert_eq!(article.categories, [Category::Science]);
    assert_eq!(
        (
            article.published_at.to_rfc3339().as_str(),
            article.published_at_estimated
        ),
        ("2025-12-31T08:00:00+00:00", false)
    );
}

#[test]
fn removed_articles_are_skipped() {
    let removed = serde_json::json!({"source": {"id": null, "name": "[Removed]"}, "title": "[Removed]", "description": "[Removed]",
        "content": "[Removed]", "url": "https://removed.com", "urlToImage": null, "publishedAt": "1970-01-01T00:00:00Z"});
    assert_eq!(one(removed), None);
    assert_eq!(
        one(serde_json::json!({"url": "https://removed.com/"})),
        None
    );
    assert_eq!(one(serde_json::json!({"title": "[Removed]"})), None);
}

#[test]
fn null_empty_and_odd_members_are_missing_members() {
    for odd in [
        Value::Null,
        "".into(),
        " ".into(),
        5.into(),
        serde_json::json!({}),
        serde_json::json!([]),
    ] {
        let changed = serde_json::json!({"source": odd, "author": odd, "description": odd, "urlToImage": odd, "content": odd, "publishedAt": odd});
        let article = one(changed).expect("an article");
        assert_eq!(
            (&article.outlet, &article.author, &article.description),
            (&None, &None, &None),
            "{odd}"
        );
        assert_eq!(
            (&article.image_url, &article.content),
            (&None, &None),
            "{odd}"
        );
        assert_eq!(
            (article.published_at, article.published_at_estimated),
            (now(), true),
            "{odd}"
        );
        assert_eq!(one(serde_json::json!({"title": odd})), None);
        assert_eq!(one(serde_json::json!({"url": odd})), None);
    }
}

#[test]
fn odd_dates_titles_and_authors_are_read() {
    let date = |text: &str| {
        one(serde_json::json!({"publishedAt": text}))
            .expect("an article")
            .published_at
            .to_rfc3339()
    };
    assert_eq!(
        date("2025-10-17T16:50:00+00:00"),
        "2025-10-17T16:50:00+00:00"
    );
    assert_eq!(
        date("2025-10-12T15:37:18.5821493Z"),
        "2025-10-12T15:37:18.582149+00:00"
    );
    assert_eq!(date("2999-01-01T00:00:00Z"), "2026-01-01T12:00:00+00:00");
    let title = |text: &str| {
        one(serde_json::json!({"title": text}))
            .expect("an article")
            .title
    };
    assert_eq!(
        title("A bridge opens - Town Post - Town Post "),
        "A bridge opens"
    );
    assert_eq!(title("A bridge opens "), "A bridge opens");
    assert_eq!(
        title("A bridge &amp; a ferry - Other Post"),
        "A bridge & a ferry - Other Post"
    );
    let author = one(serde_json::json!({"author": "https://www.facebook.com/townpost"}))
        .expect("an article")
        .author;
    assert_eq!(author, None);
    let description =
        one(serde_json::json!({"description": "avert a partial <a href=\"/town/what-…"}))
            .expect("an article")
            .description;
    assert_eq!(description.as_deref(), Some("avert a partial"));
}

#[test]
fn only_a_count_in_brackets_leaves_the_content() {
    let rows = [
        ("text… [+1234 chars]", "text…"),
        ("text [+1 chars] ", "text"),
        ("text [+ chars]", "text [+ chars]"),
        ("text [1234 chars]", "text [1234 chars]"),
        ("text", "text"),
    ];
    for (content, expected) in rows {
        assert_eq!(without_count(content), expected);
    }
}

#[test]
fn errors_in_the_body_go_before_any_status() {
    let error = |code: &str| {
        let body = serde_json::json!({"status": "error", "code": code, "message": "Because."});
        parse(body.to_string().as_bytes(), None, now()).expect_err("an error")
    };
    for code in ["apiKeyMissing", "apiKeyInvalid", "apiKeyDisabled"] {
        assert!(matches!(error(code), SourceError::Credentials(_)), "{code}");
    }
    for code in ["rateLimited", "apiKeyExhausted"] {
        assert!(
            matches!(error(code), SourceError::RateLimited { retry_after: None }),
            "{code}"
        );
    }
    let rows = [
        ("maximumResultsReached", 426),
        ("corsNotAllowed", 426),
        ("unexpectedError", 500),
        ("parametersMissing", 400),
        ("newWord", 400),
    ];
    for (code, expected) in rows {
        let fault = error(code);
        assert!(
            matches!(&fault, SourceError::Status { status, .. } if *status == expected),
            "{code}: {fault}"
        );
        assert!(fault.to_string().contains("Because."));
    }
}

#[test]
fn what_is_no_list_of_articles_is_malformed() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "<html></html>",
        r#"{"status":"ok"}"#,
        r#"{"status":"ok","articles":null}"#,
    ] {
        assert!(
            matches!(
                parse(body.as_bytes(), None, now()),
                Err(SourceError::Malformed(_))
            ),
            "{body}"
        );
    }
}

#[test]
fn world_is_searched_and_the_rest_are_headlines() {
    let base = Url::parse("https://example.com").expect("a URL");
    let url = |category| {
        question(
            &base,
            Query {
                category,
                articles_max: 500,
                purpose: Purpose::Live,
            },
        )
        .to_string()
    };
    assert_eq!(
        url(Some(Category::Health)),
        "https://example.com/v2/top-headlines?country=us&category=health&pageSize=100"
    );
    assert_eq!(
        url(None),
        "https://example.com/v2/top-headlines?country=us&pageSize=100"
    );
    assert!(url(Some(Category::World)).starts_with("https://example.com/v2/everything?q="));
}

#[test]
fn of_an_endless_list_the_first_articles_are_read() {
    let item = |n: usize| format!(r#"{{"title":"A bridge","url":"https://a.example/{n}"}}"#);
    let items: Vec<String> = (0..10_000).map(item).collect();
    let body = format!(r#"{{"status":"ok","articles":[{}]}}"#, items.join(","));
    let batch = parse(body.as_bytes(), None, now()).expect("a batch");
    assert_eq!(batch.articles.len(), ITEMS_MAX);
    assert_eq!(batch.articles[999].url, "https://a.example/999");
}
