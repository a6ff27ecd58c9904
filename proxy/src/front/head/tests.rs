use super::*;
use proptest::prelude::*;

fn checked(head: &str) -> Result<Body, Fault> {
    check(head.as_bytes())
}

#[test]
fn plain_heads_pass() {
    assert_eq!(checked("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(Body::None));
    assert_eq!(checked("GET / HTTP/1.0\r\n\r\n"), Ok(Body::None));
    assert_eq!(
        checked("GET HTTP://A:80/b HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        Ok(Body::None)
    );
    assert_eq!(
        checked("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        Ok(Body::None)
    );
    assert_eq!(
        checked("M-SEARCH / HTTP/1.1\r\nhost:a\r\nX: \t\u{e9} \r\n\r\n"),
        Ok(Body::None)
    );
    assert_eq!(
        checked("POST /a?b#c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"),
        Ok(Body::Sized(3))
    );
    assert_eq!(
        checked("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"),
        Ok(Body::None)
    );
    assert_eq!(
        checked("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"),
        Ok(Body::Chunked)
    );
}

#[test]
fn what_two_readers_could_understand_differently_is_refused() {
    for head in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /?a=\"b\" HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET /\r\nHost: a\r\n\r\n",
        "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET file:///etc HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "\r\n\r\n",
        "",
    ] {
        assert!(
            matches!(checked(head), Err(Fault::Malformed(_))),
            "{head:?} passed: {:?}",
            checked(head)
        );
    }
}

#[test]
fn limits_hold_exactly() {
    let target =
        |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(bytes - 1));
    assert_eq!(checked(&target(TARGET_BYTES_MAX)), Ok(Body::None));
    assert_eq!(
        checked(&target(TARGET_BYTES_MAX + 1)),
        Err(Fault::TargetTooLong)
    );
    let fields = |count: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(count - 1)
        )
    };
    assert_eq!(checked(&fields(FIELDS_MAX)), Ok(Body::None));
    assert_eq!(checked(&fields(FIELDS_MAX + 1)), Err(Fault::TooLarge));
    assert_eq!(
        checked("GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        Err(Fault::Version)
    );
    assert_eq!(
        checked("GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        Err(Fault::Version)
    );
}

#[test]
fn a_head_ends_behind_its_empty_line_and_blank_lines_before_it_are_skipped() {
    let mut buffer = BytesMut::from(&b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET"[..]);
    skip_blank_lines(&mut buffer);
    assert_eq!(end(&buffer), Some(buffer.len() - 3));
    assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
}

#[test]
fn what_can_never_become_a_head_is_known_early() {
    assert!(
        hopeless(b"\x16\x03\x01\x02\x00").is_some(),
        "a TLS client hello"
    );
    assert!(
        hopeless(b"GET / HTTP/1.1\nHost: a\n\n").is_some(),
        "bare line feeds"
    );
    assert!(hopeless(&[b'a'; 100]).is_some(), "an endless method");
    for beginning in [
        "",
        "\r",
        "G",
        "GET /lon",
        "GET / HTTP/1.1\r\nHos",
        "GET / HTTP/1.1\r",
    ] {
        assert_eq!(hopeless(beginning.as_bytes()), None, "{beginning:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = check(&bytes);
        let _ = hopeless(&bytes);
        let _ = end(&bytes);
    }

    #[test]
    fn a_head_that_passes_has_one_host_and_no_bare_line_ends(noise in "[ -~\r\n:]{0,60}") {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{noise}\r\n\r\n");
        if checked(&head).is_ok() {
            let bare = head.replace("\r\n", "").contains(['\r', '\n']);
            prop_assert!(!bare);
            let hosts = head.split("\r\n").filter(|line| line.to_ascii_lowercase().starts_with("host:")).count();
            prop_assert_eq!(hosts, 1);
        }
    }
}
