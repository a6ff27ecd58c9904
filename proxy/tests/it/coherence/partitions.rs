//! A replica that is cut off: purges don't wait for it for longer than its lease, and it uses nothing old after that.

use super::*;
use crate::support::fault::Mode;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_asks_the_api_and_heeds_what_it_missed_when_it_is_back() {
    for mode in [
        Mode::Cut,
        Mode::BlackHole,
        Mode::Delay(Duration::from_secs(10)),
    ] {
        let three = Three::start_with(&[("redis_timeout", "50ms")]).await;
        three.fill(&TARGETS).await;
        // The list of replicas is as old as a lease by then, and so is known to be whole.
        three.purge_at_last(0, "tag=unused").await;
        three.links[2].set(mode);
        let new = three.api.change();
        let (status, answer) = three.purge(0, "prefix=/a/").await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(
            (&answer["replicas"], &answer["applied"]),
            (&3.into(), &2.into())
        );
        three.show(&["/a/1", "/a/2?x=1"], new).await;
        // What was not purged is not used unconfirmed either, for nobody can know.
        assert_eq!(version(&three.get(2, "/b/1").await), new);
        let (status, _) = three.purge(2, "all=true").await;
        assert_eq!(status, 503, "{mode:?}");
        three.links[2].set(Mode::Pass);
        three.show(&["/a/1", "/a/2?x=1"], new).await;
        three.follow().await;
        let answer = three.purge_at_last(2, "all=true").await;
        assert_eq!(answer["applied"], 3, "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_to_serve_on_says_what_is_unverified() {
    let three = Three::start_with(&[("on_partition", "serve")]).await;
    three.fill(&["/a/1"]).await;
    let range = [("host", "api.example"), ("range", "bytes=0-3")];
    let part = async || three.replicas[2].get_with("/part/1", &range).await;
    until("the part is stored", async || {
        part().await.result() == "HIT"
    })
    .await;
    three.purge_at_last(0, "tag=unused").await;
    three.links[2].set(Mode::Cut);
    let new = three.api.change();
    let (_, answer) = three.purge(0, "all=true").await;
    assert_eq!(
        (&answer["replicas"], &answer["applied"]),
        (&3.into(), &2.into())
    );
    for old in [three.get(2, "/a/1").await, part().await] {
        assert_eq!((old.result(), version(&old)), ("HIT", new - 1));
        assert!(
            old.field("cache-status").contains("detail=unverified"),
            "{old:?}"
        );
    }
    three.links[2].set(Mode::Pass);
    three.follow().await;
    three.show(&["/a/1"], new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_purges_than_are_read_at_once_are_all_heeded() {
    let three = Three::start().await;
    three.fill(&["/tagged/1", "/a/1"]).await;
    three.purge_at_last(0, "tag=unused").await;
    three.links[2].set(Mode::Cut);
    let new = three.api.change();
    // 700 don't divide what is read at once: some purges are cut in two.
    for turn in 0..16 {
        let tags = (0..700).map(|number| format!("tag=n{turn}-{number}"));
        let mut tags: Vec<_> = tags.collect();
        if turn == 7 {
            tags.push("tag=one".to_owned());
        }
        let (status, answer) = three.purge(0, &tags.join("&")).await;
        assert_eq!(status, 200, "{answer}");
    }
    three.links[2].set(Mode::Pass);
    three.follow().await;
    three.show(&["/tagged/1"], new).await;
    assert_eq!(version(&three.get(0, "/a/1").await), new - 1);
}
