//! Requests of all kinds, many of them on one connection before the first answer is read.

use super::ask::{Ask, asks};
use super::shelf;
use super::wire::{Answer, Reading, Wire};
use crate::support::proxy::{PATIENCE, Proxy};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::net::SocketAddr;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// One of several requests.
#[derive(Debug, Clone)]
enum Item {
    Short(Ask),
    General(Ask),
    Sized(usize),
    Chunked(usize),
}

impl Item {
    fn bytes(&self) -> Vec<u8> {
        let content =
            |bytes: usize| b"GET /x HTTP/1.1\r\n\r\n".repeat(bytes / 19 + 1)[..bytes].to_vec();
        match self {
            Self::Short(ask) => ask.head(),
            Self::General(ask) => ask.general_head(),
            Self::Sized(bytes) => {
                let head =
                    format!("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
                [head.into_bytes(), content(*bytes)].concat()
            }
            Self::Chunked(bytes) => {
                let head = "POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunk = [format!("{bytes:x}\r\n").into_bytes(), content(*bytes)].concat();
                [head.as_bytes(), &chunk, b"\r\n0\r\n\r\n"].concat()
            }
        }
    }

    fn is_head(&self) -> bool {
        matches!(self, Self::Short(ask) | Self::General(ask) if ask.method == "HEAD")
    }

    /// What it is answered on its own, once all that it needs is stored.
    async fn answer(&self, wire: &mut Wire) -> Answer {
        let bytes = match self {
            Self::Short(ask) | Self::General(ask) => {
                let get = Ask {
                    method: "GET",
                    ..ask.clone()
                };
                wire.ask(&get.general_head(), false).await;
                ask.general_head()
            }
            Self::Sized(_) | Self::Chunked(_) => self.bytes(),
        };
        wire.ask(&bytes, self.is_head()).await
    }
}

/// How a client sends and reads.
#[derive(Debug, Clone)]
struct Manner {
    /// The sizes of what it sends at once, over and over; all at once when there is none.
    pieces: Vec<usize>,
    /// How much it reads at once.
    bite: usize,
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        12 => asks().prop_map(Item::Short),
        2 => asks().prop_map(Item::General),
        1 => (1usize..9000).prop_map(Item::Sized),
        1 => (1usize..9000).prop_map(Item::Chunked),
    ];
    vec(item, 1..50)
}

fn manner() -> impl Strategy<Value = Manner> {
    let pieces = prop_oneof![Just(vec![]), vec(1usize..90, 1..9), vec(1usize..4000, 1..5)];
    (pieces, prop_oneof![Just(700), Just(30_000)])
        .prop_map(|(pieces, bite)| Manner { pieces, bite })
}

async fn send(mut writer: OwnedWriteHalf, bytes: Vec<u8>, pieces: Vec<usize>) -> OwnedWriteHalf {
    let (mut rest, mut turn) = (&bytes[..], pieces.iter().cycle());
    while !rest.is_empty() {
        let size = turn.next().map_or(rest.len(), |size| rest.len().min(*size));
        let (piece, after) = rest.split_at(size);
        writer.write_all(piece).await.unwrap();
        // The proxy gets a chance to see this piece alone.
        tokio::task::yield_now().await;
        rest = after;
    }
    writer
}

/// The answers to all of these, sent so.
async fn pipelined(proxy: SocketAddr, items: &[Item], manner: &Manner) -> Vec<Option<Answer>> {
    let socket = TcpSocket::new_v4().unwrap();
    // So little that answers wait in the proxy.
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (reader, writer) = stream.into_split();
    let last = Ask::get("/bare").with(&[b"Connection: close"]);
    let bytes = items.iter().flat_map(Item::bytes).chain(last.head());
    let bytes = bytes.collect();
    let sending = tokio::spawn(send(writer, bytes, manner.pieces.clone()));
    let mut reading = Reading::new(reader, manner.bite);
    let mut answers = Vec::new();
    for item in items {
        answers.push(reading.answer(item.is_head()).await);
    }
    let closes = reading
        .answer(false)
        .await
        .is_some_and(|last| last.closes());
    assert!(closes, "the last one comes last");
    assert_eq!(reading.answer(false).await, None, "more than was asked for");
    drop(
        timeout(PATIENCE, sending)
            .await
            .expect("all was read")
            .unwrap(),
    );
    answers
}

async fn difference(proxy: SocketAddr, items: &[Item], manner: &Manner) -> Option<String> {
    let began = Instant::now();
    let mut wire = Wire::new(proxy);
    let (mut kept, mut expected) = (Vec::new(), Vec::new());
    // What one of them forbids to be stored another one may have stored.
    for item in items {
        item.answer(&mut wire).await;
    }
    for item in items {
        let answer = item.answer(&mut wire).await;
        // Nothing is answered behind one that ends the connection.
        if !answer.closes() {
            kept.push(item.clone());
            expected.push(answer);
        }
    }
    let answers = pipelined(proxy, &kept, manner).await;
    let all = kept.iter().zip(&expected).zip(&answers).enumerate();
    all.into_iter()
        .find_map(|(number, ((item, expected), answer))| {
            let differs = match answer {
                Some(answer) => answer.difference(expected, began.elapsed())?,
                None => "the connection ended".to_owned(),
            };
            Some(format!("{number}: {item:?}: {differs}"))
        })
}

#[test]
fn pipelined_requests_of_all_kinds_get_their_answers_in_order_however_they_are_sent_and_read() {
    let runtime = Runtime::new().unwrap();
    let (proxy, _upstream) = runtime.block_on(async {
        let upstream = shelf::start().await;
        (Proxy::start(upstream.address, &[]).await, upstream)
    });
    let config = Config {
        cases: 25,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&(items(), manner()), |(items, manner)| {
        let difference = difference(proxy.clients, &items, &manner);
        let difference = runtime.block_on(difference);
        difference.map_or(Ok(()), |difference| Err(TestCaseError::fail(difference)))
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}
