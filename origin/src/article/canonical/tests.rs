use super::*;
use proptest::prelude::*;

fn folded(raw: &str) -> String {
    match CanonicalUrl::parse(raw, None) {
        Ok(url) => url.to_string(),
        Err(fault) => format!("fault: {fault}"),
    }
}

#[test]
fn spellings_of_one_article_fold_into_one() {
    let rows = [
        ("https://example.com/a", "https://example.com/a"),
        ("http://example.com/a", "https://example.com/a"),
        ("HTTPS://WWW.Example.COM:443/a/", "https://example.com/a"),
        ("http://example.com:80/a#part", "https://example.com/a"),
        ("https://user:word@example.com/a", "https://example.com/a"),
        ("https://example.com/#!/a", "https://example.com/#!/a"),
        (
            "https://example.com/x?b=1#/a/2",
            "https://example.com/x?b=1#/a/2",
        ),
        ("www.example.com/a", "https://example.com/a"),
        ("//example.com/a", "https://example.com/a"),
        ("https://m.example.com/a", "https://example.com/a"),
        ("https://amp.example.com/a", "https://example.com/a"),
        ("https://www.m.example.com./a", "https://example.com/a"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com/", "https://example.com/"),
        ("https://example.com/x/../a/./", "https://example.com/a"),
        (
            "https://example.com/%7euser/%c3%a9",
            "https://example.com/~user/%C3%A9",
        ),
        (
            "https://example.com/a?b=2&a=1",
            "https://example.com/a?a=1&b=2",
        ),
        (
            "https://example.com/a?utm_source=x&id=7&fbclid=y&CMP=z",
            "https://example.com/a?id=7",
        ),
        (
            "https://example.com/a?at_medium=RSS&at_campaign=rss",
            "https://example.com/a",
        ),
        ("https://example.com/a?", "https://example.com/a"),
        (
            "https://www.google.com/amp/s/example.com/a",
            "https://example.com/a",
        ),
        (
            "https://www.google.com/amp/s/example.com/a?id=7",
            "https://example.com/a?id=7",
        ),
        (
            "https://example-com.cdn.ampproject.org/c/s/example.com/a",
            "https://example.com/a",
        ),
        (
            "https://example-com.cdn.ampproject.org/v/s/www.example.com/a/amp/",
            "https://example.com/a",
        ),
        ("https://example.com/a/amp/", "https://example.com/a"),
        (
            "https://example.com/a.amp.html",
            "https://example.com/a.html",
        ),
        ("https://example.com/a?amp=1", "https://example.com/a"),
        (
            "https://example.com/a?outputType=amp",
            "https://example.com/a",
        ),
        (
            "https://www.google.com/url?rct=j&sa=t&url=https://example.com/a%3Fid%3D7&ct=ga",
            "https://example.com/a?id=7",
        ),
    ];
    for (raw, expected) in rows {
        assert_eq!(folded(raw), expected, "{raw}");
    }
}

#[test]
fn what_names_the_article_stays() {
    let rows = [
        (
            "https://example.com/watch?v=1",
            "https://example.com/watch?v=2",
        ),
        ("https://example.com/?p=1", "https://example.com/?p=2"),
        ("https://example.com/a?id=1", "https://example.com/a?id=2"),
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/a", "https://example.org/a"),
        ("https://example.com:8443/a", "https://example.com/a"),
        ("https://news.example.com/a", "https://example.com/a"),
        ("https://example.com/a%2Fb", "https://example.com/a/b"),
        ("https://example.com/a?ref=main", "https://example.com/a"),
        ("https://example.com/amp", "https://example.com/"),
        ("https://m.com/a", "https://example.com/a"),
        ("https://example.com/a?amp=volt", "https://example.com/a"),
    ];
    for (one, other) in rows {
        assert_ne!(folded(one), folded(other));
    }
}

#[test]
fn relative_links_resolve_against_their_document() {
    let base = Url::parse("https://www.example.com/feeds/rss.xml").expect("a URL");
    let rows = [
        ("/a", "https://example.com/a"),
        ("../a", "https://example.com/a"),
        ("a?ref=example.com", "https://example.com/feeds/a"),
        ("a?ref=www.example.com", "https://example.com/feeds/a"),
        (
            "//other.example/a?ref=example.org",
            "https://other.example/a?ref=example.org",
        ),
    ];
    for (raw, expected) in rows {
        let url = CanonicalUrl::parse(raw, Some(&base));
        assert_eq!(
            url.as_ref().map(CanonicalUrl::as_str),
            Ok(expected),
            "{raw}"
        );
    }
}

#[test]
fn the_readers_address_is_kept_as_given() {
    let (url, canonical) =
        CanonicalUrl::resolve(" http://www.example.com/a/?utm_source=x#c ", None).expect("a link");
    assert_eq!(url.as_str(), "http://www.example.com/a/?utm_source=x#c");
    assert_eq!(canonical.as_str(), "https://example.com/a");
}

#[test]
fn what_is_no_web_address_is_refused() {
    let long = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX));
    let swollen = format!("https://example.com/{}", "é".repeat(1_000));
    let rows = [
        ("", UrlFault::Empty),
        (" \n", UrlFault::Empty),
        ("/relative", UrlFault::NotAUrl),
        ("https://", UrlFault::NotAUrl),
        ("javascript:alert(1)", UrlFault::NotWeb),
        ("ftp://example.com/a", UrlFault::NotWeb),
        ("data:text/html,x", UrlFault::NotWeb),
        (long.as_str(), UrlFault::TooLong),
        (swollen.as_str(), UrlFault::TooLong),
    ];
    for (raw, fault) in rows {
        assert_eq!(CanonicalUrl::parse(raw, None), Err(fault), "{:.40}", raw);
    }
}

#[test]
fn the_hash_never_changes_between_versions() {
    let url = CanonicalUrl::parse("http://www.example.com/a?utm_source=x", None).expect("a URL");
    // SHA-256 of "https://example.com/a"; stored rows depend on it.
    assert_eq!(
        url.url_hash(),
        hex(&Sha256::digest(b"https://example.com/a"))
    );
    assert_eq!(url.url_hash().len(), 64);
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing(raw in r"https?://(www\.|m\.|amp\.){0,2}[a-z]{1,5}\.com(:[0-9]{2,4})?(/(amp|a\.amp\.html|%7[eE]|%|[a-zA-Z%.]{0,6})){0,4}/?(\?([a-c&=%+/;é]|utm_x|amp|url=){0,8})?(#f)?") {
        if let Ok(once) = CanonicalUrl::parse(&raw, None) {
            let twice = CanonicalUrl::parse(once.as_str(), None);
            prop_assert_eq!(twice, Ok(once));
        }
    }

    #[test]
    fn any_text_is_folded_or_refused(raw in any::<String>()) {
        let base = Url::parse("https://example.com/").expect("a URL");
        let _ = CanonicalUrl::parse(&raw, Some(&base));
    }
}

#[test]
fn a_reader_is_sent_without_anybodys_password() {
    let base = Url::parse("https://me:s3cret@feeds.example/private/rss.xml").expect("a URL");
    let rows = [
        ("/story", "https://feeds.example/story"),
        ("https://bank.example@a.example/x", "https://a.example/x"),
        ("www.a.example/x", "https://www.a.example/x"),
        ("//a.example/x", "https://a.example/x"),
    ];
    for (raw, expected) in rows {
        let (url, _) = CanonicalUrl::resolve(raw, Some(&base)).expect("a link");
        assert_eq!(url.as_str(), expected);
    }
}
