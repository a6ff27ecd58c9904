//! Making stored responses unusable: because an unsafe request changed what they show (RFC 9111 §4.4), or because an operator
//! says so.

use super::plan::SCHEME;
use super::{Engine, Request};
use crate::clock;
use crate::config::UpstreamHost;
use crate::store::RedisState;
use http::{HeaderMap, StatusCode};
use larder_policy::{
    CacheKey, canonical_authority, canonical_target, invalidated_groups, invalidates,
    invalidation_targets,
};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Hosts remembered for purges that name none. An upstream that answers more names than this must be purged with the name.
const HOSTS_SEEN_MAX: usize = 1024;

/// The hosts that clients have named.
#[derive(Debug, Default)]
pub(super) struct HostsSeen(Mutex<BTreeSet<String>>);

impl HostsSeen {
    pub(super) fn note(&self, authority: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains(authority) && seen.len() < HOSTS_SEEN_MAX {
            seen.insert(authority.to_owned());
        }
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}

/// What a purge took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The canonical URLs, as they are keyed.
    pub urls: Vec<String>,
    /// Responses that went from this process's memory.
    pub entries: usize,
}

/// Why a purge could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PurgeFault {
    #[error("{0}")]
    BadUrl(String),
    /// Memory is purged; Redis could not be reached, so its copies may come back.
    #[error("Redis could not be reached; memory is purged, Redis is not: {0}")]
    Redis(String),
}

impl Engine {
    /// Takes away every variant of a URL as a client sends it: `http://host/path?query`, or `/path?query` for every host that
    /// clients have named.
    pub async fn purge_url(&self, url: &str) -> Result<Purged, PurgeFault> {
        let (hosts, target) = self.purge_targets(url)?;
        let route = self.route(&target);
        let canonical = canonical_target(&target, &route.query).map_err(|why| {
            PurgeFault::BadUrl(format!(
                "no response can be stored under {target:?} ({why:?})"
            ))
        })?;
        let mut purged = Purged {
            urls: Vec::new(),
            entries: 0,
        };
        for host in hosts {
            let key = self.key(&host, &canonical, route);
            self.flights.forget(&key);
            let taken = self
                .store
                .purge(&key)
                .await
                .map_err(|error| PurgeFault::Redis(error.to_string()))?;
            purged.entries += taken.memory;
            purged.urls.push(format!("{SCHEME}://{host}{canonical}"));
        }
        Ok(purged)
    }

    /// The hosts and the target that a purge's URL means.
    fn purge_targets(&self, url: &str) -> Result<(Vec<String>, String), PurgeFault> {
        let hint = "give the URL as a client sends it: http://host:port/path?query, or /path?query for every host";
        let (scheme, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => ("http", rest),
            (_, Some(rest)) => ("https", rest),
            _ if url.starts_with('/') => return Ok((self.hosts_known(), url.to_owned())),
            _ => return Err(PurgeFault::BadUrl(format!("{url:?} is not a URL: {hint}"))),
        };
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(path_at);
        let authority = canonical_authority(scheme, authority).map_err(|_| {
            PurgeFault::BadUrl(format!(
                "{authority:?} is not a host with an optional port: {hint}"
            ))
        })?;
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        let host = if self.config.upstream_host == UpstreamHost::Client {
            authority
        } else {
            String::new()
        };
        Ok((vec![host], target))
    }

    fn hosts_known(&self) -> Vec<String> {
        match self.config.upstream_host {
            UpstreamHost::Client => self.hosts_seen.all(),
            UpstreamHost::Upstream | UpstreamHost::Name(_) => vec![String::new()],
        }
    }

    /// An unsafe request was answered: its target, and what the answer names on the same host,
    /// by URL or by group, may have changed.
    pub async fn invalidate(
        &self,
        request: &Request<'_>,
        status: StatusCode,
        response: &HeaderMap,
    ) {
        if !invalidates(request.method, status) {
            return;
        }
        // HTTP/1.0 may name no host, and then neither may the requests whose answers are stored.
        let named = request.authority.unwrap_or_default();
        let authority = canonical_authority(SCHEME, named).unwrap_or_default();
        let groups = invalidated_groups(request.method, status, response);
        if !groups.is_empty() {
            self.store
                .invalidate_groups(&self.origin(&authority), &groups, clock::now());
        }
        let others = invalidation_targets(request.target, SCHEME, &authority, response);
        for target in std::iter::once(request.target).chain(others.iter().map(String::as_str)) {
            let route = self.route(target);
            if let Ok(target) = canonical_target(target, &route.query) {
                self.forget(&self.key(&authority, &target, route)).await;
            }
        }
    }

    /// Takes a URL's responses away and lets nobody join the fetches that are under way. Redis out of reach is its own
    /// breaker's and counter's matter: the request that caused this has been answered, and that answer waits for Redis no
    /// longer than a look-up does, and not at all while Redis is known to be away. The removal goes on behind it.
    pub(super) async fn forget(&self, key: &CacheKey) {
        self.flights.forget(key);
        let patience = match self.store.redis_state() {
            RedisState::Connected => self.config.redis_timeout,
            RedisState::Off | RedisState::Down => Duration::ZERO,
        };
        let (store, owned) = (self.store.clone(), key.clone());
        let mut removal = Box::pin(async move { store.purge(&owned).await.is_ok() });
        // Its first step, and with it memory, is done in any case.
        if timeout(patience, &mut removal).await.is_ok() {
            return;
        }
        match self.removals.clone().try_acquire_owned() {
            Ok(room) => drop(tokio::spawn(async move {
                removal.await;
                drop(room);
            })),
            Err(_) => tracing::warn!("too many removals wait for Redis; one is left out"),
        }
    }
}
