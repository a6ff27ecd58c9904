//! What a history happens in: an API with versions, three replicas, Redis, and a link between each replica and Redis.

use super::checker::{Cover, Event, Resource, Said};
use crate::support::fault::FaultProxy;
use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Asked, Body, Upstream, respond};
use http::{Method, Response};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

pub(super) const REPLICAS: usize = 3;
pub(super) const HOSTS: [&str; 2] = ["a.example", "b.example"];
pub(super) const TAGS: usize = 8;
const FOLDERS: [&str; 4] = ["plain", "later", "vary", "part"];
const PER_FOLDER: usize = 12;
/// A body begins with its version, in so many digits.
pub(super) const VERSION_DIGITS: usize = 12;

/// All that can be asked for, and what the API has of it.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) resources: Vec<Resource>,
    /// Of each resource; only ever grows.
    versions: Vec<AtomicU64>,
    version: AtomicU64,
    answered: AtomicU64,
}

impl Api {
    fn new() -> Self {
        let mut resources = Vec::new();
        for host in HOSTS {
            for (folder, number) in FOLDERS
                .iter()
                .flat_map(|f| (0..PER_FOLDER).map(move |n| (*f, n)))
            {
                resources.push(Resource {
                    host,
                    target: format!("/{folder}/{number}"),
                    tags: [number % TAGS, (number * 3 + 1) % TAGS].map(tag).to_vec(),
                    while_revalidate: folder == "later",
                });
            }
        }
        Self {
            versions: resources.iter().map(|_| AtomicU64::new(1)).collect(),
            resources,
            version: AtomicU64::new(1),
            answered: AtomicU64::new(0),
        }
    }

    /// Makes something new of all that this covers; says which version that is.
    pub(super) fn change(&self, cover: &Cover) -> u64 {
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        for (resource, own) in self.resources.iter().zip(&self.versions) {
            if cover.covers(resource) {
                own.fetch_max(version, Ordering::SeqCst);
            }
        }
        version
    }

    async fn answer(self: Arc<Self>, asked: Asked) -> Response<Body> {
        let host = asked
            .headers
            .get("host")
            .and_then(|host| host.to_str().ok());
        if asked.method == Method::POST {
            let group = asked.target.split_once('?').map_or("", |(_, group)| group);
            let void = format!("\"{group}\"");
            return respond(200, &[("cache-group-invalidation", void.as_str())], "");
        }
        let place = self
            .resources
            .iter()
            .position(|resource| Some(resource.host) == host && resource.target == asked.target);
        let Some(place) = place else {
            return respond(404, &[("cache-control", "no-store")], "");
        };
        // The version is that at the beginning: what takes long is old when it comes.
        let version = self.versions[place].load(Ordering::SeqCst);
        let turn = self.answered.fetch_add(1, Ordering::SeqCst);
        let pause_ms = if turn.is_multiple_of(50) {
            40
        } else {
            turn % 4
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        page(&self.resources[place], version, &asked)
    }
}

fn tag(number: usize) -> String {
    format!("t{number}")
}

fn page(resource: &Resource, version: u64, asked: &Asked) -> Response<Body> {
    let field = |name: &str| {
        asked
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let language = field("accept-language").unwrap_or_default();
    let (tagged, shown) = (resource.tags.join(","), version.to_string());
    let etag = format!("\"{version}{language}\"");
    let groups: Vec<_> = resource
        .tags
        .iter()
        .map(|tag| format!("\"{tag}\""))
        .collect();
    let groups = groups.join(", ");
    let mut fields = vec![
        ("cache-tag", tagged.as_str()),
        ("cache-groups", &groups),
        ("x-version", &shown),
        ("etag", &etag),
        ("vary", "accept-language"),
    ];
    fields.push(match resource.while_revalidate {
        true => ("cache-control", "max-age=600, stale-while-revalidate=600"),
        false => ("cache-control", "max-age=600"),
    });
    if !resource.target.starts_with("/vary") {
        fields.retain(|(name, _)| *name != "vary");
    }
    if field("if-none-match") == Some(&etag) {
        return respond(304, &fields, "");
    }
    let mut body = format!(
        "{version:0VERSION_DIGITS$} {} {} ",
        resource.host, resource.target
    );
    body.push_str(&"x".repeat(300));
    let wants_part = field("range") == Some("bytes=0-99")
        && field("if-range").is_none_or(|validator| validator == etag);
    if resource.target.starts_with("/part") && wants_part {
        let range = format!("bytes 0-99/{}", body.len());
        fields.push(("content-range", &range));
        body.truncate(100);
        return respond(206, &fields, body);
    }
    respond(200, &fields, body)
}

/// Where a replica is at present.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) clients: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Which start of which replica this is.
    pub(super) id: usize,
    /// It may serve what it can't verify.
    pub(super) waives: bool,
}

/// What was noted so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) events: Vec<Event>,
    /// What was done to Redis and the replicas: after how many events, and what.
    pub(super) faults: Vec<(usize, String)>,
}

/// All of it, for many tasks.
#[derive(Debug)]
pub(super) struct World {
    pub(super) api: Arc<Api>,
    upstream: Upstream,
    pub(super) links: Vec<FaultProxy>,
    places: RwLock<Vec<Place>>,
    notes: Mutex<Notes>,
    ids: AtomicUsize,
}

impl World {
    /// Everything at peace.
    pub(super) async fn start(redis: &PrivateRedis) -> (Arc<Self>, Vec<Proxy>) {
        let api = Arc::new(Api::new());
        let shared = Arc::clone(&api);
        let upstream =
            Upstream::start_forgetful(move |asked| Arc::clone(&shared).answer(asked)).await;
        let mut links = Vec::new();
        for _ in 0..REPLICAS {
            links.push(FaultProxy::before_socket(redis.socket()).await);
        }
        let world = Arc::new(Self {
            api,
            upstream,
            links,
            places: RwLock::default(),
            notes: Mutex::default(),
            ids: AtomicUsize::new(0),
        });
        let mut proxies = Vec::new();
        for replica in 0..REPLICAS {
            let proxy = world.begin(replica).await;
            let place = world.place_of(&proxy, replica);
            world.places.write().unwrap().push(place);
            proxies.push(proxy);
        }
        (world, proxies)
    }

    /// Starts a replica, which nobody is sent to yet. One has nearly no memory, so that it lives on Redis; one serves on when
    /// it is cut off.
    async fn begin(&self, replica: usize) -> Proxy {
        let redis = format!("redis://{}", self.links[replica].address);
        let memory = if replica == 1 { "2KiB" } else { "4MiB" };
        let rule = if replica == 2 { "serve" } else { "origin" };
        let settings = [
            ("redis", redis.as_str()),
            ("memory", memory),
            ("on_partition", rule),
            ("purge_lease", "2s"),
        ];
        Proxy::start(self.upstream.address, &settings).await
    }

    /// Starts it anew; the old one drains.
    pub(super) async fn restart(&self, replica: usize, proxy: &mut Proxy) {
        let next = self.begin(replica).await;
        self.places.write().unwrap()[replica] = self.place_of(&next, replica);
        let mut old = std::mem::replace(proxy, next);
        old.stop();
        (&mut old.running).await.unwrap().unwrap();
    }

    fn place_of(&self, proxy: &Proxy, replica: usize) -> Place {
        Place {
            clients: proxy.clients,
            admin: proxy.admin,
            id: self.ids.fetch_add(1, Ordering::SeqCst),
            waives: replica == 2,
        }
    }

    pub(super) fn place(&self, replica: usize) -> Place {
        self.places.read().unwrap()[replica]
    }

    /// A number that no other purge or request has.
    pub(super) fn number(&self) -> usize {
        self.ids.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn note(&self, event: Event) {
        self.notes.lock().unwrap().events.push(event);
    }

    /// Notes what nothing may come between: the API changes, and the purge that tells of it begins.
    pub(super) fn begin_purge(&self, purge: usize, cover: &Cover, soft: bool) {
        let mut notes = self.notes.lock().unwrap();
        let version = self.api.change(cover);
        let cover = cover.clone();
        notes.events.push(Event::PurgeBegun {
            purge,
            cover,
            soft,
            version,
        });
    }

    pub(super) fn note_fault(&self, told: String) {
        let mut notes = self.notes.lock().unwrap();
        let at = notes.events.len();
        notes.faults.push((at, told));
    }

    pub(super) fn count(&self) -> usize {
        self.notes.lock().unwrap().events.len()
    }

    pub(super) fn take_notes(&self) -> Notes {
        std::mem::take(&mut self.notes.lock().unwrap())
    }
}

/// What `X-Cache` and `Cache-Status` say, as far as it excuses an answer's age.
pub(super) fn said(result: &str, status: &str, waives: bool) -> Said {
    match result {
        "HIT" | "STALE" if waives && status.contains("detail=unverified") => Said::Unverified,
        "STALE" => Said::Stale,
        _ => Said::Good,
    }
}
