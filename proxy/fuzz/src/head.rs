//! The front's grammar: what it lets through means one thing to every reader.

use httparse::{EMPTY_HEADER, Header, Status};
use larder_proxy::front::grammar::{
    Fields, Framing, chunks_end, fields, framing, head_end, hopeless,
};

/// Bytes of a connection: a head, and what follows it.
pub fn head(data: &[u8]) {
    chunks(data);
    let Some(end) = head_end(data) else {
        hopeless(data);
        return;
    };
    let (head, rest) = data.split_at(end);
    let Some(framing) = framing(head) else { return };
    for cut in (0..head.len()).step_by(1 + head.len() / 64) {
        assert!(
            !hopeless(&head[..cut]),
            "given up early: {:?}",
            head.escape_ascii().to_string()
        );
    }
    let mut room = [EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut room);
    let parsed = request.parse(head);
    assert_eq!(
        parsed,
        Ok(Status::Complete(end)),
        "{:?}",
        head.escape_ascii().to_string()
    );
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    assert!(
        http::Method::from_bytes(method.as_bytes()).is_ok(),
        "{method:?}"
    );
    assert!(
        target == "*" || target.parse::<http::Uri>().is_ok(),
        "{target:?}"
    );
    one_framing(framing, request.headers, request.version == Some(0));
    if let Some(fields) = fields(head) {
        same_fields(&fields, method, target, request.headers);
    }
    if framing == Framing::Chunked {
        chunks(rest);
    }
}

fn named<'h>(headers: &'h [Header<'_>], name: &str) -> Vec<&'h [u8]> {
    let of_it = headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    of_it.map(|header| header.value).collect()
}

/// RFC 9112 §6.3, and §3.2 for the host.
fn one_framing(framing: Framing, headers: &[Header<'_>], http_1_0: bool) {
    let hosts = named(headers, "host").len();
    assert!(hosts == 1 || (hosts == 0 && http_1_0), "{hosts} hosts");
    let (lengths, codings) = (
        named(headers, "content-length"),
        named(headers, "transfer-encoding"),
    );
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => assert_eq!(framing, Framing::None),
        ([length], []) => {
            let length: u64 = std::str::from_utf8(length)
                .unwrap()
                .trim_matches([' ', '\t'])
                .parse()
                .unwrap();
            let expected = if length == 0 {
                Framing::None
            } else {
                Framing::Sized(length)
            };
            assert_eq!(framing, expected);
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked") && !http_1_0);
            assert_eq!(framing, Framing::Chunked);
        }
        _ => panic!("two framings were let through"),
    }
}

fn same_fields(fields: &Fields, method: &str, target: &str, headers: &[Header<'_>]) {
    assert_eq!(
        (fields.method.as_str(), fields.target.as_str()),
        (method, target)
    );
    assert_eq!(fields.headers.len(), headers.len());
    for name in fields.headers.keys() {
        let ours: Vec<_> = fields
            .headers
            .get_all(name)
            .iter()
            .map(http::HeaderValue::as_bytes)
            .collect();
        // httparse keeps blanks before the value's end that are tabs; they are no part of it (RFC 9110 §5.5).
        let theirs: Vec<_> = named(headers, name.as_str())
            .into_iter()
            .map(<[u8]>::trim_ascii)
            .collect();
        assert_eq!(ours, theirs, "{name}");
    }
}

/// The end is the same however the bytes are cut, whatever follows it, and for a laxer reader too.
fn chunks(data: &[u8]) {
    let whole = chunks_end(&[data]);
    let bytes: Vec<_> = data.chunks(1).collect();
    assert_eq!(chunks_end(&bytes), whole, "cut in bytes");
    let (before, after) = data.split_at(data.len() / 2);
    assert_eq!(chunks_end(&[before, after]), whole, "cut in halves");
    let Ok(Some(end)) = whole else { return };
    assert_eq!(chunks_end(&[data, b"0\r\n\r\n"]), whole, "with more behind");
    let mut at = 0;
    loop {
        let rest = &data[at..end];
        let Ok(Status::Complete((line, size))) = httparse::parse_chunk_size(rest) else {
            panic!("no chunk for others: {:?}", rest.escape_ascii().to_string())
        };
        at += line + usize::try_from(size).unwrap();
        if size == 0 {
            break;
        }
        assert_eq!(&data[at..at + 2], b"\r\n");
        at += 2;
    }
    let mut room = [EMPTY_HEADER; 2048];
    let trailers = httparse::parse_headers(&data[at..end], &mut room);
    assert!(
        matches!(trailers, Ok(Status::Complete((bytes, _))) if at + bytes == end),
        "other trailers: {:?}",
        data[at..end].escape_ascii().to_string()
    );
}
