//! The stored form: what Redis gives back may have been written by anybody.

use hmac::{Hmac, KeyInit, Mac};
use larder_proxy::store::{Entry, Seal};
use sha2::Sha256;
use xxhash_rust::xxh3::xxh3_64;

const NAMESPACE: &str = "fuzz";
const KEY: &[u8] = b"a key that is known to this program";
/// The first byte of a form under a MAC; see `Seal`.
const SIGNED_FORM: u8 = 0x83;

/// The input as it is, as the content of a form whose checksum is right, and as that of one whose MAC is right.
pub fn entry(data: &[u8]) {
    let keyed = Seal::keyed(NAMESPACE, KEY, None).expect("long enough");
    for seal in [&Seal::checksum(), &keyed] {
        round_trip(data, seal);
    }
    let mut form = data.to_vec();
    form.extend(xxh3_64(data).to_be_bytes());
    assert!(
        Entry::decode(&form, &keyed).is_err(),
        "a checksum was taken for a MAC"
    );
    round_trip(&form, &Seal::checksum());
    let form = signed(data);
    assert!(
        Entry::decode(&form, &Seal::checksum()).is_err(),
        "a MAC was taken for a checksum"
    );
    round_trip(&form, &keyed);
}

/// With another first byte and a MAC of our own making.
fn signed(data: &[u8]) -> Vec<u8> {
    let mut form = vec![SIGNED_FORM];
    form.extend(data.iter().skip(1));
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("any length is right");
    mac.update(&[1]);
    mac.update(&(NAMESPACE.len() as u64).to_be_bytes());
    mac.update(NAMESPACE.as_bytes());
    mac.update(&form);
    form.extend(mac.finalize().into_bytes());
    form
}

fn round_trip(form: &[u8], seal: &Seal) {
    let Ok(entry) = Entry::decode(form, seal) else {
        return;
    };
    let written = entry
        .encode(seal)
        .expect("what was read is within the limits");
    let again = Entry::decode(&written, seal).expect("what was written can be read");
    assert_eq!(again, entry, "another entry came back");
    assert_eq!(
        again.encode(seal).as_ref(),
        Ok(&written),
        "two forms of one entry"
    );
    // Lines of one name stand together after reading; nothing else may differ.
    assert_eq!(written.len(), form.len(), "bytes of no meaning were taken");
    let mut cut = written;
    cut.pop();
    assert!(
        Entry::decode(&cut, seal).is_err(),
        "a form without its end was taken"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_of_this_program_is_the_proxy_s() {
        let seed = include_bytes!("../seeds/entry/whole");
        let keyed = Seal::keyed(NAMESPACE, KEY, None).expect("long enough");
        let entry = Entry::decode(&signed(seed), &keyed);
        assert!(entry.is_ok(), "{entry:?}");
    }
}
