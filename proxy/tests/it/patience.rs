//! Nobody who waits for another's fetch is slower for it, and nobody's impatience makes a herd.

use crate::support::proxy::{PATIENCE, Proxy};
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use futures_util::future::join_all;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const KEPT: [(&str, &str); 1] = [("cache-control", "max-age=60")];

/// Answers at once, but for `/slow`: there the first so many requests hang until the gate opens.
async fn first_hang(count: usize, gate: Arc<Semaphore>) -> Upstream {
    let asked_slow = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Upstream::start(move |asked| {
        let (gate, asked_slow) = (gate.clone(), asked_slow.clone());
        async move {
            if asked.target != "/slow" {
                return respond(200, &KEPT, "quick");
            }
            let number = asked_slow.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
            if number <= count {
                drop(gate.acquire().await);
            }
            respond(200, &KEPT, number.to_string())
        }
    })
    .await
}

fn asked_slow(upstream: &Upstream) -> usize {
    let asked = upstream.asked();
    asked.iter().filter(|asked| asked.target == "/slow").count()
}

/// So many quick fetches that a slow one is out of the usual.
async fn with_history(proxy: &Proxy) {
    for number in 0..20 {
        assert_eq!(proxy.get(&format!("/{number}")).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_hangs_is_made_once_more_for_all_who_wait() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = first_hang(1, gate.clone()).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    with_history(&proxy).await;
    let began = Instant::now();
    let clients = join_all((0..100).map(|_| proxy.get("/slow")));
    let mut clients = Box::pin(clients);
    // The leader is answered by its own fetch alone, when the gate opens; all others are by the second one.
    let opens = async {
        until("the second fetch is stored", async || {
            let only = [("cache-control", "only-if-cached")];
            proxy.get_with("/slow", &only).await.status == 200
        })
        .await;
        gate.add_permits(1000);
    };
    let (answers, ()) = tokio::join!(&mut clients, opens);
    assert!(
        began.elapsed().as_secs() < 4,
        "the usual time is some milliseconds"
    );
    let of = |body: &str| answers.iter().filter(|answer| answer.body == body).count();
    assert_eq!((of("1"), of("2")), (1, 99));
    assert_eq!(asked_slow(&upstream), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_lose_their_patience_ask_seldom() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = first_hang(usize::MAX, gate.clone()).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    with_history(&proxy).await;
    let began = Instant::now();
    let clients = join_all((0..300).map(|_| proxy.get("/slow")));
    let opens = async {
        until("four fetches are under way", async || {
            asked_slow(&upstream) >= 4
        })
        .await;
        let (asked, elapsed) = (asked_slow(&upstream), began.elapsed());
        gate.add_permits(1000);
        (asked, elapsed)
    };
    let (answers, (asked, elapsed)) = timeout(PATIENCE, async { tokio::join!(clients, opens) })
        .await
        .expect("all are answered");
    assert!(answers.iter().all(|answer| answer.status == 200));
    // At 50, 150 and 350 ms at the earliest: each pause is twice the one before.
    assert!(elapsed.as_millis() >= 350, "{elapsed:?}");
    assert!(asked <= 5, "{asked} fetches");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_fetch_that_fails_does_not_take_the_first_one_s_answer_away() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let slow = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let upstream = Upstream::start(move |asked| {
        let (gate, slow) = (gate.clone(), slow.clone());
        async move {
            if asked.target != "/slow" {
                return respond(200, &KEPT, "quick");
            }
            if slow.fetch_add(1, std::sync::atomic::Ordering::SeqCst) > 0 {
                // No status line at all would do as well: its connection breaks.
                panic!("the second request's connection breaks, on purpose");
            }
            drop(gate.acquire().await);
            respond(200, &KEPT, "first")
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    with_history(&proxy).await;
    let clients = join_all((0..10).map(|_| proxy.get("/slow")));
    let opens = async {
        until(
            "a second fetch, or its retry, and another have failed",
            async || asked_slow(&upstream) >= 3,
        )
        .await;
        opened.add_permits(1000);
    };
    let (answers, ()) = tokio::join!(clients, opens);
    for answer in answers {
        assert_eq!((answer.status, answer.body.as_str()), (200, "first"));
    }
}
