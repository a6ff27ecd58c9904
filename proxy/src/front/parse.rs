//! A checked head as values. The grammar has been enforced by [`super::head`]; what is not body-less `GET` or `HEAD` is
//! left to others.

use super::head::lines;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

/// A body-less `GET` or `HEAD`.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) method: Method,
    /// As it came.
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
}

impl Parsed {
    /// From a checked head; none when it is somebody else's business.
    pub(super) fn new(head: &[u8]) -> Option<Self> {
        let mut lines = lines(head)?;
        let request_line = std::str::from_utf8(lines.next()?).ok()?;
        let mut words = request_line.split(' ');
        let method = match words.next()? {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            _ => return None,
        };
        let target = words.next()?.to_owned();
        let version = match words.next()? {
            "HTTP/1.1" => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_at_checked(line.iter().position(|&b| b == b':')?)?;
            let value = value.get(1..)?.trim_ascii();
            headers.append(
                HeaderName::from_bytes(name).ok()?,
                HeaderValue::from_bytes(value).ok()?,
            );
        }
        Some(Self {
            method,
            target,
            version,
            headers,
        })
    }

    /// Does the client want to send another request on this connection (RFC 9112 §9.3)?
    pub(super) fn persists(&self) -> bool {
        let says = |option: &str| {
            self.headers
                .get_all(header::CONNECTION)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','))
                .any(|said| said.trim().eq_ignore_ascii_case(option))
        };
        !says("close") && (self.version == Version::HTTP_11 || says("keep-alive"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Option<Parsed> {
        Parsed::new(head.as_bytes())
    }

    #[test]
    fn a_get_becomes_values_with_every_field_line_in_order() {
        let parsed =
            parsed("GET /a?b HTTP/1.1\r\nHost: a\r\nX: 1 \r\nx:\t2\r\nEmpty:\r\n\r\n").unwrap();
        assert_eq!((parsed.method, &*parsed.target), (Method::GET, "/a?b"));
        let x: Vec<_> = parsed.headers.get_all("x").iter().collect();
        assert_eq!(x, ["1", "2"]);
        assert_eq!(parsed.headers["empty"], "");
    }

    #[test]
    fn other_methods_are_left_to_others() {
        for method in ["POST", "get", "GETX", "OPTIONS"] {
            assert!(parsed(&format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).is_none());
        }
    }

    #[test]
    fn a_connection_persists_unless_the_client_says_otherwise() {
        for (version, fields, persists) in [
            ("1.1", "", true),
            ("1.1", "Connection: x, Close\r\n", false),
            (
                "1.1",
                "Connection: keep-alive\r\nConnection: close\r\n",
                false,
            ),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ] {
            let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
            assert_eq!(parsed(&head).unwrap().persists(), persists, "{head}");
        }
    }
}
