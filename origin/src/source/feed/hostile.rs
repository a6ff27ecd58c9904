//! Feeds that are written to keep the reader busy: these tests end only because reading one takes time in proportion to its
//! length.

use super::super::ITEMS_MAX;
use super::{SourceError, xml};
use url::Url;

/// What the documents are filled up to that once took minutes: as long as a body may be.
const LONG_BYTES: usize = 5 * 1024 * 1024;
/// All the others.
const DOCUMENT_BYTES: usize = 512 * 1024;

const HEAD: &str = "<rss version='2.0'><channel>";
const BROKEN: &str = "<item><b></item>";
const SOUND: &str = "<item><title>A</title><link>https://a.example/b</link></item>";

/// How many items were had, and how many were broken.
fn read(text: &str) -> Option<(usize, usize)> {
    let url = Url::parse("https://a.example/feed.xml").expect("a URL");
    let (feed, broken) = xml::read(text, &url).ok()?;
    Some((feed.entries.len(), broken))
}

fn filled(head: &str, with: &str) -> String {
    filled_up_to(DOCUMENT_BYTES, head, with)
}

fn filled_up_to(bytes: usize, head: &str, with: &str) -> String {
    format!("{head}{}", with.repeat((bytes - head.len()) / with.len()))
}

#[test]
fn references_without_end_are_not_looked_for_to_the_end() {
    let head = format!("{HEAD}<item><title>");
    for with in ["&#", "&#x", "&#1", "&a", "&"] {
        assert_eq!(
            read(&format!("{}</b>", filled(&head, with))),
            None,
            "{with}"
        );
    }
}

#[test]
fn the_longest_documents_are_read_as_well() {
    let title = format!("{HEAD}<item><title>");
    let references = filled_up_to(LONG_BYTES, &title, "&#");
    assert_eq!(read(&format!("{references}</b>")), None);
    let comments = filled_up_to(LONG_BYTES, &format!("{HEAD}{BROKEN}"), "<!--");
    assert_eq!(read(&comments), None);
}

#[test]
fn markup_without_end_is_looked_for_once() {
    for with in [
        "<!--",
        "<![CDATA[",
        "<?",
        "<!",
        "<!--<![CDATA[<?",
        "<![CDATA[&#",
    ] {
        assert_eq!(
            read(&filled(&format!("{HEAD}{BROKEN}"), with)),
            None,
            "{with}"
        );
        let head = format!("{HEAD}{SOUND}{BROKEN}");
        let found = read(&filled(&head, with)).map(|(items, _)| items);
        assert_eq!(found, Some(1), "{with}");
    }
}

#[test]
fn document_types_without_end_are_looked_at_once() {
    for with in ["<!a>", "<!a[]>", "<?a?>", "<!---->", "<!a", "<!a["] {
        assert_eq!(read(&filled("", with)), None, "{with}");
        let fed = format!("{}{HEAD}{SOUND}</channel></rss>", filled("", with));
        // Whatever is made of it.
        let _ = read(&fed);
    }
}

#[test]
fn attributes_and_members_without_end_are_looked_at_once() {
    let item = format!("{HEAD}{BROKEN}<item>");
    for with in [
        "<title>",
        "<title><",
        "<a b='",
        "</item",
        "<item a='",
        " xml:base",
        "]]>",
    ] {
        assert!(
            read(&filled(&item, with)).is_none_or(|(items, _)| items == 0),
            "{with}"
        );
    }
    for with in [" xmlns", " xmlns=", " version", "xmlns='"] {
        let _ = read(&filled("<rss", with));
    }
}

#[test]
fn what_stands_behind_a_comment_without_end_is_counted_before_it_is_parsed() {
    let of_many_tags = SOUND.replace(
        "</item>",
        &format!("{}</item>", "<category/>".repeat(60_000)),
    );
    let hidden = |items: &str| read(&format!("{HEAD}{BROKEN}<!--{items}</channel></rss>"));
    assert_eq!(hidden(&SOUND.repeat(3)), Some((3, 1)));
    assert_eq!(hidden(&of_many_tags), Some((1, 1)));
    assert_eq!(hidden(&of_many_tags.repeat(3)), Some((1, 1)));
    assert_eq!(
        hidden(&of_many_tags.replace("<category/>", "<category/><category/>")),
        None
    );
    let many = hidden(&SOUND.repeat(3 * ITEMS_MAX));
    assert_eq!(many, Some((ITEMS_MAX - 1, 1)));
}

#[test]
fn bases_that_add_up_are_refused_however_they_are_written() {
    let url = Url::parse("https://a.example/feed.xml").expect("a URL");
    let base = format!("xml:base='{}/'", "b".repeat(450));
    let nest =
        |opening: &str, times: usize| format!("{}{}", opening.repeat(times), "</a>".repeat(times));
    let rows = [
        nest(&format!("<a {base}>"), 400),
        nest(&format!("<a {}>", base.replace("bbb", "&#98;b&#x62;")), 400),
        nest(&format!("<a b:base='' x{base} {base}>"), 400),
        nest(
            &format!("<!-- </a> --><a {base}><![CDATA[</a>]]><?b </a>?>"),
            400,
        ),
        format!(
            "<!DOCTYPE feed [<!ENTITY a '</a>'>]>{}",
            nest(&format!("<a {base}>&a;"), 400)
        ),
        format!(
            "<entry {base}>{}</entry>",
            "<link href='c'/>".repeat(40_000)
        ),
    ];
    for hostile in rows {
        let text = format!("<feed>{hostile}</feed>");
        let found = xml::read(&text, &url);
        let is_refused =
            matches!(&found, Err(SourceError::Malformed(what)) if what.contains("xml:base"));
        assert!(is_refused, "{found:?}");
    }
}

#[test]
fn an_element_with_attributes_without_number_is_not_read() {
    let attributes = |count: usize| {
        let all = (0..count).map(|n| format!(" a{n}=''"));
        all.collect::<String>()
    };
    let item = |count: usize| format!("<item{}><title>B</title></item>", attributes(count));
    let feed = |count: usize| format!("{HEAD}{SOUND}{}</channel></rss>", item(count));
    assert_eq!(read(&feed(500)), Some((2, 0)));
    // The items before it are.
    assert_eq!(read(&feed(501)), Some((1, 0)));
    assert_eq!(read(&feed(300_000)), Some((1, 0)));
    let bare = filled_up_to(LONG_BYTES, "<rss version='2.0' ", "a b ");
    assert_eq!(read(&format!("{bare}>")), None);
    // Half of them are others, and half are the last of those again: each of these is compared with all of those.
    let again = " a99999=''".repeat(100_000);
    let doubled = format!("{HEAD}{SOUND}<item{}{again}>", attributes(100_000));
    assert_eq!(read(&doubled), Some((1, 0)));
}
