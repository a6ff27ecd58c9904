use super::*;
use crate::article::Category;
use crate::discipline::Purpose;
use std::collections::BTreeSet;

fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text)
        .expect("a test's own date")
        .to_utc()
}

#[test]
fn every_document_is_read_without_loss() {
    let batch = articles(at("2026-06-01T09:30:00Z")).expect("samples");
    assert_eq!((batch.articles.len(), batch.skipped), (50, 0));
    let addresses: BTreeSet<_> = batch
        .articles
        .iter()
        .map(|article| &article.canonical_url)
        .collect();
    assert_eq!(
        addresses.len(),
        batch.articles.len(),
        "two samples share an address"
    );
    assert!(
        batch
            .articles
            .iter()
            .all(|article| !article.published_at_estimated)
    );
    let pictured = batch
        .articles
        .iter()
        .filter(|article| article.image_url.is_some())
        .count();
    assert_eq!(pictured, 45, "all but Hacker News have pictures");
}

#[test]
fn every_category_has_several_stories_and_technology_many() {
    let batch = articles(at("2026-06-01T09:30:00Z")).expect("samples");
    let count = |category| {
        batch
            .articles
            .iter()
            .filter(|article| article.categories.contains(&category))
            .count()
    };
    for category in Category::ALL {
        assert!(count(category) >= 4, "{category}: {}", count(category));
    }
    assert!(count(Category::Technology) >= 10);
}

#[test]
fn no_sample_names_a_real_site_or_outlet() {
    for article in articles(at("2026-06-01T09:30:00Z"))
        .expect("samples")
        .articles
    {
        let host = Url::parse(&article.url)
            .expect("a URL")
            .host_str()
            .expect("a host")
            .to_owned();
        assert!(
            ["example.com", "example.org", "example.net"]
                .iter()
                .any(|name| host.ends_with(name)),
            "{host}"
        );
        assert!(
            article
                .outlet
                .is_some_and(|outlet| outlet.starts_with("Example ")),
            "{}",
            article.title
        );
    }
}

#[test]
fn dates_move_with_the_calendar_and_stand_still_within_a_day() {
    let morning = articles(at("2026-06-01T00:00:00Z")).expect("samples");
    let night = articles(at("2026-06-01T23:59:59Z")).expect("samples");
    assert_eq!(morning, night);
    assert_eq!(morning.articles[0].published_at, at("2026-05-31T23:30:00Z"));
    let oldest = morning.articles.last().expect("articles").published_at;
    assert!(oldest >= at("2026-05-30T00:00:00Z"), "{oldest}");
    let next = articles(at("2026-06-02T00:00:00Z")).expect("samples");
    assert_eq!(next.articles[0].published_at, at("2026-06-01T23:30:00Z"));
}

#[tokio::test]
async fn a_question_narrows_and_limits_the_samples() {
    let query = Query {
        category: Some(Category::Technology),
        articles_max: 5,
        purpose: Purpose::Live,
    };
    let batch = SampleSource
        .fetch(query, at("2026-06-01T09:30:00Z"))
        .await
        .expect("samples");
    assert_eq!(batch.articles.len(), 5);
    assert!(
        batch
            .articles
            .iter()
            .all(|article| article.categories == [Category::Technology])
    );
    assert!(SampleSource.is_sample());
}
