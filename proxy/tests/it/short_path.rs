//! Hits that are answered where they are read, next to the same ones by the engine's general path and over HTTP/2: whoever asks
//! must not be able to tell which way it went.
//!
//! The general path is taken by whatever says `Content-Length: 0`: that is no content, so it changes no decision, but the short
//! grammar leaves it alone. The proxy counts what goes the short way.

mod ask;
mod pipeline;
mod shelf;
mod wire;

use crate::support::proxy::Proxy;
use ask::{Ask, asks, not_plain, plain};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::cell::RefCell;
use std::time::Instant;
use tokio::runtime::Runtime;
use wire::{Answer, Wire, Wire2};

/// The proxy, and connections to it.
struct Ways {
    proxy: Proxy,
    http1: Wire,
    http2: Wire2,
}

/// What came of asking each way.
struct Compared {
    answer: Answer,
    at_once: bool,
    difference: Option<String>,
}

impl Ways {
    async fn new(proxy: Proxy) -> Self {
        Self {
            http1: Wire::new(proxy.clients),
            http2: Wire2::connect(proxy.clients).await,
            proxy,
        }
    }

    /// How many hits have been answered at once.
    async fn at_once(&self) -> u64 {
        let metrics = self.proxy.admin(reqwest::Method::GET, "/metrics").await;
        let mut lines = metrics.body.lines();
        let number = lines.find_map(|line| line.strip_prefix("larder_hits_at_once_total "));
        number.unwrap().parse().unwrap()
    }

    /// Whatever can be kept has been asked for before, so that all ways find the same.
    async fn compare(&mut self, ask: &Ask) -> Compared {
        let head_only = ask.method == "HEAD";
        let get = Ask {
            method: "GET",
            ..ask.clone()
        };
        let general = ask.general_head();
        self.http1.ask(&get.general_head(), false).await;
        self.http1.ask(&general, head_only).await;
        let began = Instant::now();
        let before = self.at_once().await;
        // One behind the other on one connection: what is counted of the first is counted when the second is answered.
        let answer = self.http1.ask(&ask.head(), head_only).await;
        let generally = self.http1.ask(&general, head_only).await;
        let counted = self.at_once().await - before;
        assert!(
            counted <= 1,
            "{ask:?} was answered at once on the general path"
        );
        // What is no HTTP/1.1 may be sound in HTTP/2, and what is not is refused there by Pingora, in its own words.
        let over_http2 = match answer.field("x-cache") {
            Some("ERROR") => None,
            _ => self.http2.ask(ask).await,
        };
        let others = [("generally", Some(generally)), ("over HTTP/2", over_http2)];
        let within = began.elapsed();
        let difference = others.into_iter().find_map(|(way, other)| {
            let difference = answer.difference(&other?, within)?;
            Some(format!("{ask:?} {way}: {difference}"))
        });
        Compared {
            answer,
            at_once: counted == 1,
            difference,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_hit_is_answered_at_once_and_as_on_all_other_ways() {
    let upstream = shelf::start().await;
    let mut ways = Ways::new(Proxy::start(upstream.address, &[]).await).await;
    for ask in plain() {
        let compared = ways.compare(&ask).await;
        assert_eq!(compared.difference, None);
        assert_eq!(compared.answer.field("x-cache"), Some("HIT"), "{ask:?}");
        assert!(compared.at_once, "{ask:?} took the general path");
    }
    for ask in not_plain() {
        let compared = ways.compare(&ask).await;
        assert_eq!(compared.difference, None);
        assert!(!compared.at_once, "{ask:?} was answered at once");
    }
}

#[test]
fn what_is_asked_at_random_is_answered_the_same_on_all_ways() {
    let runtime = Runtime::new().unwrap();
    let ways = runtime.block_on(async {
        let upstream = shelf::start().await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        (Ways::new(proxy).await, upstream)
    });
    let (ways, _upstream) = (RefCell::new(ways.0), ways.1);
    let (asked, at_once) = (RefCell::new(0), RefCell::new(0));
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let ran = TestRunner::new(config).run(&asks(), |ask| {
        let compared = runtime.block_on(ways.borrow_mut().compare(&ask));
        *asked.borrow_mut() += 1;
        *at_once.borrow_mut() += u32::from(compared.at_once);
        compared
            .difference
            .map_or(Ok(()), |difference| Err(TestCaseError::fail(difference)))
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    let (asked, at_once) = (asked.into_inner(), at_once.into_inner());
    assert!(
        at_once * 2 > asked,
        "only {at_once} of {asked} went the short way"
    );
}
