//! The log of purges in Redis: what is under its keys, and the three things that are done with it.
//!
//! Four keys without a lifetime, in one slot: the state (the log's epoch, its last number, its floor), the purges by number
//! (each thing once, by its latest), the numbers given lately, and the replicas with their leases. A number is the server's
//! time in microseconds, or one more than the last: a server that takes over from another gives none twice. A follower
//! whose last number was never given here has met a log that lost something, and so has one that finds fewer purges than
//! the state counts, or a last number that is smaller than its own: the log then begins anew under another epoch. Left out: when to follow, see [`super::follow`].

use std::time::Duration;

use redis::Value;

use crate::store::log::{RECORDS_MAX, Record, Stamp};
use crate::store::seal::Seal;

/// No honest server's clock is so far ahead of ours.
const AHEAD_MAX_US: u64 = 3_600_000_000;

/// What all three begin with: the keys, the time, and a new log where there is none or it has lost something. What is no
/// log of ours under its keys goes. The list of replicas says since when it is one, for a younger one may lack some.
const PRELUDE: &str = r"
local state, purges, seen, replicas = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function text(number) return string.format('%.0f', number) end
for key, kind in pairs({ [state] = 'hash', [purges] = 'zset', [seen] = 'zset', [replicas] = 'hash' }) do
  local found = redis.call('TYPE', key).ok
  if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
local function fact(name)
  local value = redis.call('HGET', state, name) or ''
  local number = string.match(value, '^%d+$') and tonumber(value)
  return number and number < 9007199254740000 and number or nil
end
local function begin(epoch, after)
  local sequence = text(math.max(now, (fact('sequence') or 0) + 1, after + 1))
  redis.call('DEL', state, purges, seen, replicas)
  redis.call('HSET', state, 'epoch', epoch, 'sequence', sequence, 'floor', '0', 'count', '0')
  redis.call('ZADD', seen, sequence, sequence)
end
local function is_whole()
  return string.match(redis.call('HGET', state, 'epoch') or '', '^%d+$') and fact('sequence') and fact('floor')
    and redis.call('EXISTS', seen) == 1 and redis.call('ZCARD', purges) == fact('count')
end
local function list() redis.call('HSETNX', replicas, 'since', text(now)) end
";

/// Renews a lease and reads what comes after a number.
const FOLLOW: &str = r"
local id, epoch, applied, lease_us, limit, candidate =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
if not is_whole() then
  begin(candidate, applied)
elseif redis.call('HGET', state, 'epoch') == epoch then
  local oldest = redis.call('ZRANGE', seen, 0, 0)[1]
  if applied > tonumber(redis.call('HGET', state, 'sequence') or '0') then
    begin(candidate, applied)
  elseif applied >= tonumber(oldest) and not redis.call('ZSCORE', seen, ARGV[3]) then
    begin(candidate, applied)
  end
end
list()
local facts = redis.call('HMGET', state, 'epoch', 'sequence', 'floor')
if facts[1] ~= epoch then applied = 0 end
redis.call('HSET', replicas, id, text(applied) .. ' ' .. text(now + lease_us) .. ' ' .. text(lease_us))
local records = redis.call('ZRANGEBYSCORE', purges, '(' .. text(applied), '+inf', 'WITHSCORES', 'LIMIT', 0, limit)
return { facts[1], facts[2], facts[3], records }
";

/// Gives the next number to some purges; tells who follows. Records that are made for one epoch are not put into another.
const APPEND: &str = r"
local candidate, records_max, channel, epoch = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
if not is_whole() then begin(candidate, 0) end
list()
local facts = redis.call('HMGET', state, 'epoch', 'sequence', 'floor')
if epoch ~= '' and epoch ~= facts[1] then return { facts[1], '0', text(now), {} } end
local sequence = text(math.max(now, tonumber(facts[2]) + 1))
for at = 5, #ARGV do redis.call('ZADD', purges, sequence, ARGV[at]) end
local surplus = redis.call('ZCARD', purges) - records_max
if surplus > 0 then
  local gone = redis.call('ZPOPMIN', purges, surplus)
  redis.call('HSET', state, 'floor', gone[#gone])
end
redis.call('ZADD', seen, sequence, sequence)
redis.call('ZREMRANGEBYRANK', seen, 0, -1 - records_max)
redis.call('HSET', state, 'sequence', sequence, 'count', redis.call('ZCARD', purges))
redis.call('PUBLISH', channel, sequence)
return { facts[1], sequence, text(now), redis.call('HGETALL', replicas) }
";

/// Tells who follows; forgets who has long been gone.
const STATUS: &str = r"
local all = redis.call('HGETALL', replicas)
for at = 2, #all, 2 do
  local ends = tonumber(string.match(all[at], '^%d+ (%d+) ') or '0')
  if all[at - 1] ~= 'since' and ends + 600000000 < now then redis.call('HDEL', replicas, all[at - 1]) end
end
return { redis.call('HGET', state, 'epoch') or '', '0', text(now), all }
";

/// The scripts' texts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Follow,
    Append,
    Status,
}

/// What a script says of itself in its first line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    /// It runs on a server that has no memory left, too (since Redis 7.0): what it writes is little and needed.
    AllowOom,
    None,
}

impl Deed {
    pub(super) const ALL: [Self; 3] = [Self::Follow, Self::Append, Self::Status];

    pub(super) fn text(self, mark: Mark) -> String {
        let body = match self {
            Self::Follow => FOLLOW,
            Self::Append => APPEND,
            Self::Status => STATUS,
        };
        let mark = match mark {
            Mark::AllowOom => "#!lua flags=allow-oom",
            Mark::None => "",
        };
        format!("{mark}{PRELUDE}{body}")
    }
}

/// The names of the keys of a namespace's log: in one slot of a cluster, by the part in braces.
pub(super) fn keys(namespace: &str) -> [String; 4] {
    ["state", "purges", "seen", "replicas"]
        .map(|what| format!("{namespace}:{{{namespace}}}:log:{what}"))
}

/// Where a purge is announced: in a cluster at the node that has the log.
pub(super) fn channel(namespace: &str) -> String {
    format!("{namespace}:{{{namespace}}}:log")
}

/// As many as the log keeps, as the script takes it.
pub(super) fn records_max() -> String {
    RECORDS_MAX.to_string()
}

/// What a follower reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Followed {
    /// The log's name and its last number.
    pub(super) stamp: Stamp,
    pub(super) floor: u64,
    /// In the order of their numbers.
    pub(super) records: Vec<(Record, u64)>,
    /// Members that were none of our records. Each may be a purge of anything by somebody whose key we don't have, so nothing
    /// that is older than they is used: the floor is no lower.
    pub(super) foreign: usize,
    /// The greatest number of a member, foreign or not, and the greatest but for it.
    last: u64,
    last_but_one: Option<u64>,
}

impl Followed {
    /// None when the answer is not what the script gives.
    pub(super) fn read(answer: Value, seal: &Seal) -> Option<Self> {
        let [epoch, sequence, floor, records] = parts(answer)?;
        let (epoch, sequence) = (number(&epoch)?, number(&sequence)?);
        let Value::Array(records) = records else {
            return None;
        };
        let mut read = Self {
            stamp: Stamp { epoch, sequence },
            floor: number(&floor)?,
            records: Vec::with_capacity(records.len() / 2),
            foreign: 0,
            last: 0,
            last_but_one: None,
        };
        let mut records = records.into_iter();
        while let (Some(record), Some(score)) = (records.next(), records.next()) {
            let record = bytes(record).and_then(|member| seal.record_in(epoch, member));
            // Scores of others need not be numbers of ours.
            let score = number(&score);
            if let Some(score) = score.filter(|score| *score > read.last) {
                let before = std::mem::replace(&mut read.last, score);
                read.last_but_one = Some(before).filter(|before| *before > 0);
            }
            match (record, score) {
                (Some(record), Some(score)) => read.records.push((record, score)),
                _ => {
                    read.foreign += 1;
                    read.floor = score.unwrap_or(sequence).min(sequence).max(read.floor);
                }
            }
        }
        Some(read)
    }

    /// Is the last number from after this moment? What is fetched under such a one would be younger than any purge for long.
    pub(super) fn is_ahead_of(&self, now_us: u64) -> bool {
        self.stamp.sequence > now_us.saturating_add(AHEAD_MAX_US)
    }

    /// Was there no room for all? Then it is known how far these go: purges that were made at once bear one number, and some
    /// of the last number may be missing.
    pub(super) fn is_cut(&mut self, limit: usize) -> bool {
        let is_cut = self.records.len() + self.foreign >= limit;
        if is_cut && self.last > 0 {
            self.stamp.sequence = self.last_but_one.unwrap_or(self.last);
        }
        if is_cut && self.last_but_one.is_none() {
            // So many of one number were not made by us: what is older than they is given up.
            self.floor = self.floor.max(self.last);
        }
        is_cut
    }
}

/// A replica, as the log knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replica {
    id: Vec<u8>,
    applied: u64,
    lease_ends_us: u64,
    lease_us: u64,
}

/// Who follows the log, at some time of the server's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Following {
    pub(super) stamp: Stamp,
    now_us: u64,
    /// Since when there is this list of replicas.
    since_us: Option<u64>,
    replicas: Vec<Replica>,
}

/// How far a purge has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    /// Replicas that were there when it was made, or came since.
    pub(super) replicas: usize,
    /// Those of them that have applied it.
    pub(super) applied: usize,
    /// Those that have not, and whose leases have not run out.
    pub(super) awaited: usize,
}

impl Following {
    /// None when the answer is not what the scripts give.
    pub(super) fn read(answer: Value) -> Option<Self> {
        let [epoch, sequence, now, replicas] = parts(answer)?;
        let Value::Array(replicas) = replicas else {
            return None;
        };
        let mut all = Vec::with_capacity(replicas.len() / 2);
        let mut since_us = None;
        let mut replicas = replicas.into_iter();
        while let (Some(id), Some(facts)) = (replicas.next(), replicas.next()) {
            let id = bytes(id)?;
            if id == b"since" {
                since_us = number(&facts);
            } else if let Some(replica) = bytes(facts).and_then(|facts| replica(id, &facts)) {
                all.push(replica);
            }
        }
        Some(Self {
            stamp: Stamp {
                // Empty when the log is gone: then it is nobody's epoch.
                epoch: number(&epoch).unwrap_or(0),
                sequence: number(&sequence)?,
            },
            now_us: number(&now)?,
            since_us,
            replicas: all,
        })
    }

    /// Only those whose lease has not run out: nobody else trusts what it holds.
    pub(super) fn alive(mut self) -> Self {
        let now_us = self.now_us;
        self.replicas
            .retain(|replica| replica.lease_ends_us > now_us);
        self
    }

    /// The longest lease of those on the list, which need not all be configured alike.
    pub(super) fn longest_lease(&self) -> Duration {
        let leases = self.replicas.iter().map(|one| one.lease_us);
        Duration::from_micros(leases.max().unwrap_or(0))
    }

    /// Are all replicas on the list that may hold a lease? A list that was lost with others on it is younger than they.
    pub(super) fn is_complete(&self, lease: Duration) -> bool {
        let lease_us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        let since_us = self.since_us.unwrap_or(u64::MAX);
        since_us.saturating_add(lease_us) <= self.now_us
    }

    /// How far a purge of this number has come that was made when `self` was true, now that `later` is. Those who came since
    /// count, too.
    pub(super) fn reach(&self, sequence: u64, later: &Self) -> Reach {
        let find = |all: &Self, id: &[u8]| all.replicas.iter().find(|one| one.id == id).cloned();
        let came = later.replicas.iter();
        let came =
            came.filter(|one| find(self, &one.id).is_none() && one.lease_ends_us > later.now_us);
        let mut reach = Reach {
            replicas: 0,
            applied: 0,
            awaited: 0,
        };
        for replica in self.replicas.iter().chain(came) {
            reach.replicas += 1;
            match find(later, &replica.id) {
                Some(now) if now.applied >= sequence => reach.applied += 1,
                Some(now) if now.lease_ends_us > later.now_us => reach.awaited += 1,
                // One that said goodbye, or fell silent, serves nothing from before.
                Some(_) | None => {}
            }
        }
        reach
    }
}

fn replica(id: Vec<u8>, facts: &[u8]) -> Option<Replica> {
    let mut facts = std::str::from_utf8(facts).ok()?.split(' ');
    let mut next = || facts.next()?.parse().ok();
    Some(Replica {
        id,
        applied: next()?,
        lease_ends_us: next()?,
        lease_us: next()?,
    })
}

fn parts<const N: usize>(answer: Value) -> Option<[Value; N]> {
    match answer {
        Value::Array(parts) => parts.try_into().ok(),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        Value::SimpleString(text) => text.parse().ok(),
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "purges_tests.rs"]
mod tests;
