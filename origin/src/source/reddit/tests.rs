use super::*;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a date")
}

fn listing(posts: &[Value], after: Value) -> Vec<u8> {
    let children: Vec<Value> = posts
        .iter()
        .map(|post| serde_json::json!({"kind": "t3", "data": post}))
        .collect();
    serde_json::json!({"kind": "Listing", "data": {"after": after, "children": children}})
        .to_string()
        .into_bytes()
}

fn post() -> Value {
    serde_json::json!({
        "id": "a1", "name": "t3_a1", "title": "A title", "author": "somebody", "subreddit": "technology",
        "url": "https://news.example/story", "created_utc": 1_779_999_000.0, "is_self": false, "over_18": false,
        "stickied": false, "thumbnail": "default", "edited": false, "selftext": "",
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut post = post();
    post[key] = value;
    post
}

fn read(posts: &[Value]) -> Batch {
    parse(&listing(posts, Value::Null), now())
        .expect("a listing")
        .batch
}

#[test]
fn a_link_becomes_an_article() {
    let article = read(&[post()]).articles.remove(0);
    assert_eq!(article.url, "https://news.example/story");
    assert_eq!(article.outlet.as_deref(), Some("r/technology"));
    assert_eq!(article.author.as_deref(), Some("u/somebody"));
    assert_eq!(article.external_id.as_deref(), Some("t3_a1"));
    assert_eq!(article.published_at.timestamp(), 1_779_999_000);
    assert_eq!(article.categories, [Category::Technology]);
    assert_eq!((article.image_url, article.description), (None, None));
}

#[test]
fn what_is_no_news_is_skipped() {
    let own = "https://old.reddit.com/r/x/comments/y/";
    let dropped = [
        with("over_18", true.into()),
        with("stickied", true.into()),
        with("is_self", true.into()),
        with("is_gallery", true.into()),
        with("quarantine", true.into()),
        with("removed_by_category", "moderator".into()),
        with("title", "[removed]".into()),
        with("url", "https://i.redd.it/x.jpg".into()),
        with("url", "https://old.reddit.com./r/x/".into()),
        with("url", "https://pictures.example/x.GIFV?w=1".into()),
        with("post_hint", "image".into()),
        with("over_18", "true".into()),
        with("url", "https://v.redd.it/x".into()),
        with("url", "https://www.reddit.com/gallery/x".into()),
        with("url_overridden_by_dest", own.into()),
        with("url", Value::Null),
        with("url", "/r/technology/comments/x/".into()),
        with("title", Value::Null),
        Value::Null,
        serde_json::json!("t3"),
    ];
    let batch = read(&dropped);
    assert_eq!((batch.articles.len(), batch.skipped), (0, dropped.len()));
}

#[test]
fn members_of_other_types_cost_nothing_but_themselves() {
    let odd = [
        with("created_utc", "1779999000.25".into()),
        with("created_utc", Value::Null),
        with("created_utc", serde_json::json!(1e300)),
        with("created_utc", (-5).into()),
        with("edited", serde_json::json!(1_779_999_500.0)),
        with("author", "[deleted]".into()),
        with("author", Value::Null),
        with("over_18", Value::Null),
        with("subreddit", 5.into()),
        with("preview", "none".into()),
        with("name", 7.into()),
    ];
    let batch = read(&odd);
    assert_eq!((batch.articles.len(), batch.skipped), (odd.len(), 0));
    let estimated = batch
        .articles
        .iter()
        .map(|article| article.published_at_estimated);
    assert_eq!(
        estimated.take(4).collect::<Vec<_>>(),
        [false, true, true, true]
    );
    assert_eq!(batch.articles[5].author, None);
}

#[test]
fn the_real_address_and_the_preview_go_first() {
    let mut post = with("url_overridden_by_dest", "https://news.example/real".into());
    let preview = "https://img.example/p.jpg?a=1&amp;b=2";
    post["preview"] = serde_json::json!({"images": [{"source": {"url": preview}}]});
    post["thumbnail"] = "https://thumbs.example/t.jpg".into();
    let article = read(&[post]).articles.remove(0);
    assert_eq!(article.url, "https://news.example/real");
    let image = article.image_url.expect("an image");
    assert!(image.starts_with("https://img.example/p.jpg"), "{image}");
}

#[test]
fn a_listing_ends_where_nothing_comes_after() {
    for (after, expected) in [
        (Value::Null, None),
        ("".into(), None),
        ("t3_z".into(), Some("t3_z")),
    ] {
        let page = parse(&listing(&[post()], after), now()).expect("a listing");
        assert_eq!(page.after.as_deref(), expected);
    }
    let old = br#"{"kind": "Listing", "data": {"modhash": "", "children": [], "after": null, "before": null}}"#;
    assert_eq!(parse(old, now()).expect("a listing"), Page::default());
}

#[test]
fn what_is_no_listing_is_told() {
    let refused = br#"{"message": "Unauthorized", "error": 401}"#;
    let error = parse(refused, now()).expect_err("refused");
    assert!(matches!(error, SourceError::Credentials(_)), "{error:?}");
    let nonsense = [
        &b"<html>whoa there</html>"[..],
        b"{}",
        b"[]",
        br#"{"data": {"children": {}}}"#,
    ];
    for body in nonsense {
        let error = parse(body, now()).expect_err("no listing");
        assert!(matches!(error, SourceError::Malformed(_)), "{error:?}");
    }
}

#[test]
fn names_that_lead_elsewhere_are_no_subreddits() {
    for name in ["worldnews", "AskScience", "a_b", "rust"] {
        assert!(is_subreddit(name), "{name}");
    }
    let too_long = "a_name_that_is_too_long_by_far";
    for name in ["", "a", "../x", "a/b", "a?b", "a b", "äö", too_long] {
        assert!(!is_subreddit(name), "{name}");
    }
}

#[test]
fn a_subreddits_name_may_say_what_it_is_about() {
    let rows = [
        ("technology", Some(Category::Technology)),
        ("worldnews", Some(Category::World)),
        ("sports", Some(Category::Sports)),
        ("news", None),
        ("aww", None),
    ];
    for (name, expected) in rows {
        let found = category(name).filter(|found| *found != Category::General);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn an_error_is_told_by_its_number_however_it_is_written() {
    for body in [
        r#"{"message":"Forbidden","error":403}"#,
        r#"{"message":"Forbidden","error":"403"}"#,
    ] {
        assert!(matches!(
            parse(body.as_bytes(), now()),
            Err(SourceError::Credentials(words)) if words == "Forbidden"
        ));
    }
}
