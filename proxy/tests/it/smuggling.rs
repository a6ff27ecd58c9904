//! No payload makes the proxy and what stands behind it see different requests: each request is answered once, by its own answer,
//! and reaches the origin at most once, whole and plain.

mod attack;
mod corpus;
mod origin;

use crate::support::proxy::Proxy;
use attack::{DELIVERIES, attack, innocent, probe};
use corpus::{Due, Ending, Payload, Template};
use origin::{Answers, Origin, Record};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// How often each request must, and may, have reached the origin.
#[derive(Debug, Default)]
struct Ledger {
    due: HashMap<String, Entry>,
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
    fn enter(&mut self, payload: &Payload, name: &str) {
        let mut certain = true;
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
            Ending::Partial(due) => self.note(due, payload, name, 0, 0),
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
        self.due.insert(due.line(), entry);
    }

    /// What is wrong with what the origin has seen.
    fn compare(&self, record: &Record) -> Vec<String> {
        let mut wrong: Vec<_> = record.faults.clone();
        let mut counts = HashMap::<&str, usize>::new();
        for seen in &record.seen {
            *counts.entry(&seen.line).or_default() += 1;
            let Some(entry) = self.due.get(&seen.line) else {
                wrong.push(format!(
                    "the origin saw {:?}, which nobody asked",
                    seen.line
                ));
                continue;
            };
            if entry.body.as_ref().is_some_and(|body| *body != seen.body) {
                let body = String::from_utf8_lossy(&seen.body);
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

/// Sends everything in every way. Returns what is wrong.
async fn run(
    proxy: SocketAddr,
    corpus: &[Template],
    answers: Answers,
    ledger: &mut Ledger,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for delivery in DELIVERIES {
        for (number, template) in corpus.iter().enumerate() {
            let id = format!("p{number:03}{}", format!("{delivery:?}").to_lowercase());
            let mut payload = template.payload(&id);
            if answers == Answers::BeforeTheBody {
                payload.may_close_after_content();
            }
            let name = format!("{} ({delivery:?})", payload.name);
            ledger.enter(&payload, &name);
            if let Err(why) = attack(proxy, &payload, delivery).await {
                wrong.push(format!("{name}: {why}"));
            }
            let mut other = innocent(&id);
            if answers == Answers::BeforeTheBody {
                other.may_close_after_content();
            }
            ledger.enter(&other, &format!("innocent after {name}"));
            if let Err(why) = attack(proxy, &other, delivery).await {
                wrong.push(format!("somebody else after {name}: {why}"));
            }
        }
    }
    wrong
}

async fn no_payload_desynchronises(answers: Answers) {
    let origin = Origin::start(answers).await;
    let proxy = Proxy::start(origin.address, &[("profile", "rfc")]).await;
    let mut ledger = Ledger::default();
    let mut wrong = run(proxy.clients, &corpus::load(), answers, &mut ledger).await;
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
