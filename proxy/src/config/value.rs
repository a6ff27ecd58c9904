//! From text to values. Each parser is pure (but for `readable_file`) and answers a fault with what would be right.
//!
//! Sizes and durations must carry their unit: a bare `50` has been read as seconds by one and as milliseconds by another too often.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use larder_policy::Eagerness;

use super::{RedisUrl, Secret};
use crate::store::{Lease, MAC_KEY_BYTES_MIN};

/// What a parser answers: the value, or what is wrong and what would be right.
pub(super) type Parsed<T> = Result<T, String>;

const SIZE_UNITS: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

const DURATION_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// A number of bytes, from 1 on.
pub(super) fn size(text: &str) -> Parsed<usize> {
    let bytes = with_unit(text, SIZE_UNITS)
        .ok_or_else(|| format!("{text:?} is not a size; write a whole number and a unit, such as 256MiB (units: B, KiB, MiB, GiB, kB, MB, GB)"))?;
    match usize::try_from(bytes) {
        Ok(0) => Err("must be more than nothing; write a size such as 8MiB".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(format!("{text:?} is more than this machine can address")),
    }
}

/// A length of time, zero included.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    with_unit(text, DURATION_UNITS).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a duration; write a whole number and a unit, such as 50ms or 5m (units: ms, s, m, h, d)")
    })
}

/// A length of time that something may take: at least a millisecond, at most a day, so that adding it to a clock can't overflow.
pub(super) fn timeout(text: &str) -> Parsed<Duration> {
    let length = duration(text)?;
    if length.is_zero() {
        return Err("must be more than zero; write a duration such as 10s".to_owned());
    }
    if length > Duration::from_secs(86_400) {
        return Err(format!("{text:?} is longer than a day; write at most 1d"));
    }
    Ok(length)
}

/// A lease: long enough to be renewed over a busy network, and short enough that somebody waits for its end.
pub(super) fn lease(text: &str) -> Parsed<Lease> {
    let length = duration(text)?;
    match (Duration::from_millis(500)..=Duration::from_secs(60)).contains(&length) {
        true => Ok(Lease::new(length)),
        false => Err(format!("{text:?} is out of range; write 500ms to 60s")),
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let factor = units
        .iter()
        .find_map(|(name, factor)| (*name == unit).then_some(*factor))?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A whole number from 1 to a million.
pub(super) fn count(text: &str) -> Parsed<usize> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err(format!("{text:?} is not a whole number from 1 to 1000000")),
    }
}

/// How eager early refreshes are: a decimal number from 0 to 100, to the thousandth.
pub(super) fn eagerness(text: &str) -> Parsed<Eagerness> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let fits = are_digits(whole) && are_digits(fraction) && fraction.len() <= 3;
    let thousandths = match fits {
        true => format!("{whole}{fraction:0<3}").parse::<u32>().ok(),
        false => None,
    };
    match thousandths {
        Some(beta_thousandths @ 0..=100_000) => Ok(Eagerness { beta_thousandths }),
        _ => Err(format!(
            "{text:?} is not a number from 0 to 100 with at most three decimals; write one such as 1.0"
        )),
    }
}

/// A share of at most a half, in whole hundredths.
pub(super) fn percent(text: &str) -> Parsed<u8> {
    let number = text
        .strip_suffix('%')
        .map(|number| number.trim_end_matches(' '));
    match number.and_then(|number| number.parse().ok()) {
        Some(percent @ 0..=50) => Ok(percent),
        _ => Err(format!(
            "{text:?} is not a share from 0% to 50%; write one such as 10%"
        )),
    }
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address; write an IP address and a port, such as 127.0.0.1:8000 or [::]:8000")
    })
}

/// A file that can be opened now: better told at the start than at the first request.
pub(super) fn readable_file(text: &str) -> Parsed<PathBuf> {
    match std::fs::File::open(text) {
        Ok(_) => Ok(PathBuf::from(text)),
        Err(error) => Err(format!("the file {text:?} can't be read: {error}")),
    }
}

/// Bytes of a Unix socket's path: `sun_path` of Linux has 108, the last of them zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The path of a Unix socket, which need not be there.
pub(super) fn socket_path(text: &str) -> Parsed<PathBuf> {
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        return Err(format!(
            "{text:?} is not an absolute path of a file; write one such as /run/larder/upgrade.sock"
        ));
    }
    if text.len() > SOCKET_PATH_BYTES_MAX {
        return Err(format!(
            "has {} bytes; the system takes at most {SOCKET_PATH_BYTES_MAX} for a socket's path",
            text.len()
        ));
    }
    Ok(PathBuf::from(text))
}

/// One of `choices`.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    choices
        .iter()
        .find_map(|(name, value)| (*name == text).then_some(*value))
        .ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is none of: {}", names.join(", "))
        })
}

/// A bearer token: what a header can carry without quoting (RFC 6750 §2.1, a little wider).
pub(super) fn token(text: &str) -> Parsed<Secret> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text))
    } else {
        Err("must be one or more visible ASCII characters, without blanks".to_owned())
    }
}

/// A Redis URL. Faults don't quote it: it may hold a password.
pub(super) fn redis_url(text: &str) -> Parsed<RedisUrl> {
    RedisUrl::parse(text).map_err(|fault| fault.to_string())
}

/// A key for MACs: its text's own bytes, whatever they encode.
pub(super) fn mac_key(text: &str) -> Parsed<Secret> {
    let kinds: BTreeSet<u8> = text.bytes().collect();
    if text.len() >= MAC_KEY_BYTES_MIN && kinds.len() >= MAC_KEY_KINDS_MIN {
        Ok(Secret::new(text))
    } else {
        Err(format!(
            "must be at least {MAC_KEY_BYTES_MIN} random characters, {MAC_KEY_KINDS_MIN} or more of them different; make one with: openssl rand -base64 32"
        ))
    }
}

/// Fewer different bytes are a placeholder: of 32 random hex digits more are different but once in twenty million.
const MAC_KEY_KINDS_MIN: usize = 8;

/// The parts of a list: separated by commas or white space.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A list of host names, each with or without a port, in lower case.
pub(super) fn hosts(text: &str) -> Parsed<Vec<String>> {
    list(text).iter().map(|host| host_name(host)).collect()
}

fn host_name(text: &str) -> Parsed<String> {
    let lower = text.to_ascii_lowercase();
    let fits = larder_policy::canonical_authority("http", &lower).is_ok();
    if fits && !lower.contains('@') {
        Ok(lower)
    } else {
        Err(format!(
            "{text:?} is not a host; write a name or a name and a port, such as api.example.org or api.example.org:8443"
        ))
    }
}

/// A namespace.
pub(super) fn namespace(text: &str) -> Parsed<String> {
    let fits =
        (1..=NAMESPACE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_namespace_byte);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a namespace; write 1 to {NAMESPACE_BYTES_MAX} of A-Z a-z 0-9 . _ : -"
        ))
    }
}

/// Long enough for `host:port` of most APIs, short enough to repeat in every Redis key.
pub(super) const NAMESPACE_BYTES_MAX: usize = 64;

/// May this byte stand in a namespace?
pub(super) fn is_namespace_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:-".contains(&byte)
}
