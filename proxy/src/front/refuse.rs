//! Answers a head that goes no further, and ends the connection so that the client gets to read the answer.

use super::head::Fault;
use crate::clock;
use crate::engine::own;
use crate::log::{Access, access};
use crate::metrics::Metrics;
use crate::problem;
use crate::trace::Told;
use http::{Method, StatusCode, Version};
use larder_policy::{Failure, Outcome};
use std::fmt::Write;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long, and how many bytes, a refused client may go on sending. Closing at once would reset the connection and with it the
/// answer that is still on its way (RFC 9112 §9.6).
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 256 * 1024;

pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    fault: Fault,
    metrics: &Metrics,
) {
    let outcome = Outcome::Error(Failure::BadRequest);
    metrics.observe_request(&outcome, Duration::ZERO);
    let (status, bytes) = answer(fault, &outcome);
    access(&Access {
        method: &Method::default(),
        target: "(not understood)",
        status: status.as_u16(),
        outcome: &outcome,
        bytes: 0,
        duration: Duration::ZERO,
        client: None,
        protocol: Version::HTTP_11,
        trace: Told::default(),
    });
    let write = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    if timeout(LINGER_MAX, write)
        .await
        .is_ok_and(|written| written.is_ok())
    {
        let _ = timeout(LINGER_MAX, linger(&mut stream)).await;
    }
}

/// Ends a connection that has been answered for the last time. A request that its client has sent behind, or is sending, would
/// reset it, and with it what of the answer is still on its way.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let shut = timeout(LINGER_MAX, stream.shutdown()).await;
    if shut.is_ok_and(|shut| shut.is_ok()) {
        let _ = timeout(LINGER_MAX, linger(&mut stream)).await;
    }
}

async fn linger<S: AsyncRead + Unpin>(stream: &mut S) {
    // Not in the future itself: every connection that waits would have room for it.
    let mut scrap = vec![0; 4096];
    let mut read = 0;
    while read < LINGER_BYTES_MAX {
        match stream.read(&mut scrap).await {
            Ok(bytes) if bytes > 0 => read += bytes,
            _ => return,
        }
    }
}

fn answer(fault: Fault, outcome: &Outcome) -> (StatusCode, Vec<u8>) {
    let (status, detail) = match fault {
        Fault::Malformed(detail) => (StatusCode::BAD_REQUEST, detail),
        Fault::Version => (
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "The version is not HTTP/1.0, HTTP/1.1 or HTTP/2.",
        ),
        Fault::Tunnel => (
            StatusCode::METHOD_NOT_ALLOWED,
            "This is no tunnel: CONNECT is not taken.",
        ),
        Fault::TargetTooLong => (
            StatusCode::URI_TOO_LONG,
            "The request-target is longer than 16 KiB.",
        ),
        Fault::TooLarge => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The head has more than 64 KiB or 200 fields.",
        ),
        Fault::TooSlow => (
            StatusCode::REQUEST_TIMEOUT,
            "The request's head did not arrive in time.",
        ),
    };
    let response = own(problem::problem(status, outcome, detail), *outcome);
    let date = httpdate::fmt_http_date(clock::now());
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!(
        "HTTP/1.1 {} {reason}\r\nDate: {date}\r\nConnection: close\r\n",
        status.as_u16()
    );
    if status == StatusCode::METHOD_NOT_ALLOWED {
        head.push_str("Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    }
    for (name, value) in &response.headers {
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if let crate::engine::Body::Whole(body) = response.body {
        bytes.extend_from_slice(&body);
    }
    (status, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_whole_response_that_closes() {
        let (status, bytes) = answer(
            Fault::Malformed("why"),
            &Outcome::Error(Failure::BadRequest),
        );
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(status, 400);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 400 Bad Request\r\n")
                && head.contains("\r\nConnection: close\r\n")
        );
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(body.contains("\"detail\":\"why\""));
    }
}
