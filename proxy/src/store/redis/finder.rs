//! Where is the server to connect to?
//!
//! Where the URL says, or where the Sentinels say that the master is. All of them are asked, since
//! one that is cut off from the others goes on naming a master that has been replaced; what most say
//! is tried first. Whether the place really holds a master is the caller's to check.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{RedisResult, Value};
use tokio::time::timeout;

use super::dial::{Dialer, Place, Wire};
use super::node::{Why, is_from_server, turns_us_away};
use super::state::text;
use crate::config::Host;

/// A Sentinel that takes longer is not waited for, connecting included.
const SENTINEL_MAX: Duration = Duration::from_millis(500);

/// Who knows where the server is.
#[derive(Debug)]
pub(super) enum Finder {
    Fixed(Place),
    Sentinels(Sentinels),
}

/// The Sentinels of one master.
#[derive(Debug)]
pub(super) struct Sentinels {
    dialer: Dialer,
    master: String,
    each: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    place: Place,
    wire: Mutex<Option<Wire>>,
}

/// What a Sentinel says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Master(Place),
    KnowsNone,
    TurnsAway,
    Silent,
}

impl Finder {
    /// Where to try, the likeliest first.
    pub(super) async fn places(&self) -> Result<Vec<Place>, Why> {
        match self {
            Self::Fixed(place) => Ok(vec![place.clone()]),
            Self::Sentinels(sentinels) => ranked(&sentinels.words().await),
        }
    }

    pub(super) fn wants_master(&self) -> bool {
        matches!(self, Self::Sentinels(_))
    }

    /// Do most of the Sentinels, silent ones counted, name another place? Fewer may be cut off.
    pub(super) async fn is_elsewhere(&self, place: &Place) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Sentinels(sentinels) => {
                let words = sentinels.words().await;
                majority(&words).is_some_and(|named| named != place)
            }
        }
    }
}

impl Sentinels {
    pub(super) fn new(dialer: Dialer, hosts: &[Host], master: String) -> Self {
        let each = hosts.iter().cloned().map(|host| Sentinel {
            place: Place::Tcp(host),
            wire: Mutex::new(None),
        });
        Self {
            dialer,
            master,
            each: each.collect(),
        }
    }

    async fn words(&self) -> Vec<Word> {
        let each = self.each.iter().map(|sentinel| self.word_of(sentinel));
        join_all(each).await
    }

    async fn word_of(&self, sentinel: &Sentinel) -> Word {
        match timeout(SENTINEL_MAX, self.ask(sentinel)).await {
            Ok(Ok(answer)) => master_in(&answer),
            Ok(Err(error)) if turns_us_away(&error) => Word::TurnsAway,
            Ok(Err(error)) if is_from_server(&error) => Word::KnowsNone,
            Ok(Err(_)) | Err(_) => {
                sentinel.set_wire(None);
                Word::Silent
            }
        }
    }

    async fn ask(&self, sentinel: &Sentinel) -> RedisResult<Value> {
        let known = sentinel.wire();
        let wire = match known {
            Some(wire) => wire,
            None => self.dialer.wire(&sentinel.place).await?,
        };
        sentinel.set_wire(Some(wire.clone()));
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        wire.ask(&cmd).await
    }
}

impl Sentinel {
    fn wire(&self) -> Option<Wire> {
        let wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        wire.clone()
    }

    fn set_wire(&self, new: Option<Wire>) {
        *self.wire.lock().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

fn master_in(answer: &Value) -> Word {
    let Value::Array(parts) = answer else {
        return Word::KnowsNone;
    };
    let text = |place: usize| std::str::from_utf8(parts.get(place).and_then(text)?).ok();
    match (text(0), text(1).and_then(|port| port.parse().ok())) {
        (Some(name), Some(port)) => Word::Master(Place::Tcp(Host {
            name: name.to_owned(),
            port,
        })),
        _ => Word::KnowsNone,
    }
}

/// The places named, that of most first; those named equally often in the order of the Sentinels.
fn ranked(words: &[Word]) -> Result<Vec<Place>, Why> {
    let mut votes: Vec<(Place, usize)> = Vec::new();
    for word in words {
        let Word::Master(place) = word else { continue };
        match votes.iter_mut().find(|(known, _)| known == place) {
            Some((_, count)) => *count += 1,
            None => votes.push((place.clone(), 1)),
        }
    }
    votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if !votes.is_empty() {
        return Ok(votes.into_iter().map(|(place, _)| place).collect());
    }
    Err(if words.contains(&Word::TurnsAway) {
        Why::TurnedAway
    } else if words.contains(&Word::KnowsNone) {
        Why::UnknownMaster
    } else {
        Why::NoSentinel
    })
}

/// The place that more than half of all name.
fn majority(words: &[Word]) -> Option<&Place> {
    words.iter().find_map(|word| {
        let Word::Master(place) = word else {
            return None;
        };
        let votes = words.iter().filter(|other| *other == word).count();
        (votes * 2 > words.len()).then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Place {
        let name = "10.0.0.1".to_owned();
        Place::Tcp(Host { name, port })
    }

    #[test]
    fn what_most_sentinels_say_is_tried_first() {
        let words = [1, 2, 2].map(|port| Word::Master(at(port)));
        assert_eq!(ranked(&words), Ok(vec![at(2), at(1)]));
        let words = [Word::Silent, Word::KnowsNone, Word::Master(at(3))];
        assert_eq!(ranked(&words), Ok(vec![at(3)]));
    }

    #[test]
    fn one_of_three_sentinels_is_no_majority_though_the_others_are_silent() {
        let master = |port| Word::Master(at(port));
        let lone = [Word::Silent, master(1), Word::Silent];
        assert_eq!(majority(&lone), None);
        let split = [master(1), master(2)];
        assert_eq!(majority(&split), None);
        let most = [Word::Silent, master(2), master(2)];
        assert_eq!(majority(&most), Some(&at(2)));
        assert_eq!(majority(&[master(1)]), Some(&at(1)));
    }

    #[test]
    fn without_a_master_the_most_telling_reason_is_given() {
        assert_eq!(ranked(&[Word::Silent]), Err(Why::NoSentinel));
        let words = [Word::Silent, Word::KnowsNone];
        assert_eq!(ranked(&words), Err(Why::UnknownMaster));
        let words = [Word::KnowsNone, Word::TurnsAway];
        assert_eq!(ranked(&words), Err(Why::TurnedAway));
    }

    #[test]
    fn a_sentinel_s_answer_is_a_name_and_a_port() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pair = |name, port| Value::Array(vec![bulk(name), bulk(port)]);
        assert_eq!(master_in(&pair("10.0.0.1", "7")), Word::Master(at(7)));
        assert_eq!(master_in(&pair("10.0.0.1", "x")), Word::KnowsNone);
        assert_eq!(master_in(&Value::Nil), Word::KnowsNone);
        assert_eq!(master_in(&Value::Array(vec![])), Word::KnowsNone);
    }
}
