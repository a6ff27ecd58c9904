//! Was this written by one of us? Seals on what lies in Redis, and their proof.
//!
//! Without a key the seal is an xxh3-64, which tells accidents and nothing else: whoever can write to Redis can compute it.
//! With a key it is an HMAC-SHA-256 over what kind of thing it is, the namespace and the whole thing, which only those who
//! know the key can make. The first byte tells which seal there is, and a process takes its own kind alone. A second key, the
//! one before, is proven by and never sealed with, so that keys can be changed under way. Left out: that something sealed was
//! taken away, or put back after its time; what a thing says of its time is the reader's to heed.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

use super::entry::Damaged;
use super::log::Record;

/// A key is at least so long: as many bytes as an HMAC-SHA-256 has.
pub const MAC_KEY_BYTES_MIN: usize = 32;
/// First byte of a stored form under a checksum: the form's version.
pub(super) const CHECKED_FORM: u8 = 3;
/// First byte of the same form under a MAC.
pub(super) const SIGNED_FORM: u8 = 0x80 | CHECKED_FORM;
/// First byte of a purge's record under a MAC: no record begins so.
const SIGNED_RECORD: u8 = b'm';
const CHECKSUM_BYTES: usize = 8;
const FORM_MAC_BYTES: usize = 32;
/// Half of it: the log has many, and 128 bits are as far beyond guessing.
const RECORD_MAC_BYTES: usize = 16;
/// What a MAC is for, so that none can be taken for another.
const FOR_FORMS: u8 = 1;
const FOR_RECORDS: u8 = 2;

/// A key that is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has at least {MAC_KEY_BYTES_MIN} bytes")]
pub struct KeyTooShort;

/// How what is written to Redis is sealed, and which seals are believed.
#[derive(Clone)]
pub struct Seal(Option<Keys>);

/// HMACs that have taken in key and namespace: the rest costs what it is long.
#[derive(Clone)]
struct Keys {
    ours: Begun,
    before: Option<Begun>,
}

#[derive(Clone)]
struct Begun {
    forms: Hmac<Sha256>,
    records: Hmac<Sha256>,
}

impl Seal {
    /// Against accidents only.
    pub const fn checksum() -> Self {
        Self(None)
    }

    /// Against everybody who doesn't know `key`. What bears a seal by `before` is believed, too.
    pub fn keyed(namespace: &str, key: &[u8], before: Option<&[u8]>) -> Result<Self, KeyTooShort> {
        let before = before.map(|key| Begun::new(namespace, key)).transpose()?;
        let ours = Begun::new(namespace, key)?;
        Ok(Self(Some(Keys { ours, before })))
    }

    /// Whether a key is needed to make it.
    pub(super) const fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// The first byte of a stored form under this seal.
    pub(super) const fn form_version(&self) -> u8 {
        match self.0 {
            None => CHECKED_FORM,
            Some(_) => SIGNED_FORM,
        }
    }

    /// Length of what [`Seal::close`] appends.
    pub(super) const fn form_bytes(&self) -> usize {
        match self.0 {
            None => CHECKSUM_BYTES,
            Some(_) => FORM_MAC_BYTES,
        }
    }

    /// Seals a stored form that begins with [`Seal::form_version`].
    pub(super) fn close(&self, form: &mut Vec<u8>) {
        match &self.0 {
            None => form.extend(xxh3_64(form).to_be_bytes()),
            Some(keys) => {
                let mac = mac(&keys.ours.forms, &[form]).finalize().into_bytes();
                form.extend(mac);
            }
        }
    }

    /// The stored form without its seal, if that is right. The first byte is looked at first: another form is sealed otherwise.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Damaged> {
        match (&self.0, bytes.first()) {
            (None, None) => Err(Damaged::Length),
            (None, Some(&CHECKED_FORM)) => {
                let (form, checksum) = bytes.split_last_chunk().ok_or(Damaged::Length)?;
                let right = u64::from_be_bytes(*checksum) == xxh3_64(form);
                right.then_some(form).ok_or(Damaged::Checksum)
            }
            (None, Some(_)) => Err(Damaged::Version),
            (Some(keys), Some(&SIGNED_FORM)) => {
                let (form, tag) = bytes
                    .split_last_chunk::<FORM_MAC_BYTES>()
                    .ok_or(Damaged::Unauthentic)?;
                let proven = |begun: &Begun| mac(&begun.forms, &[form]).verify(tag.into()).is_ok();
                keys.any(proven).then_some(form).ok_or(Damaged::Unauthentic)
            }
            (Some(_), _) => Err(Damaged::Unauthentic),
        }
    }

    /// A purge as it stands in the log of this epoch. Equal purges are equal bytes, which the log counts on.
    pub(super) fn record(&self, epoch: u64, record: &Record) -> Vec<u8> {
        let Some(keys) = &self.0 else {
            return record.as_bytes().to_vec();
        };
        let parts = [&epoch.to_be_bytes(), record.as_bytes()];
        let mac = mac(&keys.ours.records, &parts).finalize().into_bytes();
        let tag = mac.iter().copied().take(RECORD_MAC_BYTES);
        let mut member = vec![SIGNED_RECORD];
        member.extend(record.as_bytes());
        member.extend(tag);
        member
    }

    /// The purge that stands in the log of this epoch; none when it is not one of ours.
    pub(super) fn record_in(&self, epoch: u64, member: Vec<u8>) -> Option<Record> {
        let Some(keys) = &self.0 else {
            return Record::from_bytes(member);
        };
        let (record, tag) = member
            .strip_prefix(&[SIGNED_RECORD])?
            .split_last_chunk::<RECORD_MAC_BYTES>()?;
        let proven = |begun: &Begun| {
            let mac = mac(&begun.records, &[&epoch.to_be_bytes(), record]);
            mac.verify_truncated_left(tag).is_ok()
        };
        keys.any(proven)
            .then(|| Record::from_bytes(record.to_vec()))?
    }
}

impl Keys {
    fn any(&self, proven: impl Fn(&Begun) -> bool) -> bool {
        proven(&self.ours) || self.before.as_ref().is_some_and(proven)
    }
}

impl Begun {
    fn new(namespace: &str, key: &[u8]) -> Result<Self, KeyTooShort> {
        if key.len() < MAC_KEY_BYTES_MIN {
            return Err(KeyTooShort);
        }
        // An HMAC takes keys of any length.
        let empty = Hmac::<Sha256>::new_from_slice(key).map_err(|_| KeyTooShort)?;
        let length = (namespace.len() as u64).to_be_bytes();
        let of = |kind: u8| mac(&empty, &[&[kind], &length, namespace.as_bytes()]);
        Ok(Self {
            forms: of(FOR_FORMS),
            records: of(FOR_RECORDS),
        })
    }
}

impl fmt::Debug for Seal {
    /// Nothing of the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "Seal(checksum)",
            Some(_) => "Seal(keyed)",
        })
    }
}

fn mac(begun: &Hmac<Sha256>, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = begun.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::{Purge, Scope};

    const KEY: &[u8] = b"a key that only the tests can know";
    const OTHER: &[u8] = b"another key, which came after that";

    fn keyed(namespace: &str, key: &[u8], before: Option<&[u8]>) -> Seal {
        Seal::keyed(namespace, key, before).expect("long enough")
    }

    fn record() -> Record {
        let purge = Purge {
            scope: Scope::Tag(b"news".to_vec()),
            soft: false,
        };
        Record::new(&purge).expect("short enough")
    }

    fn closed(seal: &Seal, content: &[u8]) -> Vec<u8> {
        let mut form = vec![seal.form_version()];
        form.extend(content);
        seal.close(&mut form);
        form
    }

    #[test]
    fn a_form_s_mac_is_the_standard_one_over_kind_namespace_and_form() {
        // By `openssl dgst -sha256 -mac HMAC`: 01, 0000000000000002, "ns", 83, "form".
        let tag = "5dfd7ba2accdd005e897b90f83331d28493383a39e25941971d0c556bbae512f";
        let form = closed(&keyed("ns", KEY, None), b"form");
        let hex: String = form[5..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, tag);
    }

    #[test]
    fn what_one_seal_closed_no_other_opens() {
        let seals = [
            Seal::checksum(),
            keyed("a", KEY, None),
            keyed("a", OTHER, None),
            keyed("b", KEY, None),
        ];
        for (at, seal) in seals.iter().enumerate() {
            let form = closed(seal, b"form");
            let member = seal.record(7, &record());
            for (other_at, other) in seals.iter().enumerate() {
                assert_eq!(other.open(&form).is_ok(), at == other_at, "{at} {other_at}");
                let read = other.record_in(7, member.clone());
                assert_eq!(read == Some(record()), at == other_at, "{at} {other_at}");
            }
        }
    }

    #[test]
    fn a_new_key_s_holder_reads_what_the_old_one_sealed_and_not_the_other_way_round() {
        let (old, new) = (keyed("a", KEY, None), keyed("a", OTHER, Some(KEY)));
        assert!(new.open(&closed(&old, b"x")).is_ok());
        assert_eq!(new.record_in(7, old.record(7, &record())), Some(record()));
        assert_eq!(old.open(&closed(&new, b"x")), Err(Damaged::Unauthentic));
        assert_eq!(old.record_in(7, new.record(7, &record())), None);
    }

    #[test]
    fn a_record_of_another_epoch_is_foreign() {
        let seal = keyed("a", KEY, None);
        let member = seal.record(7, &record());
        assert_eq!(seal.record_in(8, member.clone()), None);
        assert_eq!(seal.record_in(7, member), Some(record()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_record_is_foreign() {
        let seal = keyed("a", KEY, None);
        let member = seal.record(7, &record());
        for at in 0..member.len() {
            assert_eq!(seal.record_in(7, member[..at].to_vec()), None, "{at} bytes");
            for bit in 0..8 {
                let mut changed = member.clone();
                changed[at] ^= 1 << bit;
                assert_eq!(seal.record_in(7, changed), None, "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_s_mac_is_no_form_s() {
        let seal = keyed("a", KEY, None);
        let Some(keys) = &seal.0 else { unreachable!() };
        let tag = |begun: &Hmac<Sha256>| mac(begun, &[b"same"]).finalize().into_bytes();
        assert_ne!(tag(&keys.ours.forms), tag(&keys.ours.records));
    }

    #[test]
    fn a_short_key_is_refused_and_no_key_is_printed() {
        assert_eq!(Seal::keyed("a", &KEY[..31], None).err(), Some(KeyTooShort));
        assert!(Seal::keyed("a", KEY, Some(&KEY[..31])).is_err());
        assert_eq!(format!("{:?}", keyed("a", KEY, None)), "Seal(keyed)");
    }
}
