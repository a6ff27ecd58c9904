//! Asks a running proxy something on its admin port, for containers that have neither a shell nor curl.
//!
//! One request on a plain socket of the standard library: no runtime to start for a health check that runs every few seconds.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A question for the admin port.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Where it listens.
    pub(super) admin: SocketAddr,
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    /// What it demands, if anything.
    pub(super) token: Option<&'a str>,
    pub(super) timeout: Duration,
}

/// More than is ever answered to these questions.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The body of the answer when that is a 200 in time, else what was wrong.
pub(super) fn ask(asked: &Asked<'_>) -> Result<String, String> {
    let address = reachable(asked.admin);
    let answer = exchange(address, asked)
        .map_err(|error| format!("no answer from the admin port at {address}: {error}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if head.starts_with("HTTP/1.") && status == "200" {
        Ok(body.trim_end().to_owned())
    } else {
        Err(refusal(address, head, body))
    }
}

/// What was answered instead of a 200, in words: those of the problem document when it is one.
fn refusal(address: SocketAddr, head: &str, body: &str) -> String {
    let line = head.lines().next().unwrap_or_default();
    let problem = serde_json::from_str::<serde_json::Value>(body).ok();
    let detail = problem
        .as_ref()
        .and_then(|problem| problem["detail"].as_str());
    let said = match (line.split_once(' '), detail) {
        (Some((_, status)), Some(detail)) => format!("{status}: {detail}"),
        _ => format!("{line} {}", body.trim_end()),
    };
    format!("the admin port at {address} answered {}", printable(&said))
}

/// Without what would move the cursor of a terminal or change its colours.
fn printable(text: &str) -> String {
    let shown = text.chars().map(|character| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    });
    shown.collect()
}

/// Where a listener on this address is reached from the same machine: 0.0.0.0 listens everywhere but is nowhere.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

fn exchange(address: SocketAddr, asked: &Asked<'_>) -> std::io::Result<Vec<u8>> {
    let timeout = asked.timeout;
    let end = Instant::now() + timeout;
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_write_timeout(Some(timeout))?;
    let (method, target) = (asked.method, asked.target);
    let token = asked
        .token
        .map(|token| format!("Authorization: Bearer {token}\r\n"));
    let token = token.unwrap_or_default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // The time left is set anew for each read: a peer that drips bytes doesn't stretch it.
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut chunk)?;
        answer.extend(chunk.iter().take(count));
        if count == 0 || answer.len() as u64 > ANSWER_BYTES_MAX {
            return Ok(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &str, body: &str) -> String {
        refusal("127.0.0.1:8002".parse().unwrap(), head, body)
    }

    #[test]
    fn a_problem_document_is_told_by_its_detail() {
        let body = r#"{"code":"bad-parameter","detail":"give \"url\" or tag","status":400,"title":"Bad Request"}"#;
        assert_eq!(
            told("HTTP/1.1 400 Bad Request\r\nServer: larder", body),
            "the admin port at 127.0.0.1:8002 answered 400 Bad Request: give \"url\" or tag"
        );
    }

    #[test]
    fn what_is_no_problem_document_is_told_as_it_came_but_for_control_characters() {
        for (head, body, words) in [
            (
                "HTTP/1.1 404 Not Found",
                "no \u{1b}[31m such\n",
                "HTTP/1.1 404 Not Found no \\u{1b}[31m such",
            ),
            (
                "HTTP/1.1 500 Oops",
                "{\"detail\":7}",
                "HTTP/1.1 500 Oops {\"detail\":7}",
            ),
            ("SSH-2.0-x", "", "SSH-2.0-x "),
            (
                "HTTP/1.1 401 No",
                "{\"detail\":\"a\u{9b}b\"}",
                "401 No: a\\u{9b}b",
            ),
        ] {
            let expected = format!("the admin port at 127.0.0.1:8002 answered {words}");
            assert_eq!(told(head, body), expected);
        }
    }
}
