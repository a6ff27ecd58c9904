//! Any bytes, and any damage to real shapes, end in a batch or an error: never in a panic, and never in an article that
//! breaks the rules of articles.

use chrono::{DateTime, Utc};
use larder_origin::article::CanonicalUrl;
use larder_origin::source::feed::Document;
use larder_origin::source::{Batch, SourceError, feed, guardian, hackernews, newsapi, reddit};
use proptest::prelude::*;
use url::Url;

const DOCUMENTS: [&[u8]; 6] = [
    include_bytes!("../../fixtures/sample/newsapi-technology.json"),
    include_bytes!("../../fixtures/sample/guardian.json"),
    include_bytes!("../../fixtures/sample/algolia.json"),
    include_bytes!("../../fixtures/sample/rss.xml"),
    include_bytes!("../../fixtures/sample/atom.xml"),
    include_bytes!("../../fixtures/sample/feed.json"),
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a date")
}

fn read_by_all(body: &[u8], charset: Option<&str>) -> Vec<Result<Batch, SourceError>> {
    let url = Url::parse("https://feed.example/rss.xml").expect("a URL");
    let document = Document { url: &url, charset };
    vec![
        newsapi::parse(body, None, now()),
        guardian::parse(body, now()),
        hackernews::parse(body, now()),
        reddit::parse(body, now()).map(|page| page.batch),
        feed::parse(body, document, now()),
    ]
}

fn check(body: &[u8], charset: Option<&str>) {
    for batch in read_by_all(body, charset).into_iter().flatten() {
        for article in batch.articles {
            assert!(!article.title.trim().is_empty());
            assert!(
                !article.title.chars().any(char::is_control),
                "{:?}",
                article.title
            );
            assert!(article.url.starts_with("https://") || article.url.starts_with("http://"));
            assert!(article.published_at <= now());
            assert!(!article.categories.is_empty());
            // What is stored must be read back as the same identity.
            let again = CanonicalUrl::parse(article.canonical_url.as_str(), None);
            assert_eq!(again, Ok(article.canonical_url));
        }
    }
}

/// A real document with a few stretches cut, doubled or overwritten.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let cut = (
        any::<prop::sample::Index>(),
        0usize..40,
        prop::collection::vec(any::<u8>(), 0..8),
        any::<bool>(),
    );
    (
        prop::sample::select(DOCUMENTS.to_vec()),
        prop::collection::vec(cut, 1..6),
    )
        .prop_map(|(document, cuts)| {
            let mut body = document.to_vec();
            for (at, length, put, twice) in cuts {
                let start = at.index(body.len().max(1)).min(body.len());
                let end = (start + length).min(body.len());
                let mut put = put;
                if twice {
                    put.extend_from_slice(&body[start..end]);
                    put.extend_from_slice(&body[start..end]);
                }
                body.splice(start..end, put);
            }
            body
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..400), charset in prop::option::of("[a-z0-9-]{0,12}")) {
        check(&body, charset.as_deref());
    }

    #[test]
    fn any_text_in_a_title_is_read_or_skipped(title in any::<String>(), url in any::<String>(), date in any::<String>()) {
        let article = serde_json::json!({"title": title, "url": url, "publishedAt": date, "description": title, "content": title, "urlToImage": url, "author": title, "source": {"name": title}});
        check(serde_json::json!({"status": "ok", "articles": [article]}).to_string().as_bytes(), None);
        let item = serde_json::json!({"title": title, "url": format!("https://a.example/{url}"), "content_html": title, "date_published": date, "tags": [title], "image": url});
        check(serde_json::json!({"items": [item]}).to_string().as_bytes(), None);
    }

    #[test]
    fn damaged_documents_are_read_or_refused(body in damaged(), charset in prop::option::of(prop::sample::select(vec!["utf-8", "iso-8859-1", "utf-16", "shift_jis", "x"]))) {
        check(&body, charset);
    }
}

#[test]
fn a_document_cut_off_anywhere_is_read_or_refused() {
    for document in DOCUMENTS {
        for end in (0..document.len()).step_by(61) {
            check(&document[..end], None);
        }
    }
}
