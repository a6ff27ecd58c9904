//! The stored form: what Redis gives back may have been written by anybody.

use larder_proxy::store::Entry;
use xxhash_rust::xxh3::xxh3_64;

/// The input as it is, and as the content of a form whose checksum is right.
pub fn entry(data: &[u8]) {
    round_trip(data);
    let mut form = data.to_vec();
    form.extend(xxh3_64(data).to_be_bytes());
    round_trip(&form);
}

fn round_trip(form: &[u8]) {
    let Ok(entry) = Entry::decode(form) else {
        return;
    };
    let written = entry.encode().expect("what was read is within the limits");
    let again = Entry::decode(&written).expect("what was written can be read");
    assert_eq!(again, entry, "another entry came back");
    assert_eq!(
        again.encode().as_ref(),
        Ok(&written),
        "two forms of one entry"
    );
    // Lines of one name stand together after reading; nothing else may differ.
    assert_eq!(written.len(), form.len(), "bytes of no meaning were taken");
    let mut cut = written;
    cut.pop();
    assert!(
        Entry::decode(&cut).is_err(),
        "a form without its end was taken"
    );
}
