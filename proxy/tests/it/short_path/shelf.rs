//! An API whose answers follow from what it was asked, and are of every kind that a cache may hold.

use crate::support::upstream::{Asked, Body, Upstream};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::{BodyExt, Full};

const CHANGED: &str = "Tue, 15 Nov 1994 12:45:26 GMT";
const DATE: &str = "Wed, 16 Nov 1994 08:49:37 GMT";
/// So that nothing ages out, nor is refreshed before its time, while a test looks.
const FRESH: (&str, &[u8]) = ("cache-control", b"max-age=2000000000");
const SHARED: (&str, &[u8]) = ("cache-control", b"public, max-age=2000000000");
const DATED: (&str, &[u8]) = ("date", DATE.as_bytes());
const TAG: (&str, &[u8]) = ("etag", b"\"a,b\"");
const WEAK: (&str, &[u8]) = ("etag", b"W/\"w\"");
const SINCE: (&str, &[u8]) = ("last-modified", CHANGED.as_bytes());

/// What can be asked for, and kept.
pub(super) const KEPT: [&str; 19] = [
    "/plain",
    "/weak",
    "/since",
    "/bare",
    "/shared",
    "/coded",
    "/spoken",
    "/203",
    "/301",
    "/404",
    "/410",
    "/aged",
    "/cached",
    "/names",
    "/empty",
    "/medium",
    "/large",
    "/odd-date",
    "/two-tags",
];
/// And what is not kept, or not without asking.
pub(super) const NOT_KEPT: [&str; 6] = [
    "/no-store",
    "/no-cache",
    "/cookie",
    "/204",
    "/private",
    "/any",
];

pub(super) async fn start() -> Upstream {
    Upstream::start_forgetful(async |asked: Asked| answer(&asked)).await
}

fn answer(asked: &Asked) -> Response<Body> {
    let path = asked.target.split('?').next().unwrap_or_default();
    let fields = fields(path);
    let mut response = Response::builder().status(status(path));
    for (name, value) in &fields {
        response = response.header(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    let body = Full::new(body(path, asked, &fields));
    response
        .body(body.map_err(|never| match never {}).boxed())
        .unwrap()
}

fn status(path: &str) -> u16 {
    path.get(1..4)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(200)
}

fn fields(path: &str) -> Vec<(&'static str, &'static [u8])> {
    match path {
        "/weak" => vec![DATED, FRESH, WEAK, SINCE],
        "/since" => vec![FRESH, DATED, SINCE],
        "/shared" => vec![SHARED, DATED, TAG, SINCE],
        "/coded" => vec![FRESH, DATED, TAG, ("vary", b"Accept-Encoding")],
        "/spoken" => vec![
            FRESH,
            DATED,
            ("vary", b"accept-language , X-Flavour"),
            ("vary", b"Cookie"),
        ],
        // No date: that is the server's to say, now.
        "/aged" => vec![FRESH, ("age", b"100"), TAG],
        "/cached" => vec![
            ("x-cache", b"HIT"),
            FRESH,
            ("cache-status", b"behind; hit; ttl=7"),
            DATED,
            ("cache-status", b"further; fwd=miss"),
            ("age", b"7"),
            TAG,
        ],
        "/names" => vec![
            FRESH,
            DATED,
            ("!#$%&'*+.^_`|~-", b"odd"),
            ("x-latin", b"caf\xe9 \xff\tx"),
            ("x-empty", b""),
            ("x-twice", b"1"),
            ("x-twice", b"2, 3"),
            ("link", b"</a>; rel=\"next\""),
            ("content-type", b"text/plain; charset=utf-8"),
            ("content-language", b"de"),
            ("content-location", b"/elsewhere"),
            ("cdn-cache-control", b"max-age=2000000000"),
            ("expires", b"0"),
            ("warning", b"214 - \"x\""),
            ("keep-alive", b"timeout=5"),
            ("connection", b"x-hop"),
            ("x-hop", b"1"),
        ],
        "/odd-date" => vec![FRESH, ("date", b"yesterday"), SINCE],
        "/two-tags" => vec![FRESH, DATED, TAG, ("etag", b"\"c\"")],
        "/no-store" => vec![("cache-control", b"no-store"), DATED],
        "/no-cache" => vec![("cache-control", b"no-cache"), DATED, TAG],
        "/private" => vec![("cache-control", b"private, max-age=60"), DATED, TAG],
        "/cookie" => vec![FRESH, DATED, ("set-cookie", b"a=b")],
        "/any" => vec![FRESH, DATED, ("vary", b"*")],
        "/bare" | "/empty" => vec![FRESH, DATED],
        "/301" => vec![FRESH, DATED, ("location", b"/plain")],
        _ => vec![FRESH, DATED, TAG, SINCE],
    }
}

/// Says what was asked for, so that nothing can be taken for another's.
fn body(path: &str, asked: &Asked, fields: &[(&str, &[u8])]) -> Bytes {
    if matches!(path, "/empty" | "/204") {
        return Bytes::new();
    }
    let host = asked.headers.get(header::HOST);
    let mut text = format!("{} of {host:?}", asked.target).into_bytes();
    for name in ["accept-encoding", "accept-language", "x-flavour", "cookie"] {
        if selects(fields, name) {
            text.extend(format!(" {name} {:?}", values(&asked.headers, name)).bytes());
        }
    }
    text.extend_from_slice(&asked.body);
    text.push(b'\n');
    let bytes = match path {
        "/medium" => 64 * 1024,
        "/large" => 1024 * 1024,
        _ => 1024,
    };
    Bytes::from(text.iter().copied().cycle().take(bytes).collect::<Vec<_>>())
}

fn selects(fields: &[(&str, &[u8])], name: &str) -> bool {
    fields.iter().any(|(field, value)| {
        let mut members = value.split(|&byte| byte == b',');
        *field == "vary"
            && members.any(|member| member.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Sorted and without blanks: the order and the spelling of the members are the client's, and one of them may stand for others.
fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase());
    let mut members: Vec<_> = values
        .flat_map(|value| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|member| member.split_whitespace().collect())
        .filter(|member: &String| !member.is_empty())
        .collect();
    members.sort();
    members.dedup();
    members
}
