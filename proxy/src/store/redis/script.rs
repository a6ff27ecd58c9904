//! What is sent to Redis, and what is under one of its keys.
//!
//! All variants of a URL lie in one hash. Its field `v` names the selecting request fields, joined
//! by commas; its field `t` tells the fence of the last write under a lease and when the last write was. Each variant has a field `e` followed by one part per name: `-` when the request had
//! no such field, else `+` and a digest of its normalised value. A request tells the digests of all
//! its fields, so the server finds the variant without asking back, and values such as cookies
//! appear neither on the wire nor in Redis's slow log for it. Whether the variant found really is the
//! one asked for is decided on the entry's own words, not on digests. An entry begins with the version
//! of its form and whether it is a part: a part takes the place of a part only.

use std::borrow::Cow;

use http::HeaderMap;
use larder_policy::{CacheKey, VarySpec, selecting_value};
use redis::{Cmd, Script};
use sha2::{Digest, Sha256};

use crate::store::memory::VARIANTS_MAX;

/// Enough that no two values of one field meet by chance.
const DIGEST_BYTES: usize = 16;
/// Digits of a number of keys.
const COUNT_BYTES_MAX: usize = 20;
/// Answer of [`FIND`]: variants of this URL are there, but not this one.
pub(super) const VARY_MISS: i64 = 1;
/// Answers of [`WRITE`]: it is written,
pub(super) const WRITTEN: i64 = 1;
/// or somebody wrote under a later lease.
pub(super) const OUTRUN: i64 = 2;

/// What is stored for the request whose names and digests stand from `first` on.
pub(super) const FIND: &str = r"
local function find(key, first)
  local names = redis.pcall('HGET', key, 'v')
  if type(names) == 'table' then
    if string.find(names.err, 'WRONGTYPE', 1, true) then return 2 end
    return names
  end
  if not names then return false end
  if #names > 65536 then return 2 end
  local digests = {}
  for i = first, #ARGV, 2 do digests[ARGV[i]] = ARGV[i + 1] end
  local parts = { 'e' }
  for name in string.gmatch(names, '[^,]+') do
    local digest = digests[name]
    parts[#parts + 1] = digest and ('+' .. digest) or '-'
  end
  local entry = redis.call('HGET', key, table.concat(parts))
  if entry then return entry end
  if names == '' then return false end
  return 1
end
";

pub(super) const WRITE: &str = r"
local key, names, field, entry, ttl_ms, variants_max, is_part, token =
  KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7]
local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', key) end
local before = redis.call('HGET', key, 'v')
local written = redis.call('HGET', key, 't')
local fence = tonumber(string.match(written or '', '^%d+') or '0')
local own = tonumber(string.match(token, '^%d+') or '')
if own and own < fence then return 2 end
local variants = redis.call('HLEN', key) - (before and 1 or 0) - (written and 1 or 0)
if is_part and before then
  if before ~= names or variants >= variants_max then return 0 end
  local old = redis.call('HGET', key, field)
  if old and string.sub(old, 1, 2) ~= string.sub(entry, 1, 2) then return 0 end
end
if before and before ~= names then redis.call('UNLINK', key) end
if before == names and redis.call('HEXISTS', key, field) == 0
    and variants >= variants_max then
  for _, old in ipairs(redis.call('HRANDFIELD', key, 3)) do
    if old ~= 'v' and old ~= 't' then
      redis.call('HDEL', key, old)
      break
    end
  end
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('HSET', key, 'v', names, 't', string.format('%.0f', own or fence) .. ' ' .. now, field, entry)
for at = 2, 3 do
  local held = redis.pcall('GET', KEYS[at])
  if held == 'alone' or (own and held == token) then redis.call('UNLINK', KEYS[at]) end
end
if names == '' or redis.call('PTTL', key) < ttl_ms then
  redis.call('PEXPIRE', key, ttl_ms)
end
return 1
";

/// Removes a URL and its leases; says whether the URL was there.
pub(super) const REMOVE: &str = r"
redis.call('UNLINK', KEYS[2], KEYS[3])
return redis.call('UNLINK', KEYS[1])
";

/// A script and the name the server knows it by once it has seen it.
#[derive(Debug)]
pub(super) struct KnownScript {
    text: Cow<'static, str>,
    hash: String,
}

impl KnownScript {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// The call by name; when the server has forgotten it, by its text, which it then knows.
    pub(super) fn call(&self, by_text: bool, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        let (command, script) = if by_text {
            ("EVAL", self.text.as_ref())
        } else {
            ("EVALSHA", self.hash.as_str())
        };
        let words = keys.iter().map(|key| key.len());
        let words = words.chain(arguments.iter().map(|argument| argument.len()));
        // All of it at once: what grows by doubling would take a large response twice over.
        let bytes = command.len() + script.len() + COUNT_BYTES_MAX + words.sum::<usize>();
        let mut cmd = Cmd::with_capacity(3 + keys.len() + arguments.len(), bytes);
        cmd.arg(command).arg(script).arg(keys.len()).arg(keys);
        arguments.iter().for_each(|argument| {
            cmd.arg(*argument);
        });
        cmd
    }
}

/// The name of a URL's hash in Redis. The digit is the version of what this page describes. In a
/// Cluster, the braces let other keys about the same URL lie beside it.
pub(super) fn redis_key(namespace: &str, key: &CacheKey) -> String {
    let digest = Sha256::digest(key.as_bytes());
    // Formatting each byte by itself would take longer than the digest.
    let digits = digest.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
    let mut name = String::with_capacity(namespace.len() + 2 * digest.len() + 8);
    name.push_str(namespace);
    name.push_str(":1:{");
    name.extend(digits);
    name.push('}');
    name
}

/// The name of the lease beside a URL's hash. Those who name themselves fetch apart from those who don't.
pub(super) fn lease_key(redis_key: &str, names_caller: bool) -> String {
    let suffix = if names_caller { ":lc" } else { ":l" };
    format!("{redis_key}{suffix}")
}

/// Names and digests of all fields of a request, in turns.
pub(super) fn read_arguments(request: &HeaderMap) -> Vec<Vec<u8>> {
    let named = |name| Some((name, selecting_value(name, request)?));
    let pairs = request.keys().filter_map(named);
    pairs
        .flat_map(|(name, value)| [name.as_str().into(), digest(&value)])
        .collect()
}

/// What stands in `v`.
pub(super) fn joined_names(spec: Option<&VarySpec>) -> String {
    let names = spec.map_or(&[][..], VarySpec::names);
    let names: Vec<_> = names.iter().map(http::HeaderName::as_str).collect();
    names.join(",")
}

/// The field of the variant that has these selecting values, given as `policy::selecting` encodes
/// them: name and value in turns, each behind its length. None when they can't be read.
pub(super) fn variant_field(selecting: &[u8]) -> Option<Vec<u8>> {
    let mut field = vec![b'e'];
    let mut rest = selecting;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk()?;
        let (_name, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
        let (len, after) = after.split_first_chunk()?;
        rest = after;
        match u32::from_be_bytes(*len) {
            u32::MAX => field.push(b'-'),
            len => {
                let (value, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
                rest = after;
                field.push(b'+');
                field.extend(digest(value));
            }
        }
    }
    Some(field)
}

/// The limit as the script takes it.
pub(super) fn variants_max() -> String {
    VARIANTS_MAX.to_string()
}

fn digest(value: &[u8]) -> Vec<u8> {
    Sha256::digest(value)
        .iter()
        .copied()
        .take(DIGEST_BYTES)
        .collect()
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderValue};
    use larder_policy::selecting;

    use super::*;

    fn request(language: Option<&'static str>) -> HeaderMap {
        let language = language.map(|l| (ACCEPT_LANGUAGE, HeaderValue::from_static(l)));
        language.into_iter().collect()
    }

    #[test]
    fn a_variant_s_field_has_a_part_for_each_name() {
        let spec = VarySpec::from_names([ACCEPT, ACCEPT_LANGUAGE]);
        let field = |r: &HeaderMap| variant_field(&selecting(&spec, r)).expect("readable");
        let (none, en, de) = (request(None), request(Some("en")), request(Some("de")));
        assert_eq!(field(&none), b"e--");
        assert_eq!(field(&en).len(), 3 + DIGEST_BYTES);
        assert!(field(&en).starts_with(b"e-+"));
        assert_ne!(field(&en), field(&de));
        assert_eq!(variant_field(b"").as_deref(), Some(&b"e"[..]));
    }

    #[test]
    fn the_request_tells_the_digests_that_the_field_is_made_of() {
        let spec = VarySpec::from_names([ACCEPT_LANGUAGE]);
        let en = request(Some("en"));
        let arguments = read_arguments(&en);
        assert_eq!(arguments[0], b"accept-language");
        let field = variant_field(&selecting(&spec, &en)).expect("readable");
        assert_eq!(field[2..], arguments[1][..]);
    }

    #[test]
    fn selecting_bytes_that_are_cut_off_give_no_field() {
        let spec = VarySpec::from_names([ACCEPT_LANGUAGE]);
        let whole = selecting(&spec, &request(Some("en")));
        for len in 1..whole.len() {
            assert_eq!(variant_field(&whole[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn a_key_in_redis_is_the_namespace_the_version_and_a_digest() {
        let key = CacheKey::from_bytes(b"abc"[..].into());
        assert_eq!(
            redis_key("larder", &key),
            "larder:1:{ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad}"
        );
    }
}
