//! A stored response and its one stored form.
//!
//! The form is a version byte, lengths before everything that has one, and a seal over all of it
//! at the end. What is read back may have been written by anybody: every length is checked against
//! a limit and against what is there, and any doubt is [`Damaged`]. Both directions share the
//! limits, so what [`Entry::encode`] writes [`Entry::decode`] reads. Left out: compression, and how
//! a seal is made ([`Seal`]).

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderName, StatusCode};
use larder_policy::{CacheKey, Flags, Part, Span, StoredPolicy, VarySpec};

use super::fields::{Builder, FieldLines};
use super::kept::Kept;
use super::log::Stamp;
use super::seal::Seal;

/// No request target that the proxy accepts makes a longer key.
const KEY_BYTES_MAX: usize = 128 * 1024;
/// The values of selecting fields come from one request head, which is smaller than this.
const SELECTING_BYTES_MAX: usize = 1024 * 1024;
/// A response that varies by more fields than this is not worth keeping.
const VARY_NAMES_MAX: usize = 64;
/// As many fields as a response head of the HTTP/1 parser may have, and to spare.
const FIELDS_MAX: usize = 1024;
/// Room for one field, name and value.
const FIELD_BYTES_GUESS: usize = 48;
/// Longest field name; `http` itself stops at this one.
const FIELD_NAME_BYTES_MAX: usize = u16::MAX as usize;
/// Longest field value.
const FIELD_VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Redis holds no value above 512 MiB; half of it leaves room for the rest of the entry.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Stands for "no `Vary`" where the number of names is written.
const NO_VARY: u16 = u16::MAX;

/// A stored response with all that is needed to decide on its reuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it was stored under, in full: two keys can't be taken for each other.
    pub key: CacheKey,
    /// The request fields that selected it.
    pub vary: Option<VarySpec>,
    /// Their values in the request it answered, as [`larder_policy::selecting`] gives them.
    pub selecting: Box<[u8]>,
    /// Status of the response.
    pub status: StatusCode,
    /// Which part of its representation the body is; none when it is all of it. Boxed, for it is rare.
    pub part: Option<Box<Part>>,
    /// Its fields, as they may be stored.
    pub headers: FieldLines,
    /// Its body, in a buffer of its own: see [`gather`].
    pub body: Bytes,
    /// The facts on its freshness.
    pub policy: StoredPolicy,
    /// When its fetch, or its last validation, began: microseconds since 1970.
    pub began_us: u64,
    /// How long that took the upstream, to the last byte: milliseconds.
    pub fetch_ms: u32,
    /// Up to which purge it is known to be newer: see [`super::Store::put`].
    pub born: Stamp,
    /// What memory remembers of it while it holds it: beside the rest, so that a hit finds both in one place.
    pub kept: Kept,
}

/// These bytes are no entry of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// Written by another version.
    #[error("the stored form has another version")]
    Version,
    /// Changed or cut off.
    #[error("the checksum does not match")]
    Checksum,
    /// Written or changed by somebody who doesn't know our key.
    #[error("the MAC is missing or does not match")]
    Unauthentic,
    /// A length goes past a limit or the end, or bytes are left over.
    #[error("a length is wrong")]
    Length,
    /// A part has a value that it can't have.
    #[error("a value is malformed")]
    Value,
}

/// A part of the entry is larger than the stored form allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is too large for the stored form")]
pub struct TooLarge;

/// Joins the pieces of a body in one buffer of exactly their size.
///
/// The pieces usually are slices of large read buffers, which they would keep alive.
pub fn gather<'a>(pieces: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) -> Bytes {
    let pieces = pieces.into_iter();
    let mut body = BytesMut::with_capacity(pieces.clone().map(<[u8]>::len).sum());
    pieces.for_each(|piece| body.extend_from_slice(piece));
    body.freeze()
}

impl Entry {
    /// Whether it is a part only.
    pub fn is_part(&self) -> bool {
        self.part.is_some()
    }

    /// Whether it is of more use than another for the same requests: the whole is better than a part,
    /// else the newer one.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        match (self.is_part(), other.is_part()) {
            (false, true) => true,
            (true, false) => false,
            _ => self.policy.response_time_unix_s > other.policy.response_time_unix_s,
        }
    }

    /// Bytes that it keeps alive, without those of the tier that holds it.
    pub fn bytes_held(&self) -> usize {
        let vary = self.vary.iter().flat_map(|spec| spec.names());
        let vary = vary.map(|name| name.as_str().len() + size_of::<HeaderName>());
        size_of::<Self>()
            + self.key.as_bytes().len()
            + vary.sum::<usize>()
            + self.selecting.len()
            + self.headers.text().len()
            + self.body.len()
    }

    /// Its stored form.
    pub fn encode(&self, seal: &Seal) -> Result<Vec<u8>, TooLarge> {
        let mut out = Writer(Vec::with_capacity(self.bytes_held() + seal.form_bytes()));
        out.0.push(seal.form_version());
        // Redis's script tells a part by these first two bytes: see `script`.
        out.0.push(u8::from(self.is_part()));
        out.u16(self.status.as_u16());
        if let Some(part) = &self.part {
            out.u64(part.span.first);
            out.u64(part.complete_length);
        }
        self.encode_policy(&mut out);
        out.long(self.key.as_bytes(), KEY_BYTES_MAX)?;
        self.encode_vary(&mut out)?;
        out.long(&self.selecting, SELECTING_BYTES_MAX)?;
        self.encode_fields(&mut out)?;
        out.long(&self.body, BODY_BYTES_MAX)?;
        seal.close(&mut out.0);
        Ok(out.0)
    }

    fn encode_policy(&self, out: &mut Writer) {
        let policy = &self.policy;
        out.u16(policy.flags.bits());
        for number in [
            policy.response_time_unix_s,
            policy.initial_age_s,
            policy.lifetime_s,
            policy.stale_while_revalidate_s,
            policy.stale_if_error_s,
            self.began_us,
        ] {
            out.u64(number);
        }
        out.u32(self.fetch_ms);
        out.u64(self.born.epoch);
        out.u64(self.born.sequence);
    }

    fn encode_vary(&self, out: &mut Writer) -> Result<(), TooLarge> {
        let Some(spec) = &self.vary else {
            out.u16(NO_VARY);
            return Ok(());
        };
        out.count(spec.names().len(), VARY_NAMES_MAX)?;
        spec.names()
            .iter()
            .try_for_each(|name| out.short(name.as_str().as_bytes(), FIELD_NAME_BYTES_MAX))
    }

    fn encode_fields(&self, out: &mut Writer) -> Result<(), TooLarge> {
        out.count(self.headers.len(), FIELDS_MAX)?;
        for (name, value) in self.headers.iter() {
            out.short(&name.to_ascii_lowercase(), FIELD_NAME_BYTES_MAX)?;
            out.long(value, FIELD_VALUE_BYTES_MAX)?;
        }
        Ok(())
    }

    /// Reads a stored form. Nothing in the result refers to `bytes`.
    pub fn decode(bytes: &[u8], seal: &Seal) -> Result<Self, Damaged> {
        let mut rest = Reader(seal.open(bytes)?);
        let _version = rest.u8()?;
        let is_part = rest.u8()?;
        let status = StatusCode::from_u16(rest.u16()?).map_err(|_| Damaged::Value)?;
        let place = match is_part {
            0 => None,
            1 => Some((rest.u64()?, rest.u64()?)),
            _ => return Err(Damaged::Value),
        };
        let policy = decode_policy(&mut rest)?;
        let began_us = rest.u64()?;
        let fetch_ms = rest.u32()?;
        let born = Stamp {
            epoch: rest.u64()?,
            sequence: rest.u64()?,
        };
        let key = CacheKey::from_bytes(Arc::from(rest.long(KEY_BYTES_MAX)?));
        let vary = decode_vary(&mut rest)?;
        let selecting = Box::from(rest.long(SELECTING_BYTES_MAX)?);
        let headers = decode_fields(&mut rest)?;
        let body = Bytes::copy_from_slice(rest.long(BODY_BYTES_MAX)?);
        if !rest.0.is_empty() {
            return Err(Damaged::Length);
        }
        let part = match place {
            Some((first, complete_length)) => {
                let part = part_at(first, body.len(), complete_length);
                Some(Box::new(part.ok_or(Damaged::Value)?))
            }
            None => None,
        };
        Ok(Self {
            key,
            vary,
            selecting,
            status,
            part,
            headers,
            body,
            policy,
            began_us,
            fetch_ms,
            born,
            kept: Kept::default(),
        })
    }
}

/// The part that so many octets from `first` on are; none when there is no such part.
fn part_at(first: u64, body_bytes: usize, complete_length: u64) -> Option<Part> {
    let last = first.checked_add(u64::try_from(body_bytes).ok()?.checked_sub(1)?)?;
    (last < complete_length).then_some(Part {
        span: Span { first, last },
        complete_length,
    })
}

fn decode_policy(rest: &mut Reader<'_>) -> Result<StoredPolicy, Damaged> {
    let flags = Flags::from_bits(rest.u16()?).ok_or(Damaged::Value)?;
    Ok(StoredPolicy {
        response_time_unix_s: rest.u64()?,
        initial_age_s: rest.u64()?,
        lifetime_s: rest.u64()?,
        stale_while_revalidate_s: rest.u64()?,
        stale_if_error_s: rest.u64()?,
        flags,
    })
}

fn decode_vary(rest: &mut Reader<'_>) -> Result<Option<VarySpec>, Damaged> {
    let count = match rest.u16()? {
        NO_VARY => return Ok(None),
        count if usize::from(count) > VARY_NAMES_MAX => return Err(Damaged::Length),
        count => count,
    };
    let names = (0..count).map(|_| rest.name());
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let spec = VarySpec::from_names(names.iter().cloned());
    // Ours are written in order and without repeats.
    if spec.names() != names {
        return Err(Damaged::Value);
    }
    Ok(Some(spec))
}

fn decode_fields(rest: &mut Reader<'_>) -> Result<FieldLines, Damaged> {
    let count = usize::from(rest.u16()?);
    if count > FIELDS_MAX {
        return Err(Damaged::Length);
    }
    let mut fields = Builder::with_capacity(count * FIELD_BYTES_GUESS);
    for _ in 0..count {
        let name = rest.short()?;
        let value = rest.long(FIELD_VALUE_BYTES_MAX)?;
        fields.push(name, value).map_err(|_| Damaged::Value)?;
    }
    Ok(fields.finish())
}

struct Writer(Vec<u8>);

impl Writer {
    fn u16(&mut self, number: u16) {
        self.0.extend(number.to_be_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.0.extend(number.to_be_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn count(&mut self, count: usize, max: usize) -> Result<(), TooLarge> {
        let count = Some(count).filter(|count| *count <= max);
        self.u16(count.and_then(|c| u16::try_from(c).ok()).ok_or(TooLarge)?);
        Ok(())
    }

    fn short(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(), TooLarge> {
        self.count(bytes.len(), bytes_max)?;
        self.0.extend(bytes);
        Ok(())
    }

    fn long(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(), TooLarge> {
        let len = Some(bytes.len()).filter(|len| *len <= bytes_max);
        let len = len
            .and_then(|len| u32::try_from(len).ok())
            .ok_or(TooLarge)?;
        self.u32(len);
        self.0.extend(bytes);
        Ok(())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Damaged::Length)?;
        self.0 = rest;
        Ok(*array)
    }

    fn u8(&mut self) -> Result<u8, Damaged> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Damaged> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Damaged> {
        self.array().map(u64::from_be_bytes)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Damaged::Length)?;
        self.0 = rest;
        Ok(taken)
    }

    fn long(&mut self, bytes_max: usize) -> Result<&'a [u8], Damaged> {
        let len = self.u32()?;
        let len = usize::try_from(len).map_err(|_| Damaged::Length)?;
        if len > bytes_max {
            return Err(Damaged::Length);
        }
        self.take(len)
    }

    fn short(&mut self) -> Result<&'a [u8], Damaged> {
        let len = usize::from(self.u16()?);
        self.take(len)
    }

    fn name(&mut self) -> Result<HeaderName, Damaged> {
        HeaderName::from_bytes(self.short()?).map_err(|_| Damaged::Value)
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
pub(super) mod tests;
