//! What must hold for any bytes that a stranger sends, or that Redis gives back.
//!
//! Each function takes bytes and panics when a property fails. `cargo test` runs them on the seeds and on what was once found,
//! `scripts/fuzz` for longer, guided by coverage. Left out: whatever needs a socket.

mod directives;
mod entry;
mod head;
mod key;
mod lines;

pub use directives::directives;
pub use entry::entry;
pub use head::head;
pub use key::key;
pub use lines::lines;

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Every seed, and each with one byte changed, lost or doubled.
    fn hold_on_seeds(target: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(target);
        let mut seeds = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let seed = std::fs::read(file.unwrap().path()).unwrap();
            seeds += 1;
            property(&seed);
            for at in 0..seed.len().min(400) {
                for byte in [
                    b'\0',
                    b'\n',
                    b'\r',
                    b'%',
                    b',',
                    b'"',
                    0xff,
                    seed[at].wrapping_add(1),
                ] {
                    let mut changed = seed.clone();
                    changed[at] = byte;
                    property(&changed);
                }
                let (before, rest) = seed.split_at(at);
                property(&[before, &rest[1..]].concat());
                property(&[before, &rest[..1], rest].concat());
                property(before);
            }
        }
        assert!(seeds > 2, "{target} has {seeds} seeds");
    }

    #[test]
    fn the_properties_of_directives_hold_round_the_seeds() {
        hold_on_seeds("directives", super::directives);
    }

    #[test]
    fn the_properties_of_keys_hold_round_the_seeds() {
        hold_on_seeds("key", super::key);
    }

    #[test]
    fn the_properties_of_the_stored_form_hold_round_the_seeds() {
        hold_on_seeds("entry", super::entry);
    }

    #[test]
    fn the_properties_of_the_request_grammar_hold_round_the_seeds() {
        hold_on_seeds("head", super::head);
    }
    #[test]
    fn the_properties_of_the_short_grammar_hold_round_the_seeds() {
        hold_on_seeds("lines", super::lines);
    }
}
