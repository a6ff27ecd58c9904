//! The API breaks in every way it can while the proxy is under load: what can't be answered says so, and nothing that broke
//! off is ever taken for whole, then or later.

use crate::support::fault::{FaultProxy, Mode};
use crate::support::library::Library;
use crate::support::load::{Load, Mix, Report};
use crate::support::proxy::Proxy;
use crate::support::wait::until;
use std::time::Duration;

const CLIENTS: usize = 16;
/// Answers that make a phase.
const PHASE: usize = 300;

/// Load before, during and after these faults; every answer is right before and after, right or a failure meanwhile.
async fn survives(faults: &[Mode], upstream_read_timeout: &str) -> Report {
    let library = Library::start(Duration::from_millis(2)).await;
    let link = FaultProxy::before(library.address()).await;
    let settings = [("upstream_read_timeout", upstream_read_timeout)];
    let proxy = Proxy::start(link.address, &settings).await;
    let load = Load::start(&[proxy.clients], CLIENTS, Mix::All);
    load.answers(PHASE).await;
    load.let_fail(true);
    for fault in faults {
        link.set(*fault);
        load.answers(PHASE).await;
    }
    link.set(Mode::Pass);
    let mut number = 0;
    until("the API is asked again", async || {
        number += 1;
        proxy.get(&format!("/cold/after-{number}")).await.status == 200
    })
    .await;
    load.let_fail(false);
    load.answers(PHASE).await;
    let report = load.end().await;
    assert_eq!(
        report.wrong_count, 0,
        "of {}: {:#?}",
        report.answers, report.wrong
    );
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_whose_connections_are_cut_costs_failures_and_no_wrong_answer() {
    assert!(survives(&[Mode::Cut], "10s").await.failures > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_breaks_off_costs_failures_and_no_wrong_answer() {
    let faults = [5, 50, 150, 300, 1000, 40_000];
    let faults = faults.map(|reply_bytes| Mode::CutAfter { reply_bytes });
    assert!(survives(&faults, "10s").await.failures > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_behind_a_black_hole_costs_failures_and_no_wrong_answer() {
    assert!(survives(&[Mode::BlackHole], "2s").await.failures > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_slow_in_every_way_costs_no_answer() {
    let pause = Duration::from_millis(1);
    let faults = [
        Mode::Delay(Duration::from_millis(50)),
        Mode::Drip { bytes: 1000, pause },
    ];
    let report = survives(&faults, "20s").await;
    assert_eq!(report.failures, 0);
}
