use super::*;
use crate::article::{Category, NewArticle, parse_date};

fn now() -> DateTime<Utc> {
    parse_date("2026-01-01T12:00:00Z").expect("a date")
}

fn read(body: &[u8]) -> Result<Batch, SourceError> {
    let url = Url::parse("https://feed.example/dir/rss.xml").expect("a URL");
    parse(
        body,
        Document {
            url: &url,
            charset: None,
        },
        now(),
    )
}

fn rss(items: &str) -> Batch {
    let head = r#"<rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Town &amp; Post</title>"#;
    read(format!("{head}{items}</channel></rss>").as_bytes()).expect("a feed")
}

fn item(members: &str) -> NewArticle {
    let batch = rss(&format!(
        "<item><title>A bridge</title><link>https://a.example/b</link>{members}</item>"
    ));
    batch.articles.into_iter().next().expect("an article")
}

#[test]
fn every_kind_of_feed_is_read() {
    let rdf = r#"<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="x"><title>T</title><link>https://a.example/</link><description>d</description></channel><item rdf:about="y"><title>A bridge</title><link>https://a.example/b</link><dc:date>2025-12-31T08:00:00Z</dc:date></item></rdf:RDF>"#;
    let rss_0 = r#"<rss version="0.91"><channel><title>T</title><link>https://a.example/</link><description>d</description><item><title>A bridge</title><link>https://a.example/b</link></item></channel></rss>"#;
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>T</title><id>t</id><updated>2025-12-31T08:00:00Z</updated><entry><title type="html">A &lt;b&gt;bridge&lt;/b&gt;</title><id>urn:1</id><link rel="edit" href="https://a.example/edit"/><link href="/b"/><updated>2025-12-31T08:00:00Z</updated></entry></feed>"#;
    let json = r#"{"version":"https://jsonfeed.org/version/1.1","title":"T","items":[{"id":7,"url":"https://a.example/b","title":"A bridge","image":"/i.jpg","date_published":null}]}"#;
    for body in [rdf, rss_0, atom, json] {
        let batch = read(body.as_bytes()).expect("a feed");
        assert_eq!((batch.articles.len(), batch.skipped), (1, 0), "{body}");
        assert_eq!(batch.articles[0].title, "A bridge");
        assert!(
            batch.articles[0].url.ends_with(".example/b"),
            "{}",
            batch.articles[0].url
        );
    }
}

#[test]
fn items_without_a_link_are_skipped_and_no_id_is_invented() {
    let batch = rss(
        "<item><title>No link</title><guid isPermaLink='false'>x1</guid></item><item><link>https://a.example/untitled</link></item>",
    );
    assert_eq!((batch.articles.len(), batch.skipped), (0, 2));
    let batch = rss("<item><title>A</title><guid>https://a.example/permanent</guid></item>");
    assert_eq!(batch.articles[0].url, "https://a.example/permanent");
    assert_eq!(item("").external_id, None);
    assert_eq!(
        item("<guid isPermaLink='false'>x1</guid>")
            .external_id
            .as_deref(),
        Some("x1")
    );
}

#[test]
fn an_episode_without_a_page_leads_to_its_recording() {
    let episode = |kind: &str| {
        rss(&format!(
            "<item><title>One</title><guid isPermaLink='false'>ep1</guid><enclosure url='https://a.example/1' type='{kind}' length='1'/></item>"
        ))
    };
    assert_eq!(episode("audio/mpeg").articles[0].url, "https://a.example/1");
    assert_eq!(episode("image/png").skipped, 1);
}

#[test]
fn missing_and_impossible_dates_are_estimated() {
    for date in [
        "",
        "<pubDate>soon</pubDate>",
        "<pubDate>Fri, 01 Jan 2100 00:00:00 GMT</pubDate>",
    ] {
        let article = item(date);
        assert_eq!(
            (article.published_at, article.published_at_estimated),
            (now(), true),
            "{date}"
        );
    }
    assert!(!item("<pubDate>Wed, 31 Dec 2025 08:00:00 GMT</pubDate>").published_at_estimated);
}

#[test]
fn pictures_are_found_wherever_they_hang() {
    let rows = [
        (
            r#"<media:thumbnail url="https://i.example/t.jpg" width="240"/>"#,
            Some("https://i.example/t.jpg"),
        ),
        (
            r#"<media:content url="https://i.example/c.jpg" medium="image" type="image/jpeg"/>"#,
            Some("https://i.example/c.jpg"),
        ),
        (
            r#"<enclosure url="https://i.example/e.png" type="image/png" length="1"/>"#,
            Some("https://i.example/e.png"),
        ),
        (
            r#"<enclosure url="https://i.example/e.mp3" type="audio/mpeg" length="1"/>"#,
            None,
        ),
        (
            r#"<content:encoded><![CDATA[<p><img src="/in/text.jpg"/></p>]]></content:encoded>"#,
            Some("https://feed.example/in/text.jpg"),
        ),
        (
            "<description>&lt;img src='https://i.example/d.jpg?a=1&amp;amp;b=2'&gt;</description>",
            Some("https://i.example/d.jpg?a=1&b=2"),
        ),
        ("", None),
    ];
    for (members, expected) in rows {
        assert_eq!(item(members).image_url.as_deref(), expected, "{members}");
    }
}

#[test]
fn authors_have_names_and_no_addresses() {
    let rows = [
        ("<dc:creator>A. Desk</dc:creator>", Some("A. Desk")),
        ("<author>desk@a.example (A. Desk)</author>", Some("A. Desk")),
        ("<author>desk@a.example</author>", None),
        ("", None),
    ];
    for (members, expected) in rows {
        assert_eq!(item(members).author.as_deref(), expected, "{members}");
    }
}

#[test]
fn an_items_own_words_go_before_its_feeds() {
    assert_eq!(
        item("<category>Sport</category><category>Opinion</category>").categories,
        [Category::Sports]
    );
    assert_eq!(
        item("<category>Opinion</category>").categories,
        [Category::General]
    );
    let url = Url::parse("https://feed.example/technology/rss.xml").expect("a URL");
    let body =
        b"<rss version='2.0'><channel><item><title>A</title><link>/a</link></item></channel></rss>";
    let batch = parse(
        body,
        Document {
            url: &url,
            charset: None,
        },
        now(),
    )
    .expect("a feed");
    assert_eq!(batch.articles[0].categories, [Category::Technology]);
}

#[test]
fn damaged_documents_give_what_they_hold() {
    let whole = "<item><title>A bridge</title><link>https://a.example/b</link></item>";
    let marked: Vec<u8> = [0xFF, 0xFE].into_iter().chain(format!("<?xml version='1.0' encoding='utf-16'?><rss version='2.0'><channel>{whole}</channel></rss>").encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let rows: [Vec<u8>; 8] = [
        format!("<rss><channel>{whole}</channel></rss>").into(),
        format!("<rss version=\"0.94\"><channel>{whole}</channel></rss>").into(),
        format!("<?xml version='1.0' encoding='bogus'?><rss version='2.0'><channel>{whole}</channel></rss>").into(),
        format!("<!-- a --><!DOCTYPE rss [<!ENTITY x 'y>z'>]>\n<rss version='2.0'><channel>{whole}</channel></rss>").into(),
        format!("<rss version='2.0'><channel>{whole}<item><title><![CDATA[Cut off").into(),
        format!("<html><body><rss version='2.0'><channel>{whole}</channel></rss></body></html>").into(),
        format!("\n \u{b}<rss version='2.0'><channel>{whole}</channel></rss>").into(),
        marked,
    ];
    for body in rows {
        let batch = read(&body)
            .unwrap_or_else(|fault| panic!("{fault}: {}", String::from_utf8_lossy(&body)));
        assert_eq!(
            batch.articles.first().map(|article| article.title.as_str()),
            Some("A bridge")
        );
    }
    let latin = b"<rss version='2.0'><channel><item><title>Caf\xE9</title><link>https://a.example/b</link></item></channel></rss>";
    assert_eq!(read(latin).expect("a feed").articles[0].title, "Café");
}

#[test]
fn what_is_nearly_xml_is_read() {
    let rows = [
        ("R&D & more; M&S", "R&D & more; M&S"),
        ("caf&eacute; &hellip;", "café …"),
        (
            "Half &#xD83D; whole &#55357;&#56832; nul &#0;",
            "Half \u{FFFD} whole 😀 nul \u{FFFD}",
        ),
        ("<![CDATA[<b>C&amp;D</b> & E]]> & F", "C&D & E & F"),
        ("One <b>bold<br> word", "One bold word"),
    ];
    for (title, expected) in rows {
        let batch = rss(&format!(
            "<item><title>{title}</title><link>https://a.example/b?x=1&y=2</link></item>"
        ));
        let article = batch.articles.first().expect("an article");
        assert_eq!(article.title, expected);
        assert_eq!(article.url, "https://a.example/b?x=1&y=2");
    }
}

#[test]
fn an_item_that_is_no_xml_costs_itself() {
    let batch = rss(
        "<item><title>One</title><link>https://a.example/1</link></item>\
         <item><title>Two</link></title></item>\
         <item><title>Three</title><description>a <br> b & <i>c</description><link>https://a.example/3</link></item>\
         <item><title>Four</title><link>https://a.example/4</link></item>",
    );
    let titles: Vec<&str> = batch
        .articles
        .iter()
        .map(|found| found.title.as_str())
        .collect();
    assert_eq!(titles, ["One", "Three", "Four"]);
    assert_eq!(batch.skipped, 1);
    assert_eq!(batch.articles[1].description.as_deref(), Some("a b & c"));
    assert_eq!(batch.articles[2].outlet.as_deref(), Some("Town & Post"));
    let many = "<item><title>A</title><link>https://a.example/b</link><b></item>".repeat(ITEMS_MAX);
    let body = format!(
        "<rss {}><channel>{many}</channel></rss>",
        "a='b' ".repeat(100_000)
    );
    assert!(matches!(
        read(body.as_bytes()),
        Err(SourceError::Malformed(_))
    ));
}

#[test]
fn feeds_of_other_days_and_dialects_are_read() {
    let members = "<title>A bridge</title><link>https://a.example/b</link>";
    let rows = [
        format!("<rss version='2.0' xmlns='http://backend.example/rss2'><channel><item>{members}</item></channel></rss>"),
        format!("<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://my.netscape.com/rdf/simple/0.9/'><channel><title>T</title></channel><item>{members}</item></rdf:RDF>"),
        "<feed version='0.3' xmlns='http://purl.org/atom/ns#'><title>T</title><entry><title>A bridge</title><link rel='alternate' href='https://a.example/b'/><id>1</id><issued>2025-12-31T08:00:00Z</issued></entry></feed>".to_owned(),
        "<feed xmlns='https://www.w3.org/2005/Atom'><title>T</title><entry><title>A bridge</title><link href='https://a.example/b'/><id>1</id></entry></feed>".to_owned(),
        "<a:feed xmlns:a='http://www.w3.org/2005/Atom'><a:title>T</a:title><a:entry><a:title>A bridge</a:title><a:link href='https://a.example/b'/><a:id>1</a:id></a:entry></a:feed>".to_owned(),
    ];
    for body in rows {
        let batch = read(body.as_bytes()).expect("a feed");
        assert_eq!((batch.articles.len(), batch.skipped), (1, 0), "{body}");
        assert_eq!(batch.articles[0].url, "https://a.example/b", "{body}");
        let is_dated = body.contains("issued");
        assert_eq!(
            batch.articles[0].published_at_estimated, !is_dated,
            "{body}"
        );
    }
}

#[test]
fn a_note_without_a_title_bears_its_first_words() {
    let long = "A note that goes on for longer than any headline would, about the bridge that has been under way since the spring of last year.";
    let rows = [
        ("", "&lt;p&gt;It is 5 &amp;lt; 6.&lt;/p&gt;", "It is 5 < 6."),
        ("<title> </title>", "Short", "Short"),
        ("<title>Own</title>", "Text", "Own"),
        (
            "",
            long,
            "A note that goes on for longer than any headline would, about the bridge that has been under way since the spring of…",
        ),
    ];
    for (title, text, expected) in rows {
        let batch = rss(&format!(
            "<item>{title}<link>https://a.example/b</link><description>{text}</description></item>"
        ));
        assert_eq!(
            batch.articles.first().map(|found| found.title.as_str()),
            Some(expected)
        );
    }
    let json = r#"{"title":"Notes","items":[{"id":"1","url":"https://a.example/1","content_html":"<p>R&amp;D <b>note</b></p>"}]}"#;
    let batch = read(json.as_bytes()).expect("a feed");
    assert_eq!(batch.articles[0].title, "R&D note");
    assert_eq!(batch.articles[0].outlet.as_deref(), Some("Notes"));
}

#[test]
fn what_lets_us_into_a_feed_is_not_shown_in_its_links() {
    let url = Url::parse("https://me:s3cret@feeds.example/dir/rss.xml").expect("a URL");
    let body = "<rss version='2.0'><channel><item><title>A</title><link>/a</link><description>&lt;img src='i.jpg'></description></item></channel></rss>";
    let document = Document {
        url: &url,
        charset: None,
    };
    let batch = parse(body.as_bytes(), document, now()).expect("a feed");
    assert_eq!(batch.articles[0].url, "https://feeds.example/a");
    let image = batch.articles[0].image_url.as_deref();
    assert_eq!(image, Some("https://feeds.example/dir/i.jpg"));
}

#[test]
fn what_is_no_feed_is_malformed() {
    let rows = [
        "",
        "  \n",
        "hello",
        "<html><body>Not here</body></html>",
        "<!DOCTYPE html><p>x",
        "<note/>",
        "{}",
        "[]",
        "{",
        "<rss",
        "<rss version='2.0'>",
        "<rss version='2.0'><channel><item><title><![CDATA[x",
    ];
    for body in rows {
        assert!(
            matches!(read(body.as_bytes()), Err(SourceError::Malformed(_))),
            "{body}"
        );
    }
}

#[test]
fn custom_entities_stay_unexpanded() {
    let bomb = "<!DOCTYPE rss [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;'><!ENTITY x SYSTEM 'file:///etc/hostname'>]><rss version='2.0'><channel><item><title>A &b; &x;</title><link>https://a.example/b</link></item></channel></rss>";
    if let Ok(batch) = read(bomb.as_bytes()) {
        let title = batch
            .articles
            .first()
            .map(|article| article.title.clone())
            .unwrap_or_default();
        assert!(!title.contains("aaaa"), "{title}");
    }
}

#[test]
fn names_are_stable_and_hold_no_token() {
    let name = |url: &str| name_of("feed", &Url::parse(url).expect("a URL"));
    assert_eq!(
        name("https://feeds.bbci.co.uk/news/rss.xml"),
        "feed:feeds.bbci.co.uk/news/rss.xml"
    );
    assert_eq!(
        name("https://me:word@a.example:8443/rss/"),
        "feed:a.example:8443/rss"
    );
    let (one, other) = (
        name("https://a.example/rss?token=s3cret"),
        name("https://a.example/rss?token=other"),
    );
    assert_ne!(one, other);
    assert!(
        one.starts_with("feed:a.example/rss~") && !one.contains("s3cret"),
        "{one}"
    );
    assert_eq!(name("https://a.example/RSS"), name("https://a.example/RSS"));
    assert_ne!(name("https://a.example/RSS"), name("https://a.example/rss"));
}

#[test]
fn an_undated_feed_keeps_its_order() {
    let items: String = (0..5)
        .map(|n| format!("<item><title>T{n}</title><link>https://a.example/{n}</link></item>"))
        .collect();
    let json: Vec<String> = (0..5)
        .map(|n| format!(r#"{{"title":"T{n}","url":"https://a.example/{n}"}}"#))
        .collect();
    let json = format!(r#"{{"items":[{}]}}"#, json.join(","));
    for batch in [rss(&items), read(json.as_bytes()).expect("a feed")] {
        let times: Vec<_> = batch
            .articles
            .iter()
            .map(|found| found.published_at)
            .collect();
        assert_eq!(times.len(), 5);
        assert_eq!(times[0], now());
        assert!(
            times.is_sorted_by(|newer, older| newer > older),
            "{times:?}"
        );
        assert!(
            batch
                .articles
                .iter()
                .all(|found| found.published_at_estimated)
        );
    }
}

#[test]
fn of_an_archive_the_first_items_are_read() {
    let items = |n: usize, name: &str| -> String {
        let item = |n| {
            format!(
                "<{name}><title>T{n} <![CDATA[<item>]]></title><link>https://a.example/{n}</link><!-- <item> --></{name}>"
            )
        };
        (0..n).map(item).collect()
    };
    for count in [ITEMS_MAX, ITEMS_MAX + 1, 3 * ITEMS_MAX] {
        let batch = rss(&items(count, "item"));
        assert_eq!(batch.articles.len(), ITEMS_MAX);
        assert_eq!(batch.articles[0].url, "https://a.example/0");
        assert_eq!(batch.articles[ITEMS_MAX - 1].url, "https://a.example/999");
    }
}

#[test]
fn what_a_parser_would_make_too_much_of_is_cut_before_it() {
    let empty = "<item/>".repeat(400_000);
    let batch = rss(&empty);
    assert_eq!((batch.articles.len(), batch.skipped), (0, ITEMS_MAX));
    let head = "<rss version='2.0'><channel>";
    let whole = "<item><title>A bridge</title><link>https://a.example/b</link></item>";
    let members = "<category/>".repeat(200_000);
    let body = format!("{head}{whole}<item>{members}</item></channel></rss>");
    let batch = read(body.as_bytes()).expect("a feed");
    assert_eq!((batch.articles.len(), batch.skipped), (1, 0));
    let body = format!("{head}{members}</channel></rss>");
    assert!(matches!(
        read(body.as_bytes()),
        Err(SourceError::Malformed(_))
    ));
    // What looks like a comment in a value hides nothing; where something does, nothing is read.
    for hidden in [
        format!("{head}<a b='<!--'/>{empty}<a b='-->'/></channel></rss>"),
        format!("<!DOCTYPE rss [<!ENTITY x '<!--'>]>{head}{empty}<!-- --></channel></rss>"),
    ] {
        if let Ok(batch) = read(hidden.as_bytes()) {
            assert!(batch.articles.len() + batch.skipped <= ITEMS_MAX);
        }
    }
    let slow = format!("{head}{}</channel></rss>", "<".repeat(2_000_000));
    assert!(read(slow.as_bytes()).is_err());
    let json = format!(r#"{{"items":[{}0]}}"#, "0,".repeat(400_000));
    assert!(matches!(
        read(json.as_bytes()),
        Err(SourceError::Malformed(_))
    ));
    let words = ",[{".repeat(400_000);
    let json = format!(
        r#"{{"items":[{{"title":"A \"bridge","url":"https://a.example/b","content_text":"{words}"}}]}}"#
    );
    assert_eq!(read(json.as_bytes()).expect("a feed").articles.len(), 1);
}

#[test]
fn links_are_resolved_against_the_bases_that_hold_where_they_stand() {
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://blog.example/news/"><title>T</title>
        <entry><title>A</title><link href="a"/></entry>
        <entry xml:base="2026/"><title>B</title><link href="b"/></entry>
        <entry><title>C</title><link href="/c"/><content type="html" xml:base="https://pictures.example/x/">&lt;img src="c.jpg"/&gt;</content></entry></feed>"#;
    let rss = r#"<rss version="2.0" xml:base="https://blog.example/news/"><channel><title>T</title>
        <item><title>A</title><link>a</link></item><item xml:base="2026/"><title>B</title><link>b</link></item>
        <item><title>C</title><link>/c</link></item></channel></rss>"#;
    for body in [atom, rss] {
        let batch = read(body.as_bytes()).expect("a feed");
        let urls: Vec<&str> = batch.articles.iter().map(|found| &*found.url).collect();
        let expected =
            ["news/a", "news/2026/b", "c"].map(|end| format!("https://blog.example/{end}"));
        assert_eq!(urls, expected);
    }
    let batch = read(atom.as_bytes()).expect("a feed");
    let picture = batch.articles[2].image_url.as_deref();
    assert_eq!(picture, Some("https://pictures.example/x/c.jpg"));
    let bomb = atom.replace("2026/", &"b".repeat(3_000));
    assert!(matches!(
        read(bomb.as_bytes()),
        Err(SourceError::Malformed(_))
    ));
}

#[test]
fn many_bases_side_by_side_do_not_add_up() {
    let categories = "<category term='c'/>".repeat(19);
    let entry = |n: usize| {
        format!(
            "<entry xml:base='posts/{n}/'><title>A {n}</title><link href='a'/>{categories}</entry>"
        )
    };
    let entries: String = (0..200).map(entry).collect();
    let atom = |entries: &str| {
        let feed = "<feed xmlns='http://www.w3.org/2005/Atom' xml:base='https://blog.example/'>";
        read(format!("{feed}<title>T</title>{entries}</feed>").as_bytes())
    };
    let batch = atom(&entries).expect("a feed");
    assert_eq!((batch.articles.len(), batch.skipped), (200, 0));
    assert_eq!(batch.articles[150].url, "https://blog.example/posts/150/a");

    // What stands in comments and character data holds nowhere.
    let hidden = "<!-- <a xml:base='b/'> --><![CDATA[<a xml:base='b/'>]]>".repeat(500);
    let batch = atom(&format!("{hidden}{entries}")).expect("a feed");
    assert_eq!(batch.articles.len(), 200);
}
