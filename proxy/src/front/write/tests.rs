use super::*;
use crate::fill::{Budget, Fill};
use http::HeaderValue;
use larder_policy::Failure;

const PATIENCE: Duration = Duration::from_secs(5);

fn shared(chunks: &[&'static str], end: Result<(), Failure>) -> Body {
    let fill = Fill::new(1000, Budget::new(1000));
    let reader = fill.reader().unwrap();
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async {
            for chunk in chunks {
                fill.push(Bytes::from_static(chunk.as_bytes()))
                    .await
                    .unwrap();
            }
        });
    fill.finish(end);
    Body::Shared(reader)
}

/// What a client sees, and whether the response came to its end.
fn written(version: Version, length: Option<&'static str>, mut from: Body) -> (String, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut headers = HeaderMap::new();
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static(length));
    }
    let framing = framing(false, version, StatusCode::OK, &headers, &from);
    let mut stream = Vec::new();
    let whole = runtime.block_on(async {
        let mut out = Out::new(&mut stream, PATIENCE);
        head(&mut out, version, StatusCode::OK, &headers, framing, None);
        let whole = body(&mut out, &mut from, framing).await.is_ok();
        out.flush().await.unwrap();
        whole
    });
    (String::from_utf8(stream).unwrap(), whole)
}

#[test]
fn a_body_of_unknown_length_is_chunked_for_those_who_know_chunks() {
    let (text, whole) = written(
        Version::HTTP_11,
        None,
        shared(&["abc", "0123456789"], Ok(())),
    );
    assert!(whole);
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"
    );
    let (text, whole) = written(Version::HTTP_10, None, shared(&["abc"], Ok(())));
    assert!(whole);
    assert_eq!(text, "HTTP/1.0 200 OK\r\n\r\nabc");
}

#[test]
fn a_length_is_said_once_and_kept() {
    let (text, whole) = written(Version::HTTP_11, Some("3"), shared(&["a", "bc"], Ok(())));
    assert!(whole);
    assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
    for (length, chunks) in [("4", &["abc"][..]), ("2", &["abc"][..])] {
        let (_, whole) = written(Version::HTTP_11, Some(length), shared(chunks, Ok(())));
        assert!(!whole, "{length}");
    }
}

#[test]
fn a_body_that_breaks_off_has_no_end() {
    let broken = shared(&["abc"], Err(Failure::UpstreamBroken));
    let (text, whole) = written(Version::HTTP_11, None, broken);
    assert!(!whole);
    assert!(text.ends_with("3\r\nabc\r\n"), "{text}");
}

#[test]
fn responses_without_content_have_no_framing_of_ours() {
    let headers = HeaderMap::new();
    let body = Body::Whole(Bytes::from_static(b"abc"));
    for (head_only, status, expected) in [
        (false, StatusCode::OK, Framing::Sized(3)),
        (true, StatusCode::OK, Framing::None),
        (false, StatusCode::NO_CONTENT, Framing::None),
        (false, StatusCode::NOT_MODIFIED, Framing::None),
        (false, StatusCode::EARLY_HINTS, Framing::None),
    ] {
        let framing = framing(head_only, Version::HTTP_11, status, &headers, &body);
        assert_eq!(framing, expected, "{status}");
    }
}
