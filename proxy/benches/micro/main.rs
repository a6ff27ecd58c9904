//! What single steps of an answer cost, each next to another way to take it: `cargo bench -p larder-proxy`.
//!
//! Left out: what a whole request costs, and what it costs elsewhere, which `scripts/bench http` measures.

mod decode;
mod freshness;
mod key;
mod parse;

/// Heads as clients send them.
const HEADS: [(&str, &[u8]); 2] = [
    ("program", b"GET /articles?limit=20&page=3 HTTP/1.1\r\nHost: api.example.org\r\nUser-Agent: program/1.0\r\nAccept: */*\r\n\r\n"),
    ("browser", b"GET /articles?limit=20&page=3 HTTP/1.1\r\nHost: api.example.org\r\nConnection: keep-alive\r\nsec-ch-ua-platform: \"Linux\"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\nAccept: application/json, text/plain, */*\r\nsec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://api.example.org/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\r\n"),
];

fn head(name: &str) -> &'static [u8] {
    let mut heads = HEADS.iter();
    heads
        .find(|(known, _)| *known == name)
        .map_or(b"", |(_, head)| head)
}

const NAMES: [&str; 2] = [HEADS[0].0, HEADS[1].0];

fn main() {
    divan::main();
}
