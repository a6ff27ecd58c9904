//! Those who ask, those who change things, and those who purge.

use super::checker::{Cover, Event};
use super::world::{HOSTS, Place, REPLICAS, TAGS, VERSION_DIGITS, World, said};
use crate::support::fault::Random;
use crate::support::proxy::PATIENCE;
use crate::support::raw::{RawClient, RawResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

const LANGUAGES: [&str; 2] = ["de", "en"];

/// Connections to each replica, kept while it is the same start of it.
#[derive(Default)]
struct Connections([Option<(usize, RawClient)>; REPLICAS]);

impl Connections {
    /// The answer, when there is one; a connection that failed is not used again.
    async fn ask(&mut self, replica: usize, place: Place, head: &str) -> Option<RawResponse> {
        let kept = self.0[replica].take().filter(|(id, _)| *id == place.id);
        let mut client = match kept {
            Some((_, client)) => client,
            None => RawClient::over(TcpStream::connect(place.clients).await.ok()?),
        };
        client.try_send(head).await.ok()?;
        let is_head = head.starts_with("HEAD ");
        let response = client.response(is_head).await.ok()??;
        let closes = response.field("connection") == Some("close");
        if !closes {
            self.0[replica] = Some((place.id, client));
        }
        Some(response)
    }
}

/// Asks for things until it is told to stop.
pub(super) async fn reader(world: Arc<World>, seed: u64, stop: Arc<AtomicBool>) {
    let (mut random, mut connections) = (Random::new(seed), Connections::default());
    while !stop.load(Ordering::SeqCst) {
        match random.below(100) {
            0 => post(&world, &mut random, &mut connections).await,
            _ => get(&world, &mut random, &mut connections).await,
        }
    }
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap()
}

async fn get(world: &World, random: &mut Random, connections: &mut Connections) {
    let (replica, place) = {
        let replica = pick(random, REPLICAS);
        (replica, world.place(replica))
    };
    let at = pick(random, world.api.resources.len());
    let resource = &world.api.resources[at];
    let method = if random.below(20) == 0 { "HEAD" } else { "GET" };
    let range = match random.below(4) {
        0 if method == "GET" && resource.target.starts_with("/part") => "Range: bytes=0-99\r\n",
        _ => "",
    };
    let language = LANGUAGES[pick(random, LANGUAGES.len())];
    let head = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nAccept-Language: {language}\r\n{range}\r\n",
        resource.target, resource.host
    );
    let request = world.number();
    world.note(Event::RequestBegun {
        request,
        resource: at,
        replica: place.id,
    });
    let answer = connections.ask(replica, place, &head).await;
    let answered = answer.and_then(|answer| {
        let version: u64 = answer.field("x-version")?.parse().ok()?;
        is_whole(&answer, version, method == "HEAD").then(|| Event::Answered {
            request,
            version,
            said: said(
                answer.field("x-cache").unwrap_or_default(),
                answer.field("cache-status").unwrap_or_default(),
                place.waives,
            ),
        })
    });
    world.note(answered.unwrap_or(Event::Unanswered { request }));
}

/// Does the body show the version that the head shows?
fn is_whole(answer: &RawResponse, version: u64, is_head: bool) -> bool {
    let shown = format!("{version:0VERSION_DIGITS$} ");
    assert!(
        is_head || answer.content.starts_with(shown.as_bytes()),
        "head and body disagree: {answer:?}"
    );
    matches!(answer.status(), 200 | 206)
}

/// An unsafe request whose answer makes a group void; that is true at once on the replica that carried it.
async fn post(world: &World, random: &mut Random, connections: &mut Connections) {
    let replica = pick(random, REPLICAS);
    let place = world.place(replica);
    let host = HOSTS[pick(random, HOSTS.len())];
    let tag = format!("t{}", pick(random, TAGS));
    let purge = world.number();
    let head = format!("POST /change?{tag} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    world.begin_purge(purge, &Cover::Group(host, tag), false);
    let answer = connections.ask(replica, place, &head).await;
    let on = Some(place.id);
    world.note(match answer.map(|answer| answer.status()) {
        Some(200) => Event::PurgeDone { purge, on },
        _ => Event::PurgeFailed { purge },
    });
}

/// Purges things until it is told to stop.
pub(super) async fn purger(world: Arc<World>, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = Random::new(seed);
    while !stop.load(Ordering::SeqCst) {
        let cover = cover(&world, &mut random);
        let soft = random.below(3) == 0;
        let (purge, place) = (world.number(), world.place(pick(&mut random, REPLICAS)));
        world.begin_purge(purge, &cover, soft);
        let is_done = purged(place, &query(&cover, soft)).await.is_some();
        world.note(match is_done {
            true => Event::PurgeDone { purge, on: None },
            false => Event::PurgeFailed { purge },
        });
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
    }
}

fn cover(world: &World, random: &mut Random) -> Cover {
    let resource = &world.api.resources[pick(random, world.api.resources.len())];
    let (host, target) = (resource.host, resource.target.clone());
    match random.below(40) {
        0..14 => Cover::Url(host, target),
        14..20 => Cover::Target(target),
        20..30 => Cover::Tag(resource.tags[pick(random, resource.tags.len())].clone()),
        30..34 => Cover::Prefix(None, target),
        34..38 => Cover::Prefix(Some(host), target.trim_end_matches(char::is_numeric).into()),
        38 => Cover::Prefix(None, "/".to_owned()),
        _ => Cover::All,
    }
}

fn query(cover: &Cover, soft: bool) -> String {
    let url = |host: &str, target: &str| format!("http://{host}{target}");
    let (name, value) = match cover {
        Cover::Url(host, target) => ("url", url(host, target)),
        Cover::Target(target) => ("url", target.clone()),
        Cover::Prefix(Some(host), prefix) => ("prefix", url(host, prefix)),
        Cover::Prefix(None, prefix) => ("prefix", prefix.clone()),
        Cover::Tag(tag) => ("tag", tag.clone()),
        Cover::All => ("all", "true".to_owned()),
        Cover::Group(..) => unreachable!("operators don't name groups of one host"),
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair(name, &value);
    query.append_pair("soft", &soft.to_string());
    query.finish()
}

/// The answer to a purge that is done.
pub(super) async fn purged(place: Place, query: &str) -> Option<serde_json::Value> {
    let asked = async {
        let mut client = RawClient::over(TcpStream::connect(place.admin).await.ok()?);
        let admin = place.admin;
        let head = format!(
            "POST /purge?{query} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        client.try_send(&head).await.ok()?;
        client.response(false).await.ok()?
    };
    let answer = timeout(PATIENCE, asked).await.ok()??;
    (answer.status() == 200).then(|| serde_json::from_slice(&answer.content).unwrap())
}
