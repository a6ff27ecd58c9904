//! Requests of all kinds, and the ways to put them.

use super::shelf::{KEPT, NOT_KEPT};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use http_body_util::Empty;
use proptest::prelude::*;
use proptest::sample::select;

/// A request without content.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) target: String,
    /// The field line, or lines, that name the host.
    pub(super) host: &'static str,
    pub(super) lines: Vec<&'static [u8]>,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.head().escape_ascii())
    }
}

impl Ask {
    pub(super) fn get(target: &str) -> Self {
        Self {
            method: "GET",
            target: target.to_owned(),
            host: "Host: a",
            lines: Vec::new(),
        }
    }

    pub(super) fn with(mut self, lines: &[&'static [u8]]) -> Self {
        self.lines.extend(lines);
        self
    }

    /// As it goes the short way, if it can.
    pub(super) fn head(&self) -> Vec<u8> {
        self.head_with("")
    }

    /// The same as it never does.
    pub(super) fn general_head(&self) -> Vec<u8> {
        let says_length = self.lines.iter().any(|line| line.starts_with(b"Content-"));
        self.head_with(match says_length {
            true => "",
            false => "Content-Length: 0\r\n",
        })
    }

    fn head_with(&self, further: &str) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\n{}\r\n",
            self.method, self.target, self.host
        )
        .into_bytes();
        for line in &self.lines {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(further.as_bytes());
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The same for HTTP/2, if it can be said there: that has no connection fields, and names one host in another place.
    pub(super) fn http2(&self) -> Option<Request<Empty<Bytes>>> {
        let host = self.host.split_once(':')?.1.trim();
        let uri: Uri = format!("http://{host}{}", self.target).parse().ok()?;
        let same = uri.path_and_query()?.as_str() == self.target && uri.authority()? == host;
        let mut headers = HeaderMap::new();
        for line in &self.lines {
            let at = line.iter().position(|&byte| byte == b':')?;
            let name = HeaderName::from_bytes(&line[..at]).ok()?;
            let value = line[at + 1..].trim_ascii();
            if name == "connection" {
                match value.eq_ignore_ascii_case(b"keep-alive") {
                    true => continue,
                    false => return None,
                }
            }
            if [
                "upgrade",
                "te",
                "content-length",
                "transfer-encoding",
                "keep-alive",
            ]
            .contains(&name.as_str())
            {
                return None;
            }
            headers.append(name, HeaderValue::from_bytes(value).ok()?);
        }
        let mut request = Request::builder().method(self.method).uri(uri);
        *request.headers_mut()? = headers;
        request.body(Empty::new()).ok().filter(|_| same)
    }
}

const HOSTS: [&str; 9] = [
    "Host: a",
    "host:a",
    "HOST: \ta ",
    "Host: A",
    "Host: a:80",
    "Host: a:8000",
    "Host: A.Example",
    "Host: [::1]:81",
    "Host: a_b",
];
const BAD_HOSTS: [&str; 11] = [
    "Host:",
    "Host: a b",
    "Host: u@a",
    "Host: a/b",
    "Host: a:b",
    "Host: a:99999",
    "Host: [::1",
    "Host: a,b",
    "Host: \u{e4}",
    "Host: a\r\nHost: a",
    "X: y",
];

/// Targets spelt otherwise than a cache would: what goes behind those that can be asked for.
const QUERIES: [&str; 16] = [
    "?",
    "?a",
    "?a=1&b=2",
    "?b=2&a=1",
    "?a=1&&b=2",
    "?utm_source=x",
    "?a=%7e",
    "?a=%2F",
    "?a=%2f",
    "?a=+",
    "?a+b=1",
    "?q[]=1",
    "?a=1&a=0",
    "?a=%",
    "#x",
    "?a=1?2",
];
const TARGETS: [&str; 14] = [
    "/",
    "//",
    "//plain",
    "/./plain",
    "/x/../plain",
    "/%70lain",
    "/plain%2F",
    "/plain/",
    "/pl;ain",
    "/plain\\",
    "/\u{e4}",
    "plain",
    "http://a/plain",
    "*",
];

/// Those that a hit from memory may have.
const PLAIN_LINES: [&[u8]; 38] = [
    b"Accept: */*",
    b"User-Agent: x/1 (y; z)",
    b"Accept-Encoding: gzip",
    b"accept-encoding:  gzip,br ",
    b"Accept-Encoding: br, gzip",
    b"Accept-Encoding: GZIP;q=0.5, br;q=1.0",
    b"Accept-Encoding:",
    b"Accept-Encoding: gzip,,",
    b"Accept-Language: de, en;q=0.5",
    b"Accept-Language: EN;q=0.500,de",
    b"X-Flavour: \xff\"a, b\", c",
    b"X-Flavour: a,b",
    b"x-flavour: A",
    b"If-None-Match: \"a,b\"",
    b"If-None-Match: W/\"a,b\"",
    b"If-None-Match: \"a\", \"a,b\"",
    b"If-None-Match: \"w\"",
    b"If-None-Match: *",
    b"If-None-Match:",
    b"If-None-Match: \"a,b",
    b"If-Modified-Since: Tue, 15 Nov 1994 12:45:26 GMT",
    b"If-Modified-Since: Tue, 15 Nov 1994 12:45:25 GMT",
    b"If-Modified-Since: Tuesday, 15-Nov-94 12:45:26 GMT",
    b"If-Modified-Since: Fri, 01 Jan 2038 00:00:00 GMT",
    b"If-Modified-Since: yesterday",
    b"If-Modified-Since:",
    b"Cache-Control: max-age=2000000000, min-fresh=5",
    b"Cache-Control: only-if-cached",
    b"cache-control: no-store",
    b"Cache-Control: max-stale, ,x=\"a,no-cache\"",
    b"Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"X-Forwarded-Host: evil",
    b"Upgrade: h2c",
    b"TE: trailers",
    b"If-Range: \"a,b\"",
    b"X-Method-Override: DELETE",
    b"Proxy-Connection: close",
];
/// Those that decide more, or are doubtful.
const OTHER_LINES: [&[u8]; 30] = [
    b"Cookie: a=b",
    b"cookie: c=d",
    b"Authorization: Basic eDp5",
    b"X-Api-Key: k",
    b"Range: bytes=0-9",
    b"Range: bytes=0-9,20-29",
    b"Range: lines=1-2",
    b"If-Match: \"a,b\"",
    b"If-Unmodified-Since: Tue, 15 Nov 1994 12:45:26 GMT",
    b"Cache-Control: no-cache",
    b"Cache-Control: max-age=0",
    b"Cache-Control: max-age=\"0\"",
    b"Cache-Control: min-fresh=2000000001",
    b"Pragma: no-cache",
    b"Via: 1.1 other",
    b"Expect: 100-continue",
    b"Connection: Keep-Alive, x-flavour",
    b"Connection: close",
    b"Connection: TE",
    b"Connection:",
    b"Content-Length: 0",
    b"Content-Length: x",
    b"Content-Length: 0, 0",
    b"Transfer-Encoding: identity",
    b"X-Flavour : a",
    b" folded",
    b": nameless",
    b"nameless",
    b"X-Control: \x01",
    b"X-Bare: a\nX-Flavour: b",
];

/// Mostly what a hit may be asked for with, and then everything else.
pub(super) fn asks() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![6 => Just("GET"), 2 => Just("HEAD")];
    let kept = (
        select(&KEPT[..]),
        prop_oneof![6 => Just(""), 1 => select(&QUERIES[..])],
    );
    let target = prop_oneof![
        14 => kept.prop_map(|(path, query)| format!("{path}{query}")),
        2 => select(&NOT_KEPT[..]).prop_map(str::to_owned),
        1 => select(&TARGETS[..]).prop_map(str::to_owned),
    ];
    let host =
        prop_oneof![20 => Just(HOSTS[0]), 8 => select(&HOSTS[..]), 1 => select(&BAD_HOSTS[..])];
    let line = prop_oneof![15 => select(&PLAIN_LINES[..]), 1 => select(&OTHER_LINES[..])];
    let lines = proptest::collection::vec(line, 0..5);
    (method, target, host, lines).prop_map(|(method, target, host, lines)| Ask {
        method,
        target,
        host,
        lines,
    })
}

/// What must be answered at once when it is stored.
pub(super) fn plain() -> Vec<Ask> {
    let head = |ask: Ask| Ask {
        method: "HEAD",
        ..ask
    };
    let kept = KEPT.iter().map(|target| Ask::get(target));
    let kept: Vec<_> = kept.collect();
    let lines = PLAIN_LINES.iter();
    let with_line = lines.flat_map(|line| {
        [
            Ask::get("/plain").with(&[line]),
            Ask::get("/coded").with(&[line]),
        ]
    });
    let heads = kept.clone().into_iter().map(head);
    let named = ["Cookie: a=b", "Authorization: Basic eDp5"];
    let named = named.map(|line| Ask::get("/shared").with(&[line.as_bytes()]));
    kept.into_iter()
        .chain(heads)
        .chain(with_line)
        .chain(named)
        .collect()
}

/// What must not be.
pub(super) fn not_plain() -> Vec<Ask> {
    let named = |line: &'static [u8]| Ask::get("/plain").with(&[line]);
    let mut asks: Vec<_> = OTHER_LINES.into_iter().map(named).collect();
    asks.extend(NOT_KEPT.map(Ask::get));
    asks.extend(TARGETS.map(Ask::get).into_iter().filter(|ask| {
        !matches!(
            ask.target.as_str(),
            "/" | "//" | "//plain" | "/plain/" | "/pl;ain"
        )
    }));
    asks.extend(BAD_HOSTS.map(|host| Ask {
        host,
        ..Ask::get("/plain")
    }));
    asks
}
