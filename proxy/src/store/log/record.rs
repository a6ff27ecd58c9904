//! What does a purge cover, and what is one in the log?
//!
//! A record is the purge in bytes: how hard it is, what kind of thing it names, and the name. Two purges of one thing are
//! equal bytes, so the log holds the latest of them only. A stored response asks for the records that would cover it by
//! making their bytes from its own key and fields. Left out: which purges happened, and when: see [`super::index`].

use larder_policy::{CacheKey, Fields, TAG_BYTES_MAX, cache_groups, cache_tags};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// No longer target is keyed, so no longer prefix covers anything.
pub const PREFIX_BYTES_MAX: usize = 64 * 1024;
/// The longest record: a prefix with its authority.
pub(super) const RECORD_BYTES_MAX: usize = PREFIX_BYTES_MAX + 1024;

const HARD: u8 = b'h';
const SOFT: u8 = b's';
const URL: u8 = b'u';
const TARGET: u8 = b't';
const PREFIX: u8 = b'p';
const TAG: u8 = b'g';
const GROUP: u8 = b'o';
const ALL: u8 = b'a';

/// What a purge covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every variant of one URL.
    Url(CacheKey),
    /// This canonical target, on every host.
    Target(String),
    /// Every canonical target that begins so, on one host or on all.
    Prefix {
        /// The host; all when there is none.
        authority: Option<String>,
        /// How the targets begin, byte by byte.
        prefix: String,
    },
    /// Every response with this tag or group, on all hosts.
    Tag(Vec<u8>),
    /// Every response in this group (RFC 9875) of one origin, in the form of [`CacheKey::origin`].
    Group {
        /// Whose group it is.
        origin: Vec<u8>,
        /// Its name.
        name: String,
    },
    /// Everything.
    All,
}

/// A purge to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// What it covers.
    pub scope: Scope,
    /// Make it stale rather than unusable.
    pub soft: bool,
}

/// Longer than any response can bear or be keyed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("longer than anything that is stored can be named")]
pub struct NameTooLong;

/// A purge as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::store) struct Record(Box<[u8]>);

impl Record {
    pub(in crate::store) fn new(purge: &Purge) -> Result<Self, NameTooLong> {
        let mut bytes = vec![if purge.soft { SOFT } else { HARD }];
        match &purge.scope {
            Scope::Url(key) => url(&mut bytes, key.as_bytes()),
            Scope::Target(target) => hashed(&mut bytes, TARGET, target.as_bytes()),
            Scope::Prefix { authority, prefix } => {
                prefix_head(&mut bytes, authority.as_deref().map(str::as_bytes));
                bytes.extend(prefix.as_bytes());
            }
            Scope::Tag(tag) if tag.len() > TAG_BYTES_MAX => return Err(NameTooLong),
            Scope::Tag(tag) => named(&mut bytes, TAG, tag),
            Scope::Group { origin, name } => group(&mut bytes, origin, name.as_bytes()),
            Scope::All => bytes.push(ALL),
        }
        Self::from_bytes(bytes).ok_or(NameTooLong)
    }

    /// None when these bytes are no record.
    pub(in crate::store) fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let known = [URL, TARGET, PREFIX, TAG, GROUP, ALL];
        let is_record = matches!(bytes.first(), Some(&(HARD | SOFT)))
            && bytes.get(1).is_some_and(|kind| known.contains(kind))
            && bytes.len() <= RECORD_BYTES_MAX;
        let record = Self(bytes.into());
        let is_whole = record.kind() != PREFIX || record.prefix_bytes().is_some();
        (is_record && is_whole).then_some(record)
    }

    pub(in crate::store) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_soft(&self) -> bool {
        self.0.first() == Some(&SOFT)
    }

    /// What it covers, hashed. Two things that share a hash purge each other, which costs fetches and never freshness.
    pub(super) fn mark(&self) -> u64 {
        mark(self.0.get(1..).unwrap_or_default())
    }

    fn kind(&self) -> u8 {
        self.0.get(1).copied().unwrap_or(0)
    }

    /// The length of the prefix that it names, if it names one.
    pub(super) fn prefix_bytes(&self) -> Option<usize> {
        if self.kind() != PREFIX {
            return None;
        }
        let (_, after) = self.0.split_at_checked(2)?;
        match after.split_first()? {
            (0, prefix) => Some(prefix.len()),
            (1, after) => {
                let (length, after) = after.split_first_chunk()?;
                let length = usize::from(u16::from_be_bytes(*length));
                after.get(length..).map(<[u8]>::len)
            }
            _ => None,
        }
    }
}

/// The marks of every record, but for prefixes, that would cover a stored response.
pub(super) fn marks_of(key: &CacheKey, headers: &impl Fields, tagged: bool) -> Vec<u64> {
    let of = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        write(&mut bytes);
        mark(&bytes)
    };
    let mut marks = vec![
        of(&|bytes| bytes.push(ALL)),
        of(&|bytes| url(bytes, key.as_bytes())),
        of(&|bytes| hashed(bytes, TARGET, key.target())),
    ];
    if tagged {
        marks.extend(cache_tags(headers).map(|tag| of(&|bytes| named(bytes, TAG, &tag))));
        let groups = cache_groups(headers);
        let groups = groups
            .iter()
            .map(|name| of(&|bytes| group(bytes, key.origin(), name.as_bytes())));
        marks.extend(groups);
    }
    marks
}

/// The marks of the prefixes of this length that a key's target begins with; none when it is shorter.
pub(super) fn prefix_marks_of(key: &CacheKey, length: usize) -> Option<[u64; 2]> {
    let prefix = key.target().get(..length)?;
    let with = |authority| {
        let mut bytes = Vec::new();
        prefix_head(&mut bytes, authority);
        bytes.extend(prefix);
        mark(&bytes)
    };
    Some([with(None), with(Some(key.authority()))])
}

fn mark(bytes: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(bytes);
    hasher.digest()
}

fn url(bytes: &mut Vec<u8>, key: &[u8]) {
    hashed(bytes, URL, key);
}

fn hashed(bytes: &mut Vec<u8>, kind: u8, name: &[u8]) {
    bytes.push(kind);
    bytes.extend(xxh3_128(name).to_be_bytes());
}

fn named(bytes: &mut Vec<u8>, kind: u8, name: &[u8]) {
    bytes.push(kind);
    bytes.extend(name);
}

/// An origin ends where its length says, so that no two pairs are the same bytes.
fn group(bytes: &mut Vec<u8>, origin: &[u8], name: &[u8]) {
    named(bytes, GROUP, origin);
    bytes.extend(name);
}

fn prefix_head(bytes: &mut Vec<u8>, authority: Option<&[u8]>) {
    bytes.push(PREFIX);
    match authority {
        None => bytes.push(0),
        Some(authority) => {
            bytes.push(1);
            bytes.extend(
                u16::try_from(authority.len())
                    .unwrap_or(u16::MAX)
                    .to_be_bytes(),
            );
            bytes.extend(authority);
        }
    }
}
