//! Follows the log of purges in Redis, and makes purges in it.
//!
//! One task renews this process's lease several times in its length, and at once when a purge is announced: each time it
//! says how far it has come and takes in what is new. What is held may be trusted for the length of the lease from before
//! the question was sent, so never longer than those who wait for us believe. A purge is done when every replica that was
//! there has applied it or has lost its lease. Left out: what a purge covers, see [`crate::store::log`].

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use larder_policy::CacheKey;
use redis::Value;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::follow::Note;
use super::link::{Fault, Lane, Link};
use super::pending::Pending;
use super::purges::{Deed, Followed, Following, Mark, channel, keys, records_max};
use super::script::KnownScript;
use super::{PurgeError, is_of_unknown_script};
use crate::clock;
use crate::store::Removals;
use crate::store::counters::{RedisCounters, RedisError};
use crate::store::log::{Lease, Log, Record, Stamp, random_epoch, unix_us};
use crate::store::seal::Seal;

/// A question that takes longer is asked anew.
const ANSWER_MAX: Duration = Duration::from_millis(500);
/// Purges read at once: some megabytes at most, if their names are long.
const RECORDS_AT_ONCE: usize = 5_000;
/// Names of earlier logs that are remembered. Somebody may change them on purpose, but not faster than they are followed.
const LEFT_MAX: usize = 4096;
/// How often in a row the log may turn out to be another one while a purge is written to it.
const EPOCHS_MAX: usize = 4;
/// How often a purge looks whether the replicas have it: at first,
const LOOK_MIN: Duration = Duration::from_millis(2);
/// and later.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// What a message begins with that names a removed URL, behind the name of who removed it. A purge is announced by its number.
const REMOVED: &[u8] = b"-";
/// Length of a process's name.
const ID_BYTES: usize = 16;
/// Longer keys are seldom, and a message of that length to every replica costs more than the copies that stay.
const REMOVED_KEY_BYTES_MAX: usize = 16 * 1024;

/// Who removed which key, when a message says that.
fn removed(said: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = said.strip_prefix(REMOVED)?;
    rest.split_at_checked(ID_BYTES)
}

/// What a purge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Its number.
    pub sequence: u64,
    /// Replicas that followed the log when it was made.
    pub replicas: usize,
    /// Those that have applied it. The others have lost their leases and serve nothing that they held.
    pub applied: usize,
}

/// The follower of one log.
#[derive(Debug)]
pub(super) struct Follower {
    seal: Seal,
    link: Arc<Link>,
    counters: Arc<RedisCounters>,
    log: Arc<Log>,
    removals: Removals,
    lease: Lease,
    /// This process's name in the log.
    id: String,
    keys: [String; 4],
    channel: String,
    /// By deed: marked as one that a full server must run, and unmarked for servers that don't know the mark.
    scripts: [[KnownScript; 2]; 3],
    unmarked: AtomicBool,
    /// The operator knows that somebody else writes to the log.
    told: AtomicBool,
    /// Names of logs that were followed and have given way to others. Their purges are forgotten, so they must not come back.
    left: Mutex<VecDeque<u64>>,
    /// What of this is in the log has a number there, and the rest is held against everything.
    pending: Mutex<Pending>,
    /// Something was announced.
    news: Notify,
    /// Whether the log has been followed up to its end at least once.
    settled: watch::Sender<bool>,
}

impl Follower {
    pub(super) fn new(
        namespace: &str,
        seal: Seal,
        link: Arc<Link>,
        counters: Arc<RedisCounters>,
        log: Arc<Log>,
        removals: Removals,
        lease: Lease,
    ) -> Arc<Self> {
        let id = RandomState::new().hash_one(0_u8);
        Arc::new(Self {
            seal,
            link,
            counters,
            log,
            removals,
            lease,
            id: format!("{id:016x}"),
            keys: keys(namespace),
            channel: channel(namespace),
            scripts: Deed::ALL.map(|deed| {
                [Mark::AllowOom, Mark::None].map(|mark| KnownScript::new(deed.text(mark)))
            }),
            unmarked: AtomicBool::new(false),
            told: AtomicBool::new(false),
            left: Mutex::default(),
            pending: Mutex::default(),
            news: Notify::new(),
            settled: watch::Sender::new(false),
        })
    }

    /// Follows for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut announced = self.link.follow(self.channel.clone());
        loop {
            match self.follow_once().await {
                Ok(true) => {}
                Ok(false) => {
                    self.settled.send_replace(true);
                    self.wait(&mut announced).await;
                }
                Err(_) => sleep(ANSWER_MAX / 10).await,
            }
        }
    }

    /// Returns when a purge may have been made, or when it is time to renew the lease.
    async fn wait(&self, announced: &mut Receiver<Note>) {
        let said = async {
            while let Some(note) = announced.recv().await {
                if self.heed(&note) {
                    return;
                }
            }
            // The link has been stopped; the lease is renewed as long as it can be.
            std::future::pending().await
        };
        let news = async {
            tokio::select! {
                () = self.news.notified() => {}
                () = said => {}
            }
        };
        let _ = timeout(self.lease.renewal(), news).await;
        while let Ok(note) = announced.try_recv() {
            self.heed(&note);
        }
    }

    /// True when a purge may have been made.
    fn heed(&self, note: &Note) -> bool {
        let Note::Message(said) = note else {
            return true;
        };
        let Some((by, key)) = removed(said) else {
            return true;
        };
        if by != self.id.as_bytes() {
            self.removals.remove(&CacheKey::from_bytes(Arc::from(key)));
        }
        false
    }

    /// Tells the other replicas that a URL was removed. Those who don't hear it keep what they have until it expires.
    pub(super) async fn announce_removal(&self, key: &CacheKey, end: Instant) {
        if key.as_bytes().len() > REMOVED_KEY_BYTES_MAX {
            return;
        }
        let said = [REMOVED, self.id.as_bytes(), key.as_bytes()].concat();
        let mut cmd = redis::cmd("PUBLISH");
        cmd.arg(&self.channel).arg(said);
        let _ = self.link.ask(Lane::Writes, &cmd, end).await;
    }

    /// Returns when the log has been followed up to its end once, or after `patience`.
    pub(super) async fn settled(&self, patience: Duration) {
        let mut settled = self.settled.subscribe();
        let _ = timeout(patience, settled.wait_for(|settled| *settled)).await;
    }

    /// A purge is announced: look at once.
    pub(super) fn notify(&self) {
        self.news.notify_one();
    }

    /// Renews the lease and takes in what is new; true when it took in something, or there is more: then it is to be told
    /// how far this process has come.
    async fn follow_once(&self) -> Result<bool, RedisError> {
        self.append_pending().await?;
        let (since, before) = (Instant::now(), self.log.stamp());
        let arguments = self.following_from(before);
        let answer = self.ask(Deed::Follow, &arguments, since + ANSWER_MAX).await;
        let answer = answer.map_err(|fault| fault.kind())?;
        let Some(mut read) = Followed::read(answer, &self.seal) else {
            return Err(self.strange(RedisError::Damaged));
        };
        if self.seal.is_keyed() && read.is_ahead_of(unix_us(clock::now())) {
            return Err(self.strange(RedisError::Unauthentic));
        }
        if self.has_left(read.stamp.epoch) {
            self.end_log(read.stamp).await;
            return Err(self.strange(RedisError::Damaged));
        }
        if read.foreign > 0 {
            self.strange(match self.seal.is_keyed() {
                true => RedisError::Unauthentic,
                false => RedisError::Damaged,
            });
        }
        let more = read.is_cut(RECORDS_AT_ONCE);
        if before.epoch != 0 && before.epoch != read.stamp.epoch {
            self.leave_log(before.epoch);
            tracing::warn!(
                "the log of purges has begun anew; what is stored will be validated before it is used"
            );
        }
        self.log.take_in(read.stamp, read.floor, &read.records);
        if !more {
            self.log.trust_for(since, self.lease.trusted());
        }
        Ok(more || self.log.stamp() != before)
    }

    /// Nobody names a log 0: what was fetched under no log bears that.
    fn has_left(&self, epoch: u64) -> bool {
        epoch == 0 || self.left().contains(&epoch)
    }

    fn leave_log(&self, epoch: u64) {
        let mut left = self.left();
        left.push_back(epoch);
        if left.len() > LEFT_MAX {
            left.pop_front();
        }
    }

    fn left(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets another log begin in place of this one, as whoever knows more of it than is there.
    async fn end_log(&self, stamp: Stamp) {
        let claimed = stamp.sequence.saturating_add(1);
        let arguments = self.following_from(Stamp {
            sequence: claimed,
            ..stamp
        });
        let end = Instant::now() + ANSWER_MAX;
        let _ = self.ask(Deed::Follow, &arguments, end).await;
    }

    /// What the script wants to know of us.
    fn following_from(&self, stamp: Stamp) -> [String; 6] {
        [
            self.id.clone(),
            stamp.epoch.to_string(),
            stamp.sequence.to_string(),
            self.lease.whole().as_micros().to_string(),
            RECORDS_AT_ONCE.to_string(),
            random_epoch().to_string(),
        ]
    }

    /// The log holds what none of us wrote. Counted each time, told once.
    fn strange(&self, kind: RedisError) -> RedisError {
        self.counters.errors(kind).add_one();
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                state = self.keys[0],
                "the log of purges in Redis holds what no proxy with our settings wrote; what is older is not used"
            );
        }
        kind
    }

    /// Makes a purge, and waits until it is true everywhere.
    pub(super) async fn purge(&self, records: &[Record]) -> Result<Applied, PurgeError> {
        let end = Instant::now() + self.lease.purge_max();
        let made = self.append(records, end).await?;
        let lease = self.lease.whole();
        let sequence = made.stamp.sequence;
        // Whatever becomes of it in Redis, this process keeps to it.
        self.log.apply_early(records, sequence);
        let (epoch, made) = (made.stamp.epoch, made.alive());
        // By our own clock: whoever renews its lease from now on takes the purge in, and all others have lost theirs by then,
        // also when the next server's clock goes wrong.
        let all_lapsed = Instant::now() + made.longest_lease().max(lease);
        self.notify();
        let mut pause = LOOK_MIN;
        loop {
            let asked = Instant::now();
            let now = self.ask(Deed::Status, &[""; 0], end).await;
            if let Some(now) = now.ok().and_then(Following::read) {
                if now.stamp.epoch != epoch {
                    // A log that was lost in the meantime has forgotten this purge, and nobody can say who has it.
                    return Err(PurgeError::Unconfirmed { sequence });
                }
                let reach = made.reach(sequence, &now);
                let all_have_it = reach.awaited == 0 && now.is_complete(lease);
                if all_have_it || asked >= all_lapsed {
                    return Ok(Applied {
                        sequence,
                        replicas: reach.replicas,
                        applied: reach.applied,
                    });
                }
            }
            if Instant::now() + pause >= end {
                return Err(PurgeError::Unconfirmed { sequence });
            }
            sleep(pause).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    /// Makes a purge without waiting for other replicas. It is true here when this returns; after an error it is made as soon
    /// as the log can be reached.
    pub(super) async fn announce(
        &self,
        records: &[Record],
        end: Instant,
    ) -> Result<(), PurgeError> {
        let made = self.append(records, end).await;
        match &made {
            Ok(made) => self.log.apply_early(records, made.stamp.sequence),
            Err(_) => {
                let mut pending = self.pending();
                pending.add(records);
                self.log.hold(pending.all());
            }
        }
        self.notify();
        made.map(|_| ())
    }

    async fn append_pending(&self) -> Result<(), RedisError> {
        let records = self.pending().begin();
        if records.is_empty() {
            return Ok(());
        }
        let made = self.append(&records, Instant::now() + ANSWER_MAX).await;
        let made = made.map_err(|_| RedisError::Connection)?;
        let mut pending = self.pending();
        pending.made();
        // In this order, so that they hold all the time.
        self.log.apply_early(&records, made.stamp.sequence);
        self.log.hold(pending.all());
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, records: &[Record], end: Instant) -> Result<Following, PurgeError> {
        let mut epoch = self.log.stamp().epoch;
        for _ in 0..EPOCHS_MAX {
            let made = self.append_to(epoch, records, end).await?;
            if made.stamp.sequence != 0 {
                return Ok(made);
            }
            epoch = made.stamp.epoch;
        }
        Err(PurgeError::Log(RedisError::Refused))
    }

    /// Has no number when the log is another one by now, and records are made for one log only.
    async fn append_to(
        &self,
        epoch: u64,
        records: &[Record],
        end: Instant,
    ) -> Result<Following, PurgeError> {
        let wanted = match self.seal.is_keyed() {
            true => epoch.to_string(),
            false => String::new(),
        };
        let head = [
            random_epoch().to_string(),
            records_max(),
            self.channel.clone(),
            wanted,
        ];
        let head = head.into_iter().map(String::into_bytes);
        let members = records.iter().map(|record| self.seal.record(epoch, record));
        let arguments: Vec<_> = head.chain(members).collect();
        let end = end.min(Instant::now() + ANSWER_MAX);
        let answer = self.ask(Deed::Append, &arguments, end).await;
        let answer = answer.map_err(|fault| PurgeError::Log(fault.kind()))?;
        Following::read(answer).ok_or(PurgeError::Log(RedisError::Damaged))
    }

    /// Takes this process off the list of those who are waited for: it serves nothing more.
    pub(super) async fn leave(&self) {
        let mut cmd = redis::cmd("HDEL");
        cmd.arg(&self.keys[3]).arg(&self.id);
        let end = Instant::now() + ANSWER_MAX;
        // The way that a renewal goes which may still be under way: that would put us on the list again.
        let _ = self.link.insist(Lane::Reads, &cmd, end).await;
    }

    /// Asks past the breaker: these are its heartbeat and what an operator waits for.
    async fn ask(
        &self,
        deed: Deed,
        arguments: &[impl AsRef<[u8]>],
        end: Instant,
    ) -> Result<Value, Fault> {
        let keys = self.keys.each_ref().map(String::as_str);
        let arguments: Vec<_> = arguments.iter().map(AsRef::as_ref).collect();
        let mut answer = self.call(deed, &keys, &arguments, end).await;
        if matches!(&answer, Err(Fault::Server(error)) if is_unknown_mark(error)) {
            self.unmarked.store(true, Ordering::Relaxed);
            answer = self.call(deed, &keys, &arguments, end).await;
        }
        // That there is no connection is counted by whoever makes them.
        if let Err(fault @ (Fault::Timeout(_) | Fault::Broken | Fault::Server(_))) = &answer {
            self.counters.errors(fault.kind()).add_one();
        }
        answer
    }

    async fn call(
        &self,
        deed: Deed,
        keys: &[&str],
        arguments: &[&[u8]],
        end: Instant,
    ) -> Result<Value, Fault> {
        let [marked, unmarked] = &self.scripts[deed as usize];
        let script = match self.unmarked.load(Ordering::Relaxed) {
            true => unmarked,
            false => marked,
        };
        let by_name = script.call(false, keys, arguments);
        let answer = self.link.insist(Lane::Reads, &by_name, end).await;
        if !is_of_unknown_script(&answer) {
            return answer;
        }
        let by_text = script.call(true, keys, arguments);
        self.link.insist(Lane::Reads, &by_text, end).await
    }
}

/// Servers before 7.0 take the mark for a fault in the script.
fn is_unknown_mark(error: &redis::RedisError) -> bool {
    error
        .detail()
        .is_some_and(|detail| detail.contains("compiling script"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_a_removed_key_or_announces_a_purge() {
        let id = [b'f'; ID_BYTES];
        let said = [REMOVED, &id, b"a key"].concat();
        assert_eq!(removed(&said), Some((&id[..], &b"a key"[..])));
        for said in [&b"1795282865452987"[..], b"", b"-", b"-short"] {
            assert_eq!(removed(said), None);
        }
    }
}
