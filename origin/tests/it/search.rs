//! What a search must do: the same on PostgreSQL and on SQLite, from outside.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{Reply, get};
use crate::support::news::{Act, Script, article, noon, titles};
use crate::support::origin::TestOrigin;
use chrono::TimeDelta;
use larder_origin::article::{Category, NewArticle};
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

on_both_databases!(
    words_are_found_in_title_description_and_content_in_that_order,
    forms_of_a_word_find_each_other,
    phrases_alternatives_and_unwanted_words_are_understood,
    no_text_is_an_error,
    what_matched_is_marked_and_everything_else_escaped,
    filters_leave_only_what_they_name,
    pages_hold_every_match_once_while_others_come_in,
    a_cursor_belongs_to_its_search_and_nobody_can_make_one,
    a_mistyped_word_finds_what_was_meant,
    a_changed_article_is_found_by_its_new_words_only,
    a_story_told_twice_is_found_once,
    a_duplicate_stays_hidden_on_every_page,
    the_newest_come_first_when_asked_for,
);

fn titled(path: &str, seconds: i64, title: &str, description: &str) -> NewArticle {
    NewArticle {
        title: title.to_owned(),
        description: Some(description.to_owned()),
        language: Some("en".to_owned()),
        ..article(path, seconds)
    }
}

async fn origin(database: TestDatabase, sources: Vec<(&str, Vec<NewArticle>)>) -> TestOrigin {
    let scripts: Vec<_> = sources
        .into_iter()
        .map(|(name, batch)| Script::new(name, Act::Give(batch)))
        .collect();
    let origin = TestOrigin::with(database, &scripts, &[]).await;
    // Asks the sources; a search doesn't.
    assert_eq!(get(origin.address, "/articles").await.status, 200);
    origin
}

async fn search(origin: &TestOrigin, q: &str, rest: &str) -> Reply {
    let q: String = byte_serialize(q.as_bytes()).collect();
    get(origin.address, &format!("/search?q={q}{rest}")).await
}

async fn found(origin: &TestOrigin, q: &str, rest: &str) -> Vec<String> {
    let reply = search(origin, q, rest).await;
    assert_eq!(reply.status, 200, "{q:?}: {:?}", reply.body);
    titles(&reply.json())
}

async fn words_are_found_in_title_description_and_content_in_that_order(database: TestDatabase) {
    let mut in_content = titled("c", 30, "Third story of the day", "Nothing to see");
    in_content.content = Some("A volcano is somewhere in the text".to_owned());
    let batch = vec![
        in_content,
        titled(
            "b",
            20,
            "Second story of the day",
            "About a volcano in the north",
        ),
        titled(
            "a",
            10,
            "Volcano wakes after a century",
            "Villages are empty",
        ),
        titled("d", 40, "Another story of the day", "About something else"),
    ];
    let origin = origin(database, vec![("a", batch)]).await;
    assert_eq!(
        found(&origin, "volcano", "").await,
        [
            "Volcano wakes after a century",
            "Second story of the day",
            "Third story of the day"
        ]
    );
    let page = search(&origin, "volcano", "").await.json();
    assert_eq!(page["total"]["value"], 3);
    assert_eq!(page["total"]["relation"], "exact");
    assert_eq!(page["next"], Value::Null);
    assert_eq!(page["corrected"], Value::Null);
}

async fn forms_of_a_word_find_each_other(database: TestDatabase) {
    let batch = vec![titled("a", 0, "Ministers voted on elections", "x")];
    let origin = origin(database, vec![("a", batch)]).await;
    for q in [
        "minister",
        "VOTING",
        "election",
        "the ministers of elections",
        "Élection or vote",
    ] {
        assert_eq!(found(&origin, q, "").await.len(), 1, "{q}");
    }
    for q in ["ministry of silly walks", "vote parliament"] {
        assert_eq!(found(&origin, q, "").await.len(), 0, "{q}");
    }
}

async fn phrases_alternatives_and_unwanted_words_are_understood(database: TestDatabase) {
    let batch = vec![
        titled("1", 1, "Prime minister resigns", "x"),
        titled("2", 2, "Minister opens prime bridge", "x"),
        titled("3", 3, "Harbour closes", "x"),
    ];
    let origin = origin(database, vec![("a", batch)]).await;
    let rows: [(&str, &[&str]); 7] = [
        ("\"prime minister\"", &["Prime minister resigns"]),
        ("prime minister -bridge", &["Prime minister resigns"]),
        (
            "minister -\"prime minister\"",
            &["Minister opens prime bridge"],
        ),
        (
            "harbour or resigns",
            &["Harbour closes", "Prime minister resigns"],
        ),
        ("prime-minister", &["Prime minister resigns"]),
        ("\"minister prime\"", &[]),
        ("-harbour", &[]),
    ];
    for (q, expected) in rows {
        let mut found = found(&origin, q, "").await;
        found.sort();
        assert_eq!(found, expected, "{q}");
    }
}

async fn no_text_is_an_error(database: TestDatabase) {
    let batch = vec![titled("1", 1, "Prime minister resigns", "x")];
    let origin = origin(database, vec![("a", batch)]).await;
    let long = "minister ".repeat(800);
    let texts = [
        "",
        " ",
        "\0",
        "mini\0ster",
        "\"",
        "\"\"",
        "'",
        "''--",
        "the",
        "the of and",
        "!",
        "a & b",
        "a <-> b",
        "(",
        ")",
        ":*",
        "minister:*",
        "title:minister",
        "NEAR(a b)",
        "AND",
        "OR",
        "NOT",
        "or or",
        "-",
        "--",
        "-\"",
        "*",
        "%",
        "_",
        "\\",
        "^",
        "{}",
        "минис",
        "新闻",
        "🗞",
        "\u{202e}",
        "minister\u{2}\u{3}",
        "<b>",
        "a AND (b",
        "ﬁ",
        "İstanbul",
        "1e999",
        "3.14",
        "a.b.c@d.e",
        "http://x.example/?q=1",
        &long,
        &"x".repeat(5_000),
        &"\"a b\" ".repeat(500),
        &"-a ".repeat(500),
    ];
    for text in texts {
        let reply = search(&origin, text, "").await;
        assert_eq!(reply.status, 200, "{text:?}: {:?}", reply.body);
    }
    assert_eq!(found(&origin, &long, "").await.len(), 1);
    // Bytes that are no text at all.
    assert_eq!(get(origin.address, "/search?q=%ff%fe").await.status, 200);
    let reply = get(origin.address, "/search").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (400, "invalid_parameter")
    );
    assert_eq!(reply.json()["parameters"][0]["name"], "q");
}

async fn what_matched_is_marked_and_everything_else_escaped(database: TestDatabase) {
    let mut given = titled(
        "1",
        1,
        "Quakes & <tremors> in the \"north\"",
        "Two quakes shook the north. Nobody's hurt.",
    );
    given.content = None;
    let origin = origin(database, vec![("a", vec![given])]).await;
    let page = search(&origin, "quake", "").await.json();
    let marked = &page["articles"][0]["highlights"];
    let title = marked["title"].as_str().expect("a title");
    assert!(title.starts_with("<mark>Quakes</mark> &amp; "), "{title}");
    assert!(
        !title
            .replace("<mark>", "")
            .replace("</mark>", "")
            .contains('<'),
        "{title}"
    );
    let text = marked["text"].as_str().expect("an excerpt");
    assert!(
        text.contains("<mark>quakes</mark>") && text.contains("Nobody&#39;s"),
        "{text}"
    );
    assert_eq!(
        page["articles"][0]["title"],
        "Quakes & <tremors> in the \"north\""
    );
}

async fn filters_leave_only_what_they_name(database: TestDatabase) {
    let good = titled(
        "good",
        0,
        "Quake drill is a wonderful success",
        "Happy and safe",
    );
    let bad = NewArticle {
        categories: vec![Category::World],
        ..titled("bad", 86_400, "Quake kills hundreds", "A terrible disaster")
    };
    let german = NewArticle {
        title: "Quake auf Deutsch".to_owned(),
        language: Some("de".to_owned()),
        ..article("de", 2 * 86_400)
    };
    let origin = origin(database, vec![("a", vec![good, german]), ("b", vec![bad])]).await;
    let (good, bad, german) = (
        "Quake drill is a wonderful success",
        "Quake kills hundreds",
        "Quake auf Deutsch",
    );
    let second_day = (noon() + TimeDelta::days(1)).format("%Y-%m-%d").to_string();
    let second_noon = (noon() + TimeDelta::days(1))
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let rows: Vec<(String, Vec<&str>)> = vec![
        ("&source=a".to_owned(), vec![german, good]),
        ("&category=world".to_owned(), vec![bad]),
        ("&language=de".to_owned(), vec![german]),
        ("&language=en".to_owned(), vec![bad, good]),
        ("&sentiment=positive".to_owned(), vec![good]),
        ("&sentiment=negative".to_owned(), vec![bad]),
        ("&sentiment=neutral".to_owned(), vec![]),
        (format!("&from={second_day}"), vec![german, bad]),
        (format!("&to={second_day}"), vec![bad, good]),
        (format!("&from={second_day}&to={second_day}"), vec![bad]),
        (format!("&from={second_noon}"), vec![german, bad]),
        (format!("&to={second_noon}"), vec![good]),
        ("&from=2100-01-01".to_owned(), vec![]),
        ("&to=0001-01-01".to_owned(), vec![]),
        (
            "&source=b&category=world&language=en&sentiment=negative".to_owned(),
            vec![bad],
        ),
        ("&source=a&category=world".to_owned(), vec![]),
    ];
    for (filters, expected) in rows {
        assert_eq!(
            found(&origin, "quake", &format!("{filters}&sort=newest")).await,
            expected,
            "{filters}"
        );
    }
}

async fn pages_hold_every_match_once_while_others_come_in(database: TestDatabase) {
    let batch: Vec<NewArticle> = (0..25)
        .map(|n| {
            let more = "volcano ".repeat(usize::try_from(n % 4).expect("small"));
            titled(
                &format!("old/{n}"),
                n / 3,
                &format!("Volcano number {n} wakes"),
                &more,
            )
        })
        .collect();
    let mut expected: Vec<String> = batch.iter().map(|article| article.title.clone()).collect();
    let mut all = batch.clone();
    let script = Script::new("a", Act::Give(batch));
    let origin = TestOrigin::with(database, std::slice::from_ref(&script), &[]).await;
    get(origin.address, "/articles").await;
    let (mut titles_found, mut target) = (Vec::new(), "/search?q=volcano&limit=4".to_owned());
    for turn in 0.. {
        assert!(turn < 50, "pages without end");
        let reply = get(origin.address, &target).await;
        let page = reply.json();
        titles_found.extend(titles(&page));
        assert_eq!(page["total"]["value"], 25);
        let link = reply
            .headers
            .get("link")
            .map(|link| link.to_str().expect("text").to_owned());
        let Some(next) = page["next"].as_str() else {
            assert_eq!(link, None);
            break;
        };
        target = format!("/search?q=volcano&limit=4&cursor={next}");
        assert_eq!(link, Some(format!("<{target}>; rel=\"next\"")));
        all.push(titled(
            &format!("new/{turn}"),
            100 + turn,
            "Volcano volcano volcano",
            "volcano",
        ));
        script.now_does(Act::Give(all.clone()));
        get(origin.address, "/articles?live=true").await;
    }
    titles_found.sort();
    expected.sort();
    assert_eq!(titles_found, expected);
}

async fn a_cursor_belongs_to_its_search_and_nobody_can_make_one(database: TestDatabase) {
    let batch = (0..4)
        .map(|n| titled(&n.to_string(), n, &format!("Volcano {n}"), "x"))
        .collect();
    let origin = origin(database, vec![("a", batch)]).await;
    let page = search(&origin, "volcano", "&limit=2").await.json();
    let next = page["next"].as_str().expect("a cursor").to_owned();
    let with = |q: &'static str, rest: String| {
        let origin = &origin;
        async move { search(origin, q, &rest).await }
    };
    assert_eq!(
        with("volcano", format!("&limit=1&cursor={next}"))
            .await
            .status,
        200
    );
    let middle = next.len() / 2;
    let other = if next.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let tampered = format!("{}{other}{}", &next[..middle], &next[middle + 1..]);
    let list = get(origin.address, "/articles?limit=2").await.json();
    let foreign = list["next"].as_str().expect("a cursor");
    for (q, rest) in [
        ("volcanoes erupt", format!("&cursor={next}")),
        ("volcano", format!("&source=a&cursor={next}")),
        ("volcano", format!("&sort=newest&cursor={next}")),
        ("volcano", format!("&cursor={tampered}")),
        ("volcano", format!("&cursor={foreign}")),
        ("volcano", "&cursor=".to_owned()),
        ("volcano", "&cursor=%00".to_owned()),
    ] {
        let reply = with(q, rest.clone()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (400, "invalid_parameter"),
            "{rest}"
        );
        assert_eq!(reply.json()["parameters"][0]["name"], "cursor");
    }
}

async fn a_mistyped_word_finds_what_was_meant(database: TestDatabase) {
    let batch: Vec<NewArticle> = (0..3)
        .map(|n| {
            titled(
                &n.to_string(),
                n,
                &format!("Earthquake {n} shakes the parliament"),
                "Ministers leave",
            )
        })
        .collect();
    let origin = origin(database, vec![("a", batch)]).await;
    for (q, corrected) in [
        ("erthquake", "earthquake"),
        ("earthquaek parliment", "earthquake parliament"),
        (
            "\"shakes the parliament\" minsters",
            "\"shakes the parliament\" ministers",
        ),
    ] {
        let page = search(&origin, q, "").await.json();
        assert_eq!(page["corrected"], corrected, "{q}");
        assert_eq!(page["articles"].as_array().map(Vec::len), Some(3), "{q}");
    }
    // The next page goes on with the other words.
    let page = search(&origin, "erthquake", "&limit=2").await.json();
    let next = page["next"].as_str().expect("a cursor");
    let page = search(&origin, "erthquake", &format!("&limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(page["articles"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["corrected"], "earthquake");
    for q in ["xylophone", "earthquake xylophone", "erth"] {
        let page = search(&origin, q, "").await.json();
        assert_eq!(page["articles"].as_array().map(Vec::len), Some(0), "{q}");
        assert_eq!(page["corrected"], Value::Null, "{q}");
    }
}

async fn a_changed_article_is_found_by_its_new_words_only(database: TestDatabase) {
    let script = Script::new("a", Act::Give(vec![titled("1", 0, "Volcano wakes", "x")]));
    let origin = TestOrigin::with(database, std::slice::from_ref(&script), &[]).await;
    get(origin.address, "/articles").await;
    assert_eq!(found(&origin, "volcano", "").await.len(), 1);
    script.now_does(Act::Give(vec![titled("1", 0, "Glacier melts", "x")]));
    get(origin.address, "/articles?live=true").await;
    assert_eq!(found(&origin, "volcano", "").await.len(), 0);
    assert_eq!(found(&origin, "glacier", "").await.len(), 1);
}

async fn a_story_told_twice_is_found_once(database: TestDatabase) {
    let one = titled("a", 0, "Volcano wakes after a hundred years", "First");
    let other = titled(
        "b",
        60,
        "Volcano wakes after hundred years",
        "A later report from elsewhere",
    );
    let origin = origin(database, vec![("a", vec![one]), ("b", vec![other])]).await;
    let page = search(&origin, "volcano", "").await.json();
    assert_eq!(titles(&page), ["Volcano wakes after a hundred years"]);
    assert_eq!(page["total"]["value"], 1);
    assert_eq!(page["articles"][0]["also_at"][0]["source"], "b");
    assert_eq!(found(&origin, "volcano", "&duplicates=show").await.len(), 2);
    // Where the shown one is no match, the other one stands for the story.
    for (q, filters) in [("elsewhere", ""), ("volcano", "&source=b")] {
        let found = found(&origin, q, filters).await;
        assert_eq!(found, ["Volcano wakes after hundred years"], "{q}{filters}");
    }
}

/// The window of the first pages ends before the article that stands for the story.
async fn a_duplicate_stays_hidden_on_every_page(database: TestDatabase) {
    let shown = titled("shown", 0, "Volcano wakes after a hundred years", "x");
    let hidden = titled("hidden", 60, "Volcano wakes after hundred years", "x");
    let others = (0..505).map(|n| {
        let title = format!("Volcano number {n}");
        titled(&format!("other/{n}"), 10 + n, &title, "x")
    });
    let batch = std::iter::once(shown).chain(others).collect();
    let origin = origin(database, vec![("a", batch), ("b", vec![hidden])]).await;
    let (mut found, mut target) = (Vec::new(), Some("/search?q=volcano&limit=100".to_owned()));
    while let Some(place) = target {
        let page = get(origin.address, &place).await.json();
        found.extend(titles(&page));
        let next = page["next"].as_str();
        target = next.map(|next| format!("/search?q=volcano&limit=100&cursor={next}"));
        assert!(found.len() < 1_000, "pages without end");
    }
    let hidden = "Volcano wakes after hundred years".to_owned();
    assert!(!found.contains(&hidden), "{found:?}");
    assert_eq!(found.len(), 506);
}

async fn the_newest_come_first_when_asked_for(database: TestDatabase) {
    let batch = vec![
        titled("a", 10, "Volcano volcano volcano", "volcano"),
        titled("b", 30, "A day in the mountains", "near a volcano"),
        titled("c", 20, "Volcano", "x"),
    ];
    let origin = origin(database, vec![("a", batch)]).await;
    assert_eq!(
        found(&origin, "volcano", "&sort=newest").await,
        [
            "A day in the mountains",
            "Volcano",
            "Volcano volcano volcano"
        ]
    );
    assert_eq!(
        found(&origin, "volcano", "")
            .await
            .last()
            .map(String::as_str),
        Some("A day in the mountains")
    );
}
