//! Who of all replicas fetches a URL? Whoever holds its lease in Redis.
//!
//! A lease is a key with a short lifetime beside the hash of its URL. Its value is a fence, a number that grows from lease to
//! lease, and a word of chance that tells its holder. The holder renews it while its fetch runs; when it dies, the lease
//! ends by itself. A write under a lease is refused once somebody wrote under a later one, so a holder that was paused can't
//! bring back what is older. An answer that nobody else may have leaves a mark in the place of the lease for a while, so that
//! nobody queues for the next one. One question takes the lease, or tells that it is taken, and brings what was written
//! since the last question. Left out: how long to wait for a holder, which is the engine's business.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use larder_policy::CacheKey;
use redis::Value;
use tokio::task::AbortHandle;

use super::link::Lane;
use super::script::{self, KnownScript};
use super::{InRedis, RedisTier};
use crate::store::counters::RedisError;
use crate::store::log::random_epoch;

/// How long a lease lasts that is not renewed: so long do others wait at most for a holder that died. Long enough that a
/// holder on a busy machine doesn't lose it: nobody waits for longer than fetches usually take in any case.
const LEASE: Duration = Duration::from_secs(2);
/// How often it is renewed: several attempts may fail.
const RENEWAL: Duration = Duration::from_millis(400);
/// How long nobody queues for a URL whose answer could not be shared. Each replica remembers for itself for longer.
const MARK: Duration = Duration::from_secs(5);

/// Takes the lease if it is free; brings what is stored, if that is not what was seen before.
const CLAIM: &str = r"
local key, lease, id, lease_ms, seen = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local written, found = '', false
local kind = redis.call('TYPE', key).ok
if kind == 'hash' then
  written = redis.call('HGET', key, 't') or '0'
  if written ~= seen then found = find(key, 4) end
end
local held = redis.pcall('GET', lease)
if type(held) == 'table' or held == 'alone' then return { 2, '', written, found or '' } end
if held then return { 1, '', written, found or '' } end
local time = redis.call('TIME')
local last = tonumber(string.match(written, '^%d+') or '0')
local token = string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1)) .. ' ' .. id
redis.call('SET', lease, token, 'PX', lease_ms)
return { 0, token, written, found or '' }
";

/// Renews a lease, gives it back, or leaves the mark in its place; nothing when it is another's by now.
const KEEP: &str = r"
local lease, token, deed, ms = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', lease) ~= token then return 0 end
if deed == 'renew' then
  redis.call('PEXPIRE', lease, ms)
elseif deed == 'alone' then
  redis.call('SET', lease, 'alone', 'PX', ms)
else
  redis.call('UNLINK', lease)
end
return 1
";

/// The two scripts.
#[derive(Debug)]
pub(super) struct LeaseScripts {
    claim: KnownScript,
    keep: KnownScript,
}

impl LeaseScripts {
    pub(super) fn new() -> Self {
        Self {
            claim: KnownScript::new(format!("{}{CLAIM}", script::FIND)),
            keep: KnownScript::new(KEEP),
        }
    }
}

/// What is done with a lease by its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Renew,
    Release,
    MarkAlone,
}

impl Deed {
    fn word(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Release => "release",
            Self::MarkAlone => "alone",
        }
    }

    fn lasts(self) -> Duration {
        match self {
            Self::Renew => LEASE,
            Self::Release => Duration::ZERO,
            Self::MarkAlone => MARK,
        }
    }
}

/// Whose turn it is to fetch.
#[derive(Debug)]
pub enum Turn {
    /// This one's.
    Mine(Arc<FetchLease>),
    /// Somebody else is fetching.
    Elsewhere,
    /// Everybody's: the last answers could not be shared.
    Everybody,
    /// Redis doesn't say, in time or at all.
    Unknown,
}

/// What a URL's hash was when it was last looked at. Empty before the first look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written(Vec<u8>);

/// The answer to a claim.
#[derive(Debug)]
pub(in crate::store) struct Claimed {
    pub(in crate::store) turn: Turn,
    /// What is there for this request; none when nothing was written since the last look.
    pub(in crate::store) found: Option<InRedis>,
    pub(in crate::store) written: Written,
}

impl Claimed {
    fn unknown() -> Self {
        Self {
            turn: Turn::Unknown,
            found: None,
            written: Written::default(),
        }
    }
}

/// The right to fetch for all replicas. Renewed as long as it is held, given back when it is dropped.
#[derive(Debug)]
pub struct FetchLease {
    tier: Arc<RedisTier>,
    name: String,
    token: Vec<u8>,
    /// Nothing is left to be given back.
    settled: AtomicBool,
    renewal: AbortHandle,
}

impl FetchLease {
    fn new(tier: &Arc<RedisTier>, name: String, token: Vec<u8>) -> Option<Arc<Self>> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let renewal = runtime.spawn(renew(Arc::clone(tier), name.clone(), token.clone()));
        Some(Arc::new(Self {
            tier: Arc::clone(tier),
            name,
            token,
            settled: AtomicBool::new(false),
            renewal: renewal.abort_handle(),
        }))
    }

    /// What it is fetched under was of no use to others: nobody shall wait for the next one.
    pub fn mark_alone(&self) {
        self.end(Deed::MarkAlone);
    }

    /// What a write needs to say.
    pub(super) fn token(&self) -> &[u8] {
        &self.token
    }

    /// A write has ended it.
    pub(super) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
        self.renewal.abort();
    }

    fn end(&self, deed: Deed) {
        self.renewal.abort();
        if self.settled.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (tier, name, token) = (
            Arc::clone(&self.tier),
            self.name.clone(),
            self.token.clone(),
        );
        runtime.spawn(async move { tier.keep(&name, &token, deed).await });
    }
}

impl Drop for FetchLease {
    fn drop(&mut self) {
        self.end(Deed::Release);
    }
}

/// Ends when the lease is lost; what is written under it may still be the newest there is.
async fn renew(tier: Arc<RedisTier>, name: String, token: Vec<u8>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        if tier.keep(&name, &token, Deed::Renew).await == Some(false) {
            return;
        }
    }
}

impl RedisTier {
    /// Asks for the lease of a URL; `names_caller` tells apart what is fetched apart.
    pub(in crate::store) async fn claim(
        self: &Arc<Self>,
        key: &CacheKey,
        names_caller: bool,
        request: &HeaderMap,
        seen: &Written,
        now: SystemTime,
        end: Instant,
    ) -> Claimed {
        let name = script::redis_key(&self.namespace, key);
        let lease = script::lease_key(&name, names_caller);
        let id = format!("{:016x}", random_epoch());
        let lease_ms = LEASE.as_millis().to_string();
        let fields = script::read_arguments(request);
        let mut arguments: Vec<&[u8]> = vec![id.as_bytes(), lease_ms.as_bytes(), &seen.0];
        arguments.extend(fields.iter().map(Vec::as_slice));
        let names = [name.as_str(), lease.as_str()];
        let script = &self.leases.claim;
        let answer = self
            .run(Lane::Leases, script, &names, &arguments, end)
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => {
                self.counters.errors(fault.kind()).add_one();
                return Claimed::unknown();
            }
        };
        let Some(ClaimAnswer {
            word,
            token,
            written,
            found,
        }) = ClaimAnswer::read(answer)
        else {
            self.counters.errors(RedisError::Damaged).add_one();
            return Claimed::unknown();
        };
        let turn = match word {
            0 => FetchLease::new(self, lease, token).map_or(Turn::Unknown, Turn::Mine),
            1 => Turn::Elsewhere,
            _ => Turn::Everybody,
        };
        let found = match found {
            _ if written == seen.0 => None,
            Value::Int(script::VARY_MISS) => Some(InRedis::VaryMiss),
            Value::BulkString(bytes) if !bytes.is_empty() => {
                let read = self.read_form(bytes).await;
                Some(self.checked(read, key, request, now))
            }
            _ => Some(InRedis::Miss),
        };
        Claimed {
            turn,
            found,
            written: Written(written),
        }
    }

    /// Whether the lease was still held by this token; none when Redis doesn't say.
    async fn keep(&self, name: &str, token: &[u8], deed: Deed) -> Option<bool> {
        let ms = deed.lasts().as_millis().to_string();
        let arguments = [token, deed.word().as_bytes(), ms.as_bytes()];
        let end = Instant::now() + self.timeout;
        let keep = &self.leases.keep;
        match self.run(Lane::Leases, keep, &[name], &arguments, end).await {
            Ok(answer) => Some(answer == Value::Int(1)),
            Err(fault) => {
                self.counters.errors(fault.kind()).add_one();
                None
            }
        }
    }
}

/// What [`CLAIM`] says.
#[derive(Debug, PartialEq)]
struct ClaimAnswer {
    word: i64,
    token: Vec<u8>,
    written: Vec<u8>,
    found: Value,
}

impl ClaimAnswer {
    /// None when it is not what the script answers.
    fn read(answer: Value) -> Option<Self> {
        let Value::Array(parts) = answer else {
            return None;
        };
        let [word, token, written, found] = <[Value; 4]>::try_from(parts).ok()?;
        match (word, token, written) {
            (Value::Int(word), Value::BulkString(token), Value::BulkString(written)) => {
                Some(Self {
                    word,
                    token,
                    written,
                    found,
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn only_what_the_script_answers_is_read() {
        let whole = vec![Value::Int(0), bytes("7 a"), bytes("6 6"), bytes("")];
        let read = ClaimAnswer::read(Value::Array(whole.clone()));
        assert_eq!(
            read,
            Some(ClaimAnswer {
                word: 0,
                token: b"7 a".to_vec(),
                written: b"6 6".to_vec(),
                found: bytes(""),
            })
        );
        for at in 0..3 {
            let mut damaged = whole.clone();
            damaged[at] = Value::Nil;
            assert_eq!(ClaimAnswer::read(Value::Array(damaged)), None, "part {at}");
        }
        assert_eq!(ClaimAnswer::read(Value::Array(whole[..3].to_vec())), None);
        assert_eq!(ClaimAnswer::read(Value::Int(0)), None);
    }
}
