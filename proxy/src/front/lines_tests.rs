use super::*;
use crate::front::head::{self, Body};
use crate::front::parse::Parsed;
use http::header;
use proptest::prelude::*;

fn read(head: &str) -> Option<(Method, String, String, usize)> {
    let mut places = Places::default();
    let head = Head::read(head.as_bytes(), &mut places)?;
    let (target, host) = (head.target.to_owned(), head.host.to_owned());
    Some((head.method, target, host, head.bytes))
}

#[test]
fn an_ordinary_head_is_read_up_to_its_end() {
    let head =
        "HEAD /a?b HTTP/1.1\r\nHost: a:1\r\nAccept:\t*/* \r\nX:\r\nConnection: Keep-Alive\r\n\r\n";
    let both = format!("{head}GET");
    let expected = (
        Method::HEAD,
        "/a?b".to_owned(),
        "a:1".to_owned(),
        head.len(),
    );
    assert_eq!(read(&both), Some(expected));
    let mut places = Places::default();
    let read = Head::read(both.as_bytes(), &mut places).unwrap();
    let accept: Vec<_> = read.lines.lines(&header::ACCEPT).collect();
    assert_eq!(accept, [b"*/*"]);
    let x = HeaderName::from_static("x");
    assert!(read.lines.has(&x) && !read.lines.has(&header::TE));
    assert_eq!(read.lines.lines(&x).next(), Some(&b""[..]));
}

#[test]
fn what_is_not_plain_is_left_to_others() {
    for head in [
        "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 123456789\u{7f}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r",
        "",
    ] {
        assert_eq!(read(head), None, "{head:?}");
    }
}

#[test]
fn a_control_among_eight_bytes_is_seen() {
    for byte in 0..=u8::MAX {
        for at in 0..8 {
            let mut eight = *b"abc\xff fgh";
            eight[at] = byte;
            let seen = has_control(u64::from_le_bytes(eight));
            assert!(seen || byte >= 0x20 && byte != 0x7f, "{byte} at {at}");
        }
    }
    assert!(!has_control(u64::from_le_bytes(*b"a b~!\x80xy")));
}

/// Pieces of heads, well and badly made.
fn piece() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "GET ",
        "HEAD ",
        "/",
        "/a?b=c",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "Host: a\r\n",
        "host:a:80\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Connection: keep-alive\r\n",
        "X-Long-Name: 0123456789\r\n",
        "X: \t y \r\n",
        ": x\r\n",
        "a b: c\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\u{0}",
        "é",
        "#",
        "\\",
        "Via: 1.1 a\r\n",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn what_is_taken_is_taken_by_the_whole_grammar_too_and_means_the_same(
        start in proptest::sample::select(vec!["GET / HTTP/1.1\r\nHost: a\r\n", "GET /", "HEAD /x HTTP/1.1\r\n", ""]),
        pieces in proptest::collection::vec(piece(), 0..8),
    ) {
        let text = format!("{start}{}", pieces.concat());
        let mut places = Places::default();
        let Some(read) = Head::read(text.as_bytes(), &mut places) else { return Ok(()) };
        prop_assert_eq!(head::end(text.as_bytes()), Some(read.bytes));
        // Which characters a target may hold is for the look-up to say.
        if http::Uri::try_from(read.target).is_ok() {
            prop_assert_eq!(head::check(&text.as_bytes()[..read.bytes]), Ok(Body::None));
        }
        let parsed = Parsed::new(&text.as_bytes()[..read.bytes]).unwrap();
        prop_assert!(parsed.persists());
        prop_assert_eq!((&parsed.method, &*parsed.target), (&read.method, read.target));
        prop_assert_eq!(parsed.headers.get(header::HOST).unwrap().as_bytes(), read.host.as_bytes());
        for name in parsed.headers.keys() {
            let whole: Vec<_> = parsed.headers.lines(name).collect();
            let short: Vec<_> = read.lines.lines(name).collect();
            prop_assert_eq!(whole, short);
        }
    }
}
