//! Writes a request without content to a connection, and reads the first that is said to it.

use super::UpstreamRequest;
use crate::wire::spell;
use bytes::Bytes;
use pingora::protocols::Stream;
use pingora::{Error, ErrorType, OrErr};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// Room for one read.
const READ_BYTES: usize = 32 * 1024;
/// Room for the head of most requests.
const HEAD_BYTES_FIRST: usize = 1024;

thread_local! {
    /// What the connections of a thread share. Nothing stays in it.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Sends the request.
pub(super) async fn send(stream: &mut Stream, request: &UpstreamRequest) -> pingora::Result<()> {
    let head = head(request)?;
    let why = "while the request was written";
    stream
        .write_all(&head)
        .await
        .or_err(ErrorType::WriteError, why)?;
    stream.flush().await.or_err(ErrorType::WriteError, why)
}

/// What the upstream says first, as much as one read brings.
pub(super) async fn receive(stream: &mut Stream) -> pingora::Result<Bytes> {
    let read = poll_fn(|context| poll_receive(stream, context)).await;
    let read = read.or_err(ErrorType::ReadError, "before an answer came")?;
    if read.is_empty() {
        let why = "before an answer came";
        return Error::e_explain(ErrorType::ConnectionClosed, why);
    }
    Ok(read)
}

fn poll_receive(stream: &mut Stream, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    ROOM.with_borrow_mut(|room| {
        let mut room = ReadBuf::new(room);
        ready!(Pin::new(stream).poll_read(context, &mut room))?;
        Poll::Ready(Ok(Bytes::copy_from_slice(room.filled())))
    })
}

/// The request's head. Its target must be one word.
fn head(request: &UpstreamRequest) -> pingora::Result<Vec<u8>> {
    let target = request.target.as_bytes();
    if target.is_empty() || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Error::e_explain(ErrorType::InvalidHTTPHeader, "a target of several words");
    }
    let mut head = Vec::with_capacity(HEAD_BYTES_FIRST);
    for part in [request.method.as_str().as_bytes(), b" ", target] {
        head.extend_from_slice(part);
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &request.headers {
        spell(name.as_str().as_bytes(), &mut head);
        for part in [b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method};

    fn request(target: &str) -> UpstreamRequest {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("a"));
        headers.append("x-y", HeaderValue::from_static("1"));
        headers.append("x-y", HeaderValue::from_static(""));
        UpstreamRequest {
            method: Method::HEAD,
            target: target.to_owned(),
            headers,
        }
    }

    #[test]
    fn a_head_is_one_line_for_each_field_and_an_empty_one() {
        let head = head(&request("/a?b")).unwrap();
        let expected = "HEAD /a?b HTTP/1.1\r\nHost: a\r\nX-Y: 1\r\nX-Y: \r\n\r\n";
        assert_eq!(String::from_utf8(head).unwrap(), expected);
    }

    #[test]
    fn a_target_that_would_end_its_line_is_not_sent() {
        for target in ["", "/a b", "/a\r\n", "/\0", "/\t"] {
            assert!(head(&request(target)).is_err(), "{target:?}");
        }
    }
}
