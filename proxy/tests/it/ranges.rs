//! Parts of responses: cut out of what is stored, stored themselves, joined and completed.

use crate::support::proxy::{Got, Proxy};
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Asked, Body, Upstream, respond};
use crate::support::wait::until;
use futures_util::StreamExt;
use http::Response;
use reqwest::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TEXT: &str = "abcdefghijklmnopqrstuvwxyz";
const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// An upstream that knows single ranges of `text` and `If-Range`, as a file server does.
fn file(asked: &Asked, text: &str, fields: &[(&str, &str)]) -> Response<Body> {
    let field = |name: &str| {
        asked
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let validator = |name: &str| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| *value)
    };
    let unchanged = field("if-range").is_none_or(|condition| {
        [validator("etag"), validator("last-modified")].contains(&Some(condition))
    });
    let range = field("range").filter(|_| unchanged).and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let end = text.len() - 1;
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => Some((first, last.min(end))),
            (Ok(first), Err(_)) => Some((first, end)),
            (Err(_), Ok(count)) => Some((text.len() - count, end)),
            (Err(_), Err(_)) => None,
        }
    });
    let Some((first, last)) = range else {
        return respond(200, fields, text.to_owned());
    };
    let content_range = format!("bytes {first}-{last}/{}", text.len());
    let mut fields = fields.to_vec();
    fields.push(("content-range", &content_range));
    respond(206, &fields, text[first..=last].to_owned())
}

async fn files(fields: &'static [(&'static str, &'static str)]) -> Upstream {
    Upstream::start(async move |asked| file(&asked, TEXT, fields)).await
}

/// What the upstream was asked for, request by request.
fn ranges(upstream: &Upstream) -> Vec<Option<String>> {
    let range = |asked: &Asked| Some(asked.headers.get("range")?.to_str().unwrap().to_owned());
    upstream.asked().iter().map(range).collect()
}

async fn part(proxy: &Proxy, target: &str, range: &str) -> Got {
    proxy.get_with(target, &[("range", range)]).await
}

fn assert_part(got: &Got, result: &str, first: usize, last: usize) {
    assert_eq!((got.status, got.result()), (206, result), "{got:?}");
    assert_eq!(got.body, &TEXT[first..=last]);
    assert_eq!(
        got.field("content-range"),
        format!("bytes {first}-{last}/26")
    );
    assert_eq!(got.field("content-length"), (last + 1 - first).to_string());
}

fn assert_whole(got: &Got, result: &str) {
    assert_eq!(
        (got.status, got.result(), got.body.as_str()),
        (200, result, TEXT),
        "{got:?}"
    );
    assert_eq!(got.field("content-range"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_cut_out_of_a_whole_stored_response() {
    let upstream = files(&[
        FRESH,
        ("etag", "\"a\""),
        ("content-type", "text/plain"),
        ("x-own", "1"),
    ])
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_whole(&proxy.get("/a").await, "MISS");
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=3-5", 3, 5),
        ("bytes=20-", 20, 25),
        ("bytes=20-99", 20, 25),
        ("bytes=-2", 24, 25),
        ("bytes=-99", 0, 25),
        ("bytes=1-2,3-4", 1, 4),
    ] {
        let got = part(&proxy, "/a", range).await;
        assert_part(&got, "HIT", first, last);
        assert_eq!(
            (
                got.field("etag"),
                got.field("content-type"),
                got.field("x-own")
            ),
            ("\"a\"", "text/plain", "1")
        );
        assert!(got.field("cache-status").starts_with("larder; hit; ttl="));
        assert_ne!(got.field("age"), "");
    }
    for ignored in ["bytes=5-4", "items=0-1", "bytes=a-b", "bytes="] {
        assert_whole(&part(&proxy, "/a", ignored).await, "HIT");
    }
    let twice = [("range", "bytes=0-1"), ("range", "bytes=3-4")];
    assert_whole(&proxy.get_with("/a", &twice).await, "HIT");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_416_with_the_length() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    for range in ["bytes=26-", "bytes=26-30", "bytes=-0", "bytes=99-,100-"] {
        let got = part(&proxy, "/a", range).await;
        assert_eq!(
            (got.status, got.result(), got.body.as_str()),
            (416, "HIT", "")
        );
        assert_eq!(got.field("content-range"), "bytes */26");
        assert_eq!(got.field("etag"), "");
    }
    assert_part(&part(&proxy, "/a", "bytes=25-").await, "HIT", 25, 25);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_parts_come_as_multipart() {
    let upstream = files(&[FRESH, ("content-type", "text/plain")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    let got = part(&proxy, "/a", "bytes=0-1, -2, 10-12").await;
    assert_eq!(
        (got.status, got.result(), got.field("content-range")),
        (206, "HIT", "")
    );
    let boundary = got
        .field("content-type")
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a boundary");
    let delimiter = format!("\r\n--{boundary}");
    let (parts, end) = got.body.rsplit_once(&delimiter).expect("an end");
    assert_eq!(end, "--\r\n");
    let parts: Vec<_> = parts.split(&delimiter).skip(1).collect();
    let expected = [("0-1", "ab"), ("24-25", "yz"), ("10-12", "klm")];
    assert_eq!(parts.len(), expected.len());
    for (part, (place, octets)) in parts.iter().zip(expected) {
        let head =
            format!("\r\nContent-Type: text/plain\r\nContent-Range: bytes {place}/26\r\n\r\n");
        assert_eq!(part.strip_prefix(&head), Some(octets), "{part:?}");
    }
    assert_eq!(got.field("content-length"), got.body.len().to_string());
    let many: Vec<_> = (0..17)
        .map(|at| at.to_string())
        .map(|at| format!("{at}-{at}"))
        .collect();
    assert_whole(
        &part(&proxy, "/a", &format!("bytes={}", many.join(","))).await,
        "HIT",
    );
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_parts_that_would_be_a_large_copy_are_answered_by_the_whole() {
    let text = "0123456789abcdef".repeat(10_000);
    let length = text.len();
    let upstream = Upstream::start(move |_| {
        let text = text.clone();
        async move { respond(200, &[FRESH], text) }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    for (range, status) in [
        ("bytes=0-65535,70000-135535", 206),
        ("bytes=0-65535,70000-135536", 200),
        ("bytes=0-150000", 206),
    ] {
        let got = part(&proxy, "/a", range).await;
        assert_eq!((got.status, got.result()), (status, "HIT"), "{range}");
        if status == 200 {
            assert_eq!(got.body.len(), length);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_range_gives_the_part_of_the_same_representation_and_else_the_whole() {
    const DATED: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    let upstream = files(&[FRESH, ("etag", "\"a\""), ("last-modified", DATED)]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    let weak = Upstream::start(async |asked| {
        respond(
            200,
            &[FRESH, ("etag", "W/\"a\""), ("last-modified", DATED)],
            asked.target,
        )
    })
    .await;
    let before_weak = Proxy::start(weak.address, &[]).await;
    before_weak.get("/a").await;
    for (condition, holds) in [
        ("\"a\"", true),
        ("\"b\"", false),
        ("W/\"a\"", false),
        (DATED, true),
        ("Tue, 14 Nov 2023 22:13:21 GMT", false),
        ("Tue, 14 Nov 2023 22:13:19 GMT", false),
    ] {
        let got = proxy
            .get_with("/a", &[("range", "bytes=1-2"), ("if-range", condition)])
            .await;
        match holds {
            true => assert_part(&got, "HIT", 1, 2),
            false => assert_whole(&got, "HIT"),
        }
    }
    for tag in ["W/\"a\"", "\"a\""] {
        let got = before_weak
            .get_with("/a", &[("range", "bytes=1-1"), ("if-range", tag)])
            .await;
        assert_eq!((got.status, got.body.as_str()), (200, "/a"));
    }
    assert_whole(&proxy.get_with("/a", &[("if-range", "\"a\"")]).await, "HIT");
    assert_eq!((upstream.count(), weak.count()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_it_gets_304_whatever_part_it_asks_for() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for result in ["MISS", "HIT"] {
        for range in ["bytes=1-2", "bytes=99-"] {
            let target = if result == "MISS" { range } else { "bytes=1-2" };
            let target = format!("/{}", target.replace('=', "-"));
            if result == "HIT" {
                proxy.get(&target).await;
            }
            let fields = [("range", range), ("if-none-match", "\"a\"")];
            if result == "MISS" && range == "bytes=99-" {
                continue;
            }
            let got = proxy.get_with(&target, &fields).await;
            assert_eq!(
                (got.status, got.result(), got.body.as_str()),
                (304, result, "")
            );
        }
    }
    let changed = [("range", "bytes=1-2"), ("if-none-match", "\"b\"")];
    assert_part(&proxy.get_with("/bytes-1-2", &changed).await, "HIT", 1, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_no_ranges() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let range = [("range", "bytes=1-2")];
    let cold = proxy.send(Method::HEAD, "/a", &range, "").await;
    assert_eq!((cold.status, cold.field("content-range")), (200, ""));
    assert_eq!(ranges(&upstream), [None]);
    proxy.get("/a").await;
    let warm = proxy.send(Method::HEAD, "/a", &range, "").await;
    assert_eq!(
        (warm.status, warm.result(), warm.field("content-length")),
        (200, "HIT", "26")
    );
    // Nor is a part an answer to it.
    part(&proxy, "/b", "bytes=0-4").await;
    let above_part = proxy.send(Method::HEAD, "/b", &range, "").await;
    assert_eq!((above_part.status, above_part.result()), (200, "MISS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_from_the_upstream_answers_for_what_is_within_it() {
    let upstream = files(&[FRESH, ("x-own", "1")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let first = part(&proxy, "/a", "bytes=5-14").await;
    assert_part(&first, "MISS", 5, 14);
    assert_eq!(
        first.field("cache-status"),
        "larder; fwd=uri-miss; fwd-status=206; stored"
    );
    for (range, first, last) in [
        ("bytes=5-14", 5, 14),
        ("bytes=6-7", 6, 7),
        ("bytes=14-14", 14, 14),
    ] {
        let got = part(&proxy, "/a", range).await;
        assert_part(&got, "HIT", first, last);
        assert_eq!(got.field("x-own"), "1");
    }
    let several = part(&proxy, "/a", "bytes=5-6,9-10").await;
    assert_eq!((several.status, several.result()), (206, "HIT"));
    assert!(
        several.body.contains("bytes 9-10/26\r\n\r\njk\r\n"),
        "{several:?}"
    );
    assert_eq!(upstream.count(), 1);
    let outside = part(&proxy, "/a", "bytes=4-7").await;
    assert_part(&outside, "MISS", 4, 7);
    assert_eq!(
        outside.field("cache-status"),
        "larder; fwd=partial; fwd-status=206; stored"
    );
    assert_eq!(ranges(&upstream)[1].as_deref(), Some("bytes=4-7"));
    assert_part(&part(&proxy, "/b", "bytes=-5").await, "MISS", 21, 25);
    assert_part(&part(&proxy, "/b", "bytes=-2").await, "HIT", 24, 25);
    assert_part(&part(&proxy, "/b", "bytes=23-").await, "HIT", 23, 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_no_answer_to_a_request_for_the_whole() {
    // Without a validator nothing can be joined. The rest is asked for, but what comes of it is of no use: the whole is
    // fetched, and then kept.
    let upstream = files(&[FRESH]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-24").await;
    let only_if_cached = [("cache-control", "only-if-cached")];
    assert_eq!(proxy.get_with("/a", &only_if_cached).await.status, 504);
    let whole = proxy.get("/a").await;
    assert_whole(&whole, "MISS");
    assert_eq!(
        whole.field("cache-status"),
        "larder; fwd=partial; fwd-status=200; stored"
    );
    assert_whole(&proxy.get("/a").await, "HIT");
    let asked = [Some("bytes=0-24"), Some("bytes=25-"), None];
    assert_eq!(
        ranges(&upstream),
        asked.map(|range| range.map(str::to_owned))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_one_representation_grow_together_to_the_whole() {
    for fields in [
        &[FRESH, ("etag", "\"a\"")],
        &[FRESH, ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT")],
    ] {
        let upstream = files(fields).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        part(&proxy, "/a", "bytes=10-14").await;
        part(&proxy, "/a", "bytes=15-25").await;
        assert_part(&part(&proxy, "/a", "bytes=12-20").await, "HIT", 12, 20);
        part(&proxy, "/a", "bytes=0-11").await;
        assert_whole(&proxy.get("/a").await, "HIT");
        assert_part(&part(&proxy, "/a", "bytes=0-").await, "HIT", 0, 25);
        let head = proxy.send(Method::HEAD, "/a", &[], "").await;
        assert_eq!((head.status, head.field("content-length")), (200, "26"));
        assert_eq!(upstream.count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_for_joined_parts_is_what_their_fields_say_together() {
    // The second part's answer says nothing of freshness, so the first one's word holds on; the third forbids reuse.
    let upstream = Upstream::start(async |asked| {
        let fields: &[(&str, &str)] = match asked.headers["range"].to_str().unwrap() {
            "bytes=0-9" => &[FRESH, ("etag", "\"a\""), ("x-of", "first")],
            "bytes=10-19" => &[("etag", "\"a\""), ("x-of", "second")],
            _ => &[("etag", "\"a\""), ("cache-control", "no-cache")],
        };
        file(&asked, TEXT, fields)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-9").await;
    part(&proxy, "/a", "bytes=10-19").await;
    let both = part(&proxy, "/a", "bytes=8-12").await;
    assert_part(&both, "HIT", 8, 12);
    assert_eq!(
        (both.field("cache-control"), both.field("x-of")),
        ("max-age=60", "second")
    );
    part(&proxy, "/a", "bytes=18-22").await;
    assert_part(&part(&proxy, "/a", "bytes=8-12").await, "MISS", 8, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_without_a_strong_validator_in_common_stay_apart() {
    for fields in [&[FRESH, ("etag", "W/\"a\"")], &[FRESH, ("x-none", "")]] {
        let upstream = files(fields).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        part(&proxy, "/a", "bytes=0-14").await;
        part(&proxy, "/a", "bytes=15-25").await;
        // The later one is there, the whole is not.
        assert_part(&part(&proxy, "/a", "bytes=16-17").await, "HIT", 16, 17);
        assert_part(&part(&proxy, "/a", "bytes=14-15").await, "MISS", 14, 15);
        assert_whole(&proxy.get("/a").await, "MISS");
    }
    // Two versions of one length.
    let upstream = Upstream::start(async |asked| {
        let second = asked
            .headers
            .get("range")
            .is_some_and(|range| range == "bytes=15-25");
        let (tag, text) = if second {
            ("\"b\"", TEXT.to_uppercase())
        } else {
            ("\"a\"", TEXT.to_owned())
        };
        file(&asked, &text, &[FRESH, ("etag", tag)])
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-14").await;
    assert_eq!(part(&proxy, "/a", "bytes=15-25").await.body, "PQRSTUVWXYZ");
    assert_eq!(part(&proxy, "/a", "bytes=13-16").await.body, "nopq");
    assert_whole(&proxy.get("/a").await, "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_part_is_asked_for_and_the_whole_is_kept() {
    for (range, rest) in [("bytes=0-9", "bytes=10-"), ("bytes=-9", "bytes=0-16")] {
        let upstream = files(&[FRESH, ("etag", "\"a\""), ("content-type", "text/plain")]).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        part(&proxy, "/a", range).await;
        let whole = proxy.get("/a").await;
        assert_whole(&whole, "MISS");
        assert_eq!(
            whole.field("cache-status"),
            "larder; fwd=partial; fwd-status=206; stored"
        );
        assert_eq!(
            (whole.field("content-length"), whole.field("content-type")),
            ("26", "text/plain")
        );
        let asked = upstream.asked();
        assert_eq!(
            (&asked[1].headers["range"], &asked[1].headers["if-range"]),
            (&rest.parse().unwrap(), &"\"a\"".parse().unwrap())
        );
        assert_whole(&proxy.get("/a").await, "HIT");
        assert_eq!(upstream.count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_part_serves_nobody_and_is_completed_all_the_same() {
    let upstream = files(&[("cache-control", "max-age=0"), ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-9").await;
    assert_part(&part(&proxy, "/a", "bytes=0-9").await, "MISS", 0, 9);
    assert_whole(&proxy.get("/a").await, "MISS");
    assert_eq!(ranges(&upstream)[2].as_deref(), Some("bytes=10-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_representation_has_changed_the_new_one_is_taken_whole() {
    let changed = Arc::new(AtomicBool::new(false));
    let now = changed.clone();
    let upstream = Upstream::start(move |asked| {
        let changed = now.load(Ordering::SeqCst);
        async move {
            let (text, tag) = if changed {
                ("another text", "\"b\"")
            } else {
                (TEXT, "\"a\"")
            };
            file(&asked, text, &[FRESH, ("etag", tag)])
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-9").await;
    changed.store(true, Ordering::SeqCst);
    let whole = proxy.get("/a").await;
    assert_eq!(
        (whole.status, whole.body.as_str(), whole.field("etag")),
        (200, "another text", "\"b\"")
    );
    assert_eq!(proxy.get("/a").await.result(), "HIT");
    assert_eq!(part(&proxy, "/a", "bytes=0-6").await.body, "another");
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_does_not_fit_is_fetched_anew_as_a_whole() {
    // Each is an answer to the request for the rest.
    let wrong: [fn() -> Response<Body>; 5] = [
        || {
            respond(
                206,
                &[
                    FRESH,
                    ("etag", "\"b\""),
                    ("content-range", "bytes 10-25/26"),
                ],
                "KLMNOPQRSTUVWXYZ",
            )
        },
        || {
            respond(
                206,
                &[FRESH, ("content-range", "bytes 10-25/26")],
                &TEXT[10..],
            )
        },
        || {
            respond(
                206,
                &[
                    FRESH,
                    ("etag", "\"a\""),
                    ("content-range", "bytes 10-24/26"),
                ],
                &TEXT[10..25],
            )
        },
        || respond(416, &[("content-range", "bytes */5")], ""),
        || respond(400, &[], "what is If-Range?"),
    ];
    for (number, answer) in wrong.into_iter().enumerate() {
        let upstream = Upstream::start(move |asked| async move {
            match asked.headers.contains_key("if-range") {
                true => answer(),
                false => file(&asked, TEXT, &[FRESH, ("etag", "\"a\"")]),
            }
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        part(&proxy, "/a", "bytes=0-9").await;
        assert_whole(&proxy.get("/a").await, "MISS");
        assert_whole(&proxy.get("/a").await, "HIT");
        assert_eq!(upstream.count(), 3, "answer {number}");
        assert_eq!(ranges(&upstream)[2], None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_206_that_does_not_say_what_it_is_passes_and_is_never_stored() {
    let wrong: [&[(&str, &str)]; 6] = [
        &[FRESH, ("etag", "\"a\""), ("content-range", "bytes 0-5/26")],
        &[FRESH, ("etag", "\"a\""), ("content-range", "bytes 0-3/26")],
        &[FRESH, ("etag", "\"a\""), ("content-range", "bytes 0-4/*")],
        &[FRESH, ("etag", "\"a\""), ("content-range", "bytes 4-0/26")],
        &[
            FRESH,
            ("etag", "\"a\""),
            ("content-type", "multipart/byteranges; boundary=b"),
        ],
        &[FRESH, ("etag", "\"a\"")],
    ];
    for fields in wrong {
        let upstream = Upstream::start(async move |_| respond(206, fields, "abcde")).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        for _ in 0..2 {
            let got = part(&proxy, "/a", "bytes=0-4").await;
            assert_eq!(
                (got.status, got.result(), got.body.as_str()),
                (206, "MISS", "abcde")
            );
            assert_eq!(
                got.field("cache-status"),
                "larder; fwd=uri-miss; fwd-status=206; detail=partial",
                "{fields:?}"
            );
        }
        assert_eq!(upstream.count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_206_in_chunks_of_another_length_than_it_says_is_not_stored() {
    for (content_range, kept) in [
        ("bytes 0-4/26", true),
        ("bytes 0-5/26", false),
        ("bytes 0-3/26", false),
    ] {
        let upstream = Upstream::start(move |_| async move {
            let body = futures_util::stream::iter([Ok(hyper::body::Frame::data(
                bytes::Bytes::from_static(b"abcde"),
            ))]);
            let body = http_body_util::StreamBody::new(body);
            Response::builder()
                .status(206)
                .header("cache-control", "max-age=60")
                .header("content-range", content_range)
                .body(Body::new(body))
                .unwrap()
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        for _ in 0..2 {
            let got = part(&proxy, "/a", "bytes=0-4").await;
            assert_eq!((got.status, got.body.as_str()), (206, "abcde"));
        }
        assert_eq!(
            upstream.count(),
            if kept { 1 } else { 2 },
            "{content_range}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_206_that_nobody_asked_for_passes_to_its_client_alone() {
    let upstream = Upstream::start(async |_| {
        respond(
            206,
            &[FRESH, ("etag", "\"a\""), ("content-range", "bytes 0-4/26")],
            "abcde",
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for number in 1..3 {
        let got = proxy.get("/a").await;
        assert_eq!(
            (got.status, got.body.as_str(), upstream.count()),
            (206, "abcde", number)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_if_range_may_lack_fields_and_is_not_stored() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let resumed = [("range", "bytes=20-"), ("if-range", "\"a\"")];
    for number in 1..3 {
        assert_part(&proxy.get_with("/a", &resumed).await, "MISS", 20, 25);
        assert_eq!(upstream.count(), number);
        assert_eq!(upstream.asked()[number - 1].headers["if-range"], "\"a\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_knows_no_ranges_is_asked_once_and_its_whole_answer_cut() {
    let upstream = Upstream::start(async |_| respond(200, &[FRESH, ("etag", "\"a\"")], TEXT)).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let cut = part(&proxy, "/a", "bytes=3-5").await;
    assert_part(&cut, "MISS", 3, 5);
    assert_eq!(
        cut.field("cache-status"),
        "larder; fwd=uri-miss; fwd-status=200; stored"
    );
    until("the whole is stored", async || {
        proxy.get("/a").await.result() == "HIT"
    })
    .await;
    assert_part(&part(&proxy, "/a", "bytes=20-").await, "HIT", 20, 25);
    let nothing = part(&proxy, "/b", "bytes=26-").await;
    assert_eq!(
        (nothing.status, nothing.field("content-range")),
        (416, "bytes */26")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_whole_is_validated_whole_for_a_part_of_it() {
    let upstream =
        Upstream::start(
            async |asked| match asked.headers.contains_key("if-none-match") {
                true => respond(304, &[FRESH, ("etag", "\"a\"")], ""),
                false => respond(
                    200,
                    &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
                    TEXT,
                ),
            },
        )
        .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    assert_part(&part(&proxy, "/a", "bytes=3-5").await, "REVALIDATED", 3, 5);
    assert_eq!(ranges(&upstream), [None, None]);
    assert_part(&part(&proxy, "/a", "bytes=3-5").await, "HIT", 3, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_stale_whole_is_served_where_the_whole_may_be() {
    for (cache_control, detail) in [
        ("max-age=0, stale-if-error=60", "stale-if-error"),
        (
            "max-age=0, stale-while-revalidate=60",
            "stale-while-revalidate",
        ),
    ] {
        let upstream = Upstream::start(move |asked| async move {
            match asked.headers.contains_key("if-none-match") {
                true => respond(503, &[], "down"),
                false => respond(
                    200,
                    &[("cache-control", cache_control), ("etag", "\"a\"")],
                    TEXT,
                ),
            }
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        proxy.get("/a").await;
        let got = part(&proxy, "/a", "bytes=3-5").await;
        assert_part(&got, "STALE", 3, 5);
        assert!(got.field("cache-status").ends_with(detail), "{got:?}");
        let never = proxy
            .get_with(
                "/b",
                &[("range", "bytes=3-5"), ("cache-control", "only-if-cached")],
            )
            .await;
        assert_eq!(never.status, 504);
        assert!(ranges(&upstream).iter().all(Option::is_none));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_answers_only_requests_that_select_it() {
    let upstream = Upstream::start(async |asked| {
        let german = asked
            .headers
            .get("accept-language")
            .is_some_and(|language| language == "de");
        let text = if german {
            TEXT.to_uppercase()
        } else {
            TEXT.to_owned()
        };
        file(
            &asked,
            &text,
            &[FRESH, ("etag", "\"a\""), ("vary", "accept-language")],
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let ask = async |language: &str, range: &str| {
        let got = proxy
            .get_with("/a", &[("accept-language", language), ("range", range)])
            .await;
        (got.result().to_owned(), got.body)
    };
    let is = |result: &str, body: &str| (result.to_owned(), body.to_owned());
    assert_eq!(ask("de", "bytes=0-4").await, is("MISS", "ABCDE"));
    assert_eq!(ask("en", "bytes=0-4").await, is("MISS", "abcde"));
    assert_eq!(ask("de", "bytes=1-2").await, is("HIT", "BC"));
    assert_eq!(ask("en", "bytes=1-2").await, is("HIT", "bc"));
    // The rest is asked for in the language of the part.
    let whole = proxy.get_with("/a", &[("accept-language", "de")]).await;
    assert_eq!((whole.body, upstream.count()), (TEXT.to_uppercase(), 3));
    assert_eq!(upstream.asked()[2].headers["accept-language"], "de");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_stored_whole_is_not_stored_in_parts() {
    for directive in ["no-store", "private"] {
        let fields = [("cache-control", directive), ("etag", "\"a\"")];
        let upstream =
            Upstream::start(move |asked| async move { file(&asked, TEXT, &fields) }).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        for _ in 0..2 {
            assert_part(&part(&proxy, "/a", "bytes=0-4").await, "MISS", 0, 4);
        }
        assert_eq!(upstream.count(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_and_an_unsafe_request_take_parts_too() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-4").await;
    assert_eq!(proxy.purge(&proxy.url("/a")).await.status, 200);
    assert_part(&part(&proxy, "/a", "bytes=0-4").await, "MISS", 0, 4);
    proxy.send(Method::DELETE, "/a", &[], "").await;
    assert_part(&part(&proxy, "/a", "bytes=0-4").await, "MISS", 0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_part_neither_leads_nor_waits() {
    let (entered, release) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(tokio::sync::Notify::new()),
    );
    let (enter, wait) = (entered.clone(), release.clone());
    let upstream = Upstream::start(move |asked| {
        let (enter, wait) = (enter.clone(), wait.clone());
        async move {
            if asked
                .headers
                .get("range")
                .is_none_or(|range| range == "bytes=0-4")
            {
                enter.notify_one();
                wait.notified().await;
            }
            file(&asked, TEXT, &[FRESH, ("etag", "\"a\"")])
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    let get = |range: Option<&'static str>| {
        let proxy = proxy.clone();
        tokio::spawn(async move {
            match range {
                Some(range) => part(&proxy, "/a", range).await,
                None => proxy.get("/a").await,
            }
        })
    };
    let slow_part = get(Some("bytes=0-4"));
    entered.notified().await;
    let slow_whole = get(None);
    // The whole doesn't wait for the part's answer, and another part for neither.
    entered.notified().await;
    assert_part(&part(&proxy, "/a", "bytes=5-9").await, "MISS", 5, 9);
    release.notify_one();
    release.notify_one();
    until("both are answered", async || {
        release.notify_one();
        slow_part.is_finished() && slow_whole.is_finished()
    })
    .await;
    assert_part(&slow_part.await.unwrap(), "MISS", 0, 4);
    assert_whole(&slow_whole.await.unwrap(), "MISS");
    // Whichever came last, the whole stays.
    assert_whole(&proxy.get("/a").await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_for_the_whole_get_what_one_completes() {
    let release = Arc::new(tokio::sync::Notify::new());
    let wait = release.clone();
    let upstream = Upstream::start(move |asked| {
        let wait = wait.clone();
        async move {
            if asked.headers.contains_key("if-range") {
                wait.notified().await;
            }
            file(&asked, TEXT, &[FRESH, ("etag", "\"a\"")])
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    part(&proxy, "/a", "bytes=0-4").await;
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.get("/a").await })
        })
        .collect();
    until("the rest is asked for", async || upstream.count() == 2).await;
    release.notify_one();
    for client in clients {
        let got = client.await.unwrap();
        assert_eq!((got.status, got.body.as_str()), (200, TEXT));
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_that_breaks_off_breaks_the_answer_and_leaves_the_part() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let release = Arc::new(tokio::sync::Notify::new());
    let released = release.clone();
    let upstream = Upstream::start(move |asked| {
        let breaks = is_broken.load(Ordering::SeqCst) && asked.headers.contains_key("if-range");
        let wait = released.clone();
        async move {
            if !breaks {
                return file(&asked, TEXT, &[FRESH, ("etag", "\"a\"")]);
            }
            // The head must be on its way before the body breaks.
            let chunks = futures_util::stream::iter([Ok(hyper::body::Frame::data(
                bytes::Bytes::from_static(b"klm"),
            ))]);
            let end = futures_util::stream::once(async move {
                wait.notified().await;
                Err(std::io::Error::other("gone"))
            });
            let body = http_body_util::StreamBody::new(chunks.chain(end));
            Response::builder()
                .status(206)
                .header("etag", "\"a\"")
                .header("cache-control", "max-age=60")
                .header("content-range", "bytes 10-25/26")
                .body(Body::new(body))
                .unwrap()
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    part(&proxy, "/a", "bytes=0-9").await;
    let answer = proxy.http.get(proxy.url("/a")).send().await.unwrap();
    release.notify_one();
    let body = answer.bytes().await;
    assert!(body.is_err(), "{body:?}");
    assert_part(&part(&proxy, "/a", "bytes=0-9").await, "HIT", 0, 9);
    broken.store(false, Ordering::SeqCst);
    assert_whole(&proxy.get("/a").await, "MISS");
    assert_whole(&proxy.get("/a").await, "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_an_object_may_be_streams_through_and_its_parts_are_kept() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let proxy = Proxy::start(upstream.address, &[("object_max", "20B")]).await;
    part(&proxy, "/a", "bytes=0-9").await;
    assert_part(&part(&proxy, "/a", "bytes=0-9").await, "HIT", 0, 9);
    // Too much for one object: the newer part is kept, for itself.
    part(&proxy, "/a", "bytes=10-24").await;
    assert_part(&part(&proxy, "/a", "bytes=12-24").await, "HIT", 12, 24);
    let large = part(&proxy, "/a", "bytes=0-24").await;
    assert_part(&large, "MISS", 0, 24);
    assert!(
        large.field("cache-status").ends_with("detail=too-large"),
        "{large:?}"
    );
    assert_whole(&proxy.get("/a").await, "MISS");
    assert!(ranges(&upstream).last().unwrap().is_none());
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn range(&mut self, length: usize) -> (String, usize, usize) {
        let (a, b, end) = (self.below(length), self.below(length), length - 1);
        match self.below(3) {
            0 => (
                format!("bytes={}-{}", a.min(b), a.max(b)),
                a.min(b),
                a.max(b),
            ),
            1 => (format!("bytes={a}-"), a, end),
            _ => (format!("bytes=-{}", b + 1), end - b, end),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_stored_in_between_each_answer_has_the_octets_that_were_asked_for() {
    // Every path has a text of its own, some of them validators.
    let text = |target: &str| {
        TEXT.bytes()
            .cycle()
            .take(97)
            .map(|c| c ^ target.as_bytes()[1] & 1)
            .map(char::from)
            .collect::<String>()
    };
    let upstream = Upstream::start(move |asked| async move {
        let fields: &[(&str, &str)] = match asked.target.as_bytes()[1] {
            b'a' | b'b' => &[FRESH, ("etag", "\"a\"")],
            b'c' => &[FRESH, ("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT")],
            b'd' => &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
            _ => &[FRESH],
        };
        file(&asked, &text(&asked.target), fields)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut dice = Dice(1);
    let mut hits = 0;
    for _ in 0..400 {
        let target = format!("/{}", ["a", "b", "c", "d", "e"][dice.below(5)]);
        let text = text(&target);
        let got = match dice.below(20) {
            0 => {
                proxy.purge(&proxy.url(&target)).await;
                continue;
            }
            1 => {
                let got = proxy.get(&target).await;
                assert_eq!((got.status, &got.body), (200, &text), "{got:?}");
                got
            }
            _ => {
                let (range, first, last) = dice.range(text.len());
                let got = part(&proxy, &target, &range).await;
                assert_eq!(
                    (got.status, got.body.as_str()),
                    (206, &text[first..=last]),
                    "{range}: {got:?}"
                );
                assert_eq!(
                    got.field("content-range"),
                    format!("bytes {first}-{last}/97")
                );
                got
            }
        };
        hits += usize::from(got.result() == "HIT");
    }
    assert!(hits > 100, "{hits} of 400 were hits");
}

async fn with_redis(upstream: &Upstream, redis: &PrivateRedis) -> Proxy {
    let url = redis.url();
    // A busy machine may take longer than the usual 50 ms.
    let settings = [("redis", url.as_str()), ("redis_timeout", "5s")];
    let proxy = Proxy::start(upstream.address, &settings).await;
    until("the proxy has Redis", async || proxy.uses_redis().await).await;
    proxy
}

/// Waits until the only URL's responses have been written to Redis again; tells when that was, in Redis's own words.
async fn written(redis: &PrivateRedis, before: &str) -> String {
    let mut last = String::new();
    until("the response is in Redis", async || {
        if let [key] = redis.stored_keys().as_slice() {
            last = redis.ask(redis::cmd("HGET").arg(key).arg("t"));
        }
        !last.is_empty() && last != before
    })
    .await;
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_whole_and_its_parts_by_redis() {
    let upstream = files(&[FRESH, ("etag", "\"a\"")]).await;
    let redis = PrivateRedis::start().await;
    let (one, two) = (
        with_redis(&upstream, &redis).await,
        with_redis(&upstream, &redis).await,
    );
    let host = ("host", "api.example");
    let ask =
        async |proxy: &Proxy, range: &str| proxy.get_with("/a", &[host, ("range", range)]).await;
    ask(&one, "bytes=0-9").await;
    let first = written(&redis, "").await;
    assert_part(&ask(&two, "bytes=3-9").await, "HIT", 3, 9);
    assert_eq!(upstream.count(), 1);
    // The part is no answer to who wants the whole, in the other process either: it asks for the rest.
    assert_whole(&two.get_with("/a", &[host]).await, "MISS");
    assert_eq!(ranges(&upstream)[1].as_deref(), Some("bytes=10-"));
    written(&redis, &first).await;
    assert_whole(&one.get_with("/a", &[host]).await, "HIT");
    let three = with_redis(&upstream, &redis).await;
    assert_part(&ask(&three, "bytes=20-").await, "HIT", 20, 25);
    assert_eq!(ask(&three, "bytes=26-").await.status, 416);
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_may_be_about_the_range_is_no_answer_to_anybody_else() {
    for (profile, status) in [("safe", 416), ("safe", 403), ("rfc", 400), ("rfc", 500)] {
        let upstream = Upstream::start(move |asked| async move {
            match asked.headers.contains_key("range") {
                true => respond(status, &[FRESH, ("content-range", "bytes */26")], "error"),
                false => respond(200, &[FRESH], TEXT),
            }
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[("profile", profile)]).await;
        assert_eq!(part(&proxy, "/a", "bytes=99-").await.status, status);
        assert_whole(&proxy.get("/a").await, "MISS");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_place_of_the_rest_is_not_kept_as_the_whole() {
    let upstream = Upstream::start(async |asked| {
        let fields = [FRESH, ("etag", "\"a\"")];
        match asked.headers.contains_key("if-range") {
            true => respond(500, &[FRESH], "error"),
            false => file(&asked, TEXT, &fields),
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[("profile", "rfc")]).await;
    assert_part(&part(&proxy, "/a", "bytes=0-9").await, "MISS", 0, 9);
    assert_eq!(proxy.get("/a").await.status, 500);
    assert_part(&part(&proxy, "/a", "bytes=3-9").await, "HIT", 3, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_response_that_was_purged_keeps_no_part_out() {
    let upstream = files(&[FRESH, ("etag", "\"a\""), ("cache-tag", "x")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    let purged = proxy.admin(Method::POST, "/purge?tag=x").await;
    assert_eq!(purged.status, 200);
    assert_part(&part(&proxy, "/a", "bytes=0-4").await, "MISS", 0, 4);
    assert_part(&part(&proxy, "/a", "bytes=0-4").await, "HIT", 0, 4);
}
