//! No payload makes the proxy and what stands behind it see different requests: each request is answered once, by its own answer,
//! and reaches the origin at most once, whole and plain.

mod attack;
mod corpus;
mod live;
mod origin;

use crate::support::proxy::Proxy;
use attack::{DELIVERIES, attack, innocent, probe};
use corpus::{Due, Ending, Payload, Template};
use origin::{Answers, Origin, Record};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// What is known of an origin.
#[derive(Debug, Clone, Copy)]
struct Stance {
    /// It answers before it has read the content: what is left of it has no reader, and the connection may close.
    early: bool,
    /// A server of its own kind, that may refuse what we pass on, and whose log tells less than our own origin does.
    real: bool,
}

/// Some servers fold the case of methods, and no two requests differ in case alone.
fn key(line: &str) -> String {
    line.to_ascii_lowercase()
}

/// How often each request must, and may, have reached the origin.
#[derive(Debug, Default)]
struct Ledger {
    due: HashMap<String, Entry>,
    /// Requests that the origin answered.
    answered: HashSet<String>,
    /// How many it refused in words of its own.
    refused: usize,
}

#[derive(Debug)]
struct Entry {
    name: String,
    least: usize,
    most: usize,
    body: Option<Vec<u8>>,
    gone: Vec<String>,
}

impl Ledger {
    /// What a payload lets reach the origin; `certain` unless the origin refused something of it.
    fn enter(&mut self, payload: &Payload, name: &str, stance: Stance, mut certain: bool) {
        for due in &payload.due {
            certain &= !due.optional;
            self.note(due, payload, name, usize::from(certain), 1);
        }
        match &payload.ending {
            Ending::Open => {
                let probe = probe(payload).0;
                certain &= !probe.optional;
                self.note(&probe, payload, name, usize::from(certain), 1);
            }
            // A real server may pass on, and count, what it has not read to the end.
            Ending::Partial(due) => {
                self.note(due, payload, name, 0, usize::from(stance.real));
            }
            Ending::Close | Ending::Refuse | Ending::Http2 => {}
        }
    }

    fn note(&mut self, due: &Due, payload: &Payload, name: &str, least: usize, most: usize) {
        let entry = Entry {
            name: name.to_owned(),
            least,
            most,
            body: due.body.clone(),
            gone: payload.gone.clone(),
        };
        self.due.insert(key(&due.line()), entry);
    }

    /// What is wrong with what the origin has seen.
    fn compare(&self, record: &Record) -> Vec<String> {
        let mut wrong: Vec<_> = record.faults.clone();
        let mut counts = HashMap::<String, usize>::new();
        for seen in &record.seen {
            let key = key(&seen.line);
            *counts.entry(key.clone()).or_default() += 1;
            let Some(entry) = self.due.get(&key) else {
                wrong.push(format!(
                    "the origin saw {:?}, which nobody asked",
                    seen.line
                ));
                continue;
            };
            let body = seen.body.as_ref();
            if body.is_some() && entry.body.is_some() && body != entry.body.as_ref() {
                let body = String::from_utf8_lossy(body.map_or(&[], |body| body));
                wrong.push(format!("{}: another body arrived: {body:?}", entry.name));
            }
            let left = |name: &&String| entry.gone.contains(name);
            if let Some(name) = seen.names.iter().find(left) {
                wrong.push(format!("{}: {name} reached the origin", entry.name));
            }
        }
        for (line, entry) in &self.due {
            let count = counts.get(line.as_str()).copied().unwrap_or(0);
            if count < entry.least || count > entry.most {
                wrong.push(format!(
                    "{}: {line:?} reached the origin {count} times",
                    entry.name
                ));
            }
        }
        wrong
    }
}

/// Sends everything in every way, `run` being a word of its own for each call. Returns what is wrong.
async fn run(
    proxy: SocketAddr,
    corpus: &[Template],
    run: &str,
    stance: Stance,
    ledger: &mut Ledger,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for delivery in DELIVERIES {
        for (number, template) in corpus.iter().enumerate() {
            let id = format!("{run}{number:03}{}", format!("{delivery:?}").to_lowercase());
            let name = format!("{} ({delivery:?})", template.name);
            let other_name = format!("somebody else after {name}");
            for (mut payload, name) in [(template.payload(&id), name), (innocent(&id), other_name)]
            {
                if stance.early {
                    payload.may_close_after_content();
                }
                let attacked = attack(proxy, &payload, delivery).await;
                let refused = attacked.as_ref().is_ok_and(|attacked| attacked.refused > 0);
                ledger.enter(&payload, &name, stance, !refused);
                match attacked {
                    Ok(attacked) if stance.real || !refused => {
                        ledger.refused += attacked.refused;
                        ledger.answered.extend(attacked.answered);
                    }
                    Ok(_) => wrong.push(format!("{name}: an answer that is not the origin's")),
                    Err(why) => wrong.push(format!("{name}: {why}")),
                }
            }
        }
    }
    wrong
}

async fn no_payload_desynchronises(answers: Answers) {
    let origin = Origin::start(answers).await;
    let proxy = Proxy::start(origin.address, &[("profile", "rfc")]).await;
    let mut ledger = Ledger::default();
    let stance = Stance {
        early: answers == Answers::BeforeTheBody,
        real: false,
    };
    let corpus = corpus::load();
    let mut wrong = run(proxy.clients, &corpus, "p", stance, &mut ledger).await;
    wrong.extend(ledger.compare(&origin.record()));
    assert!(
        wrong.is_empty(),
        "{} findings:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_payload_desynchronises_proxy_and_origin() {
    no_payload_desynchronises(Answers::AfterTheBody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_payload_desynchronises_an_origin_that_answers_before_it_has_read() {
    no_payload_desynchronises(Answers::BeforeTheBody).await;
}

#[test]
fn the_corpus_has_at_least_two_hundred_payloads_with_names_of_their_own() {
    let corpus = corpus::load();
    let names: HashSet<_> = corpus.iter().map(|template| &template.name).collect();
    assert_eq!(names.len(), corpus.len(), "a name is given twice");
    let mut seen = HashMap::new();
    for template in &corpus {
        let other = seen.insert(template.payload("p").bytes, &template.name);
        assert_eq!(other, None, "{} sends the same", template.name);
    }
    assert!(corpus.len() >= 200, "{} payloads", corpus.len());
}
