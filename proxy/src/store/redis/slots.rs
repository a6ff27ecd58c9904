//! Which part of a Cluster does a question concern, and who holds it?
//!
//! Pure: the slot of a key, the key of a command, and what nodes answer about slots and moves.

use redis::{Arg, Cmd, Value};

use super::dial::Place;
use super::state::text;
use crate::config::Host;

/// How many slots every Cluster has.
pub(super) const SLOTS: u16 = 16384;

/// The slot of a key: of its hash tag, if it has one.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|&byte| byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// CRC-16/XMODEM, as the Cluster's specification asks for.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// The slot that a command belongs to; none when it names no key. A channel counts as a key, so
/// that those who publish and those who listen meet at one node. A script's key is its first; of
/// other commands it is the first argument.
pub(super) fn slot_of(cmd: &Cmd) -> Option<u16> {
    let mut arguments = cmd.args_iter().filter_map(|argument| match argument {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    let name = arguments.next()?;
    let first = arguments.next()?;
    let is = |known: &[&str]| {
        known
            .iter()
            .any(|k| k.as_bytes().eq_ignore_ascii_case(name))
    };
    if !is(&[
        "EVAL",
        "EVALSHA",
        "EVAL_RO",
        "EVALSHA_RO",
        "FCALL",
        "FCALL_RO",
    ]) {
        return Some(slot(first));
    }
    match arguments.next()? {
        b"0" => None,
        _ => arguments.next().map(slot),
    }
}

/// A run of slots and their primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) primary: Place,
}

/// The answer to `CLUSTER SLOTS`, sorted; none when it is no such answer. A node that doesn't tell
/// an address of its own is at the host that was asked.
pub(super) fn ranges(answer: &Value, asked: &Place) -> Option<Vec<Range>> {
    let Value::Array(rows) = answer else {
        return None;
    };
    let mut ranges: Vec<_> = rows.iter().filter_map(|row| range(row, asked)).collect();
    ranges.sort_by_key(|range| range.first);
    (!ranges.is_empty()).then_some(ranges)
}

fn range(row: &Value, asked: &Place) -> Option<Range> {
    let Value::Array(parts) = row else {
        return None;
    };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(primary),
        ..,
    ] = parts.as_slice()
    else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else {
        return None;
    };
    let host = text(host).map_or("", |bytes| std::str::from_utf8(bytes).unwrap_or("?"));
    Some(Range {
        first: u16::try_from(*first).ok()?,
        last: u16::try_from(*last).ok().filter(|last| *last < SLOTS)?,
        primary: place(host, u16::try_from(*port).ok()?, asked)?,
    })
}

fn place(host: &str, port: u16, asked: &Place) -> Option<Place> {
    let name = match host {
        "?" => return None,
        "" | "0.0.0.0" | "::" => match asked {
            Place::Tcp(asked) => asked.name.clone(),
            Place::Unix(_) => return None,
        },
        host => host.to_owned(),
    };
    (port != 0).then_some(Place::Tcp(Host { name, port }))
}

/// Where a node sends those who ask it for what it doesn't hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is another's.
    Moved(Place),
    /// The slot is on its way; this question is to be put there.
    Ask(Place),
}

pub(super) fn redirect(error: &redis::RedisError, asked: &Place) -> Option<Redirect> {
    let is_moved = match error.code()? {
        "MOVED" => true,
        "ASK" => false,
        _ => return None,
    };
    let (_slot, address) = error.detail()?.split_once(' ')?;
    let (host, port) = address.trim().rsplit_once(':')?;
    let place = place(host, port.parse().ok()?, asked)?;
    Some(if is_moved {
        Redirect::Moved(place)
    } else {
        Redirect::Ask(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, port: u16) -> Place {
        let name = name.to_owned();
        Place::Tcp(Host { name, port })
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"user1000"));
        assert_eq!(slot(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot(b"foo{bar}{zap}"), slot(b"bar"));
        assert_eq!(slot(b"a{b"), crc16(b"a{b") % SLOTS);
    }

    #[test]
    fn a_command_goes_where_its_first_key_lies() {
        let of = |words: &[&str]| {
            let mut cmd = redis::Cmd::new();
            words.iter().for_each(|word| {
                cmd.arg(*word);
            });
            slot_of(&cmd)
        };
        assert_eq!(of(&["UNLINK", "foo"]), Some(12182));
        assert_eq!(of(&["publish", "foo", "x"]), Some(12182));
        assert_eq!(of(&["EVALSHA", "abc", "1", "foo", "x"]), Some(12182));
        assert_eq!(of(&["eval", "return 1", "2", "foo", "x"]), Some(12182));
        assert_eq!(of(&["EVAL", "return 1", "0", "foo"]), None);
        assert_eq!(of(&["EVAL", "return 1"]), None);
        assert_eq!(of(&["PING"]), None);
    }

    #[test]
    fn ranges_name_their_primary_even_where_it_has_no_name() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), bulk("id")]);
        let row = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let answer = Value::Array(vec![
            row(100, 200, node(Value::Nil, 2)),
            row(0, 99, node(bulk("10.0.0.1"), 1)),
            row(201, 16384, node(bulk("a"), 1)),
            row(300, 400, node(bulk("?"), 1)),
            row(300, 400, node(bulk("a"), 70_000)),
            Value::Nil,
        ]);
        let range = |first, last, primary| Range {
            first,
            last,
            primary,
        };
        assert_eq!(
            ranges(&answer, &at("seed", 9)),
            Some(vec![
                range(0, 99, at("10.0.0.1", 1)),
                range(100, 200, at("seed", 2))
            ])
        );
        assert_eq!(ranges(&Value::Nil, &at("seed", 9)), None);
        assert_eq!(ranges(&Value::Array(vec![]), &at("seed", 9)), None);
    }

    #[test]
    fn a_redirection_says_whether_it_is_for_good() {
        let error = |code: &str, detail: &str| {
            redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
        };
        let asked = at("asked", 1);
        let of = |code, detail| redirect(&error(code, detail), &asked);
        let there = at("10.0.0.2", 7);
        assert_eq!(
            of("MOVED", "3999 10.0.0.2:7"),
            Some(Redirect::Moved(there.clone()))
        );
        assert_eq!(of("ASK", "3999 10.0.0.2:7"), Some(Redirect::Ask(there)));
        assert_eq!(
            of("MOVED", "3999 ::1:7"),
            Some(Redirect::Moved(at("::1", 7)))
        );
        assert_eq!(
            of("MOVED", "3999 :7"),
            Some(Redirect::Moved(at("asked", 7)))
        );
        assert_eq!(of("MOVED", "3999"), None);
        assert_eq!(of("CLUSTERDOWN", "3999 a:7"), None);
    }
}
