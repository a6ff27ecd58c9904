use super::*;
use crate::upstream::replay::Replay;
use pingora::http::RequestHeader;
use pingora::protocols::http::v1::client::HttpSession;

const PLAIN: &str = "HTTP/1.1 200 OK\r\nDate: now\r\nX: 1 \r\nx:\t2\r\nConnection: keep-alive\r\n\
                     Keep-Alive: timeout=5\r\nContent-Length: 5\r\nEmpty:\r\n\r\nhello";

fn read(bytes: impl AsRef<[u8]>, method: &Method) -> Option<Whole> {
    Whole::read(&Bytes::copy_from_slice(bytes.as_ref()), method)
}

/// What Pingora makes of the same bytes, behind which nothing comes for now: the answer, and whether the connection is good
/// for another.
async fn by_pingora(bytes: &[u8], method: &Method) -> Option<(Whole, bool)> {
    let (ours, _theirs) = tokio::io::duplex(64);
    let replay = Replay::new(Box::new(ours), Bytes::copy_from_slice(bytes));
    let mut session = HttpSession::new(Box::new(replay));
    let head = RequestHeader::build(method.clone(), b"/", None).unwrap();
    session.write_request_header(Box::new(head)).await.ok()?;
    session.read_response().await.ok()?;
    let head = session.resp_header()?.clone();
    let mut content = Vec::new();
    // Asked first: what would have to be waited for never comes.
    while !session.is_body_done() {
        content.extend_from_slice(&session.read_body_bytes().await.ok()??);
        if content.len() > bytes.len() {
            return None;
        }
    }
    session.respect_keepalive();
    let reuse = session.reuse().await.and_then(Replay::undo);
    let whole = Whole {
        status: head.status,
        headers: head.headers.clone(),
        content: content.into(),
    };
    Some((whole, reuse.is_some()))
}

async fn agrees(bytes: &[u8], method: &Method) -> bool {
    let Some(taken) = read(bytes, method) else {
        return false;
    };
    let shown = String::from_utf8_lossy(bytes);
    let theirs = by_pingora(bytes, method).await;
    let (whole, reused) = theirs.unwrap_or_else(|| panic!("refused by Pingora: {shown:?}"));
    assert!(reused, "not for another request: {shown:?}");
    assert_eq!(taken.status, whole.status, "{shown:?}");
    assert_eq!(taken.headers, whole.headers, "{shown:?}");
    assert_eq!(taken.content, whole.content, "{shown:?}");
    true
}

#[test]
fn a_plain_answer_is_taken_with_every_field_line_in_order() {
    let whole = read(PLAIN, &Method::GET).unwrap();
    assert_eq!(whole.status, 200);
    let x: Vec<_> = whole.headers.get_all("x").iter().collect();
    assert_eq!(x, ["1", "2"]);
    assert_eq!(whole.headers["empty"], "");
    assert_eq!(whole.content, "hello");
}

#[test]
fn an_answer_without_content_ends_with_its_head_whatever_length_it_tells() {
    for (status, method) in [
        ("304 Not Modified", Method::GET),
        ("204 No Content", Method::GET),
        ("200 OK", Method::HEAD),
    ] {
        for length in ["", "Content-Length: 5\r\n"] {
            let head = format!("HTTP/1.1 {status}\r\n{length}\r\n");
            assert_eq!(read(&head, &method).unwrap().content, "", "{head}");
            assert!(read(format!("{head}hello"), &method).is_none(), "{head}");
        }
    }
    assert!(read("HTTP/1.1 200 OK\r\n\r\n", &Method::GET).is_none());
}

#[test]
fn whatever_is_rare_or_doubtful_is_left() {
    let answer = |line: &str, fields: &str| format!("{line}\r\n{fields}\r\nhello");
    let ok = "HTTP/1.1 200 OK";
    assert!(read(answer(ok, "Content-Length: 5\r\n"), &Method::GET).is_some());
    for fields in [
        "",
        "Content-Length: 4\r\n",
        "Content-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: 0000000005\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length : 5\r\n",
        "Content-Length: 5\r\n folded\r\n",
        "Content-Length: 5\n",
        "Content-Length: 5\r\nX: a\rb\r\n",
        "Content-Length: 5\r\nX: a\0b\r\n",
        "Content-Length: 5\r\nX\r\n",
        "Content-Length: 5\r\n: x\r\n",
        "Content-Length: 5\r\nConnection: close\r\n",
        "Content-Length: 5\r\nConnection: keep-alive, x\r\n",
        "Content-Length: 5\r\nConnection: keep-alive\r\nConnection: keep-alive\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: x\r\n",
        "Content-Length: 5\r\nTrailer: x\r\n",
        "Content-Length: 5\r\nUpgrade: x\r\n",
    ] {
        assert!(read(answer(ok, fields), &Method::GET).is_none(), "{fields}");
    }
    for line in [
        "HTTP/1.0 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 101 Switching Protocols",
        "HTTP/1.1 103 Early Hints",
        "HTTP/1.1 600 OK",
        "http/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
    ] {
        let answer = answer(line, "Content-Length: 5\r\n");
        assert!(read(answer, &Method::GET).is_none(), "{line}");
    }
    let many = "X: 1\r\n".repeat(FIELDS_MAX) + "Content-Length: 5\r\n";
    assert!(read(answer(ok, &many), &Method::GET).is_none());
}

#[tokio::test]
async fn what_is_taken_pingora_takes_for_the_same_whatever_one_byte_is_changed() {
    let odd = b"\0\t\n\r ,:;015Aa-\x7f\x80";
    for method in [Method::GET, Method::HEAD] {
        for answer in [
            PLAIN,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nA: b\r\n\r\n",
            "HTTP/1.1 404 \r\nContent-Length: 1\r\n\r\nx",
        ] {
            let (mut taken, mut left) = (0, 0);
            let mut judge = async |bytes: &[u8]| match agrees(bytes, &method).await {
                true => taken += 1,
                false => left += 1,
            };
            for at in 0..answer.len() {
                let mut bytes = answer.as_bytes().to_vec();
                bytes.remove(at);
                judge(&bytes).await;
                for byte in odd {
                    let mut bytes = answer.as_bytes().to_vec();
                    bytes[at] = *byte;
                    judge(&bytes).await;
                    bytes = answer.as_bytes().to_vec();
                    bytes.insert(at, *byte);
                    judge(&bytes).await;
                }
            }
            // With a HEAD, content is always too much.
            let may_be_taken = method == Method::GET || answer.ends_with("\r\n\r\n");
            assert!(left > 100, "{answer}");
            assert!((taken > 50) == may_be_taken, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_connection_on_which_more_was_said_than_was_asked_for_is_not_used_again() {
    let (ours, _theirs) = tokio::io::duplex(64);
    let replay = Replay::new(Box::new(ours), Bytes::from_static(b"unasked"));
    assert!(Replay::undo(Box::new(replay)).is_none());
    let bytes = format!("{PLAIN}HTTP/1.1 200 OK\r\n");
    assert!(read(&bytes, &Method::GET).is_none());
    let (whole, reused) = by_pingora(bytes.as_bytes(), &Method::GET).await.unwrap();
    assert_eq!(whole.content, "hello");
    assert!(!reused);
}
