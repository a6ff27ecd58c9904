//! Making stored responses unusable: because an unsafe request changed what they show (RFC 9111 §4.4), or because an operator
//! says so.

use super::plan::SCHEME;
use super::{Engine, Request};
use crate::config::UpstreamHost;
use crate::store::{Applied, Purge, PurgeError, RedisState, Scope};
use http::{HeaderMap, StatusCode};
use larder_policy::{
    CacheKey, QueryRules, canonical_authority, canonical_target, invalidated_groups, invalidates,
    invalidation_targets,
};
use std::time::Duration;
use tokio::time::timeout;

/// What an operator wants purged: everything that any of these names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurgeOrder {
    /// URLs as a client sends them, `http://host/path?query`; without an authority: that target on every host.
    pub urls: Vec<String>,
    /// Tags and groups, on all hosts.
    pub tags: Vec<String>,
    /// Beginnings of URLs, `http://host/path`; without an authority: on every host.
    pub prefixes: Vec<String>,
    /// Everything.
    pub all: bool,
    /// Make it stale rather than unusable.
    pub soft: bool,
}

/// What a purge did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// What was purged, URLs and prefixes in their canonical form.
    pub names: Vec<String>,
    /// How far it has come.
    pub applied: Applied,
}

/// Why a purge could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PurgeFault {
    /// The order names something that can't be stored: its author's fault.
    #[error("{0}")]
    Bad(String),
    /// Not everywhere: it is to be repeated.
    #[error("the purge is not known to be done, repeat it: {0}")]
    Unavailable(PurgeError),
}

/// A URL, or the beginning of one, as an operator gives it.
struct Named {
    /// As it is keyed; all hosts when there is none.
    authority: Option<String>,
    /// From the path on.
    target: String,
}

impl Engine {
    /// Makes a purge, and returns when it is true on every replica: whatever is asked for from then on is answered with
    /// nothing that was fetched before.
    pub async fn purge(&self, order: &PurgeOrder) -> Result<Purged, PurgeFault> {
        let mut purges = Vec::new();
        let mut names = Vec::new();
        for url in &order.urls {
            let (scope, name) = self.url_scope(url)?;
            purges.push(scope);
            names.push(name);
        }
        for prefix in &order.prefixes {
            let (scope, name) = self.prefix_scope(prefix)?;
            purges.push(scope);
            names.push(name);
        }
        for tag in &order.tags {
            purges.push(Scope::Tag(tag.clone().into_bytes()));
            names.push(tag.clone());
        }
        if order.all {
            purges.push(Scope::All);
            names.push("*".to_owned());
        }
        let soft = order.soft;
        let purges: Vec<_> = purges
            .into_iter()
            .map(|scope| Purge { scope, soft })
            .collect();
        let applied = self
            .store
            .purge(&purges)
            .await
            .map_err(|error| match error {
                PurgeError::TooLong(why) => PurgeFault::Bad(why.to_string()),
                error => PurgeFault::Unavailable(error),
            })?;
        if !soft {
            self.drop_urls(&purges).await;
        }
        Ok(Purged { names, applied })
    }

    /// What has become unusable by name need not wait for its eviction.
    async fn drop_urls(&self, purges: &[Purge]) {
        for purge in purges {
            if let Scope::Url(key) = &purge.scope {
                self.forget(key).await;
            }
        }
    }

    fn url_scope(&self, url: &str) -> Result<(Scope, String), PurgeFault> {
        let Named { authority, target } = self.named(url)?;
        let route = self.route(&target);
        let canonical = canonical_target(&target, &route.query).map_err(|why| {
            PurgeFault::Bad(format!(
                "no response can be stored under {target:?} ({why:?})"
            ))
        })?;
        Ok(match authority {
            Some(host) => {
                let name = format!("{SCHEME}://{host}{canonical}");
                (Scope::Url(self.key(&host, &canonical, route)), name)
            }
            None => (Scope::Target(canonical.to_string()), canonical.to_string()),
        })
    }

    fn prefix_scope(&self, prefix: &str) -> Result<(Scope, String), PurgeFault> {
        let Named { authority, target } = self.named(prefix)?;
        let fault = |why: &str| PurgeFault::Bad(format!("the prefix {target:?} {why}"));
        if target.contains('?') {
            let why = "has a query; parameters are sorted before they are keyed, so a prefix ends with the path: purge by url or tag";
            return Err(fault(why));
        }
        let canonical = canonical_target(&target, &QueryRules::default())
            .map_err(|why| fault(&format!("begins no path that is stored ({why:?})")))?;
        let prefix = canonical.to_string();
        let name = match &authority {
            Some(host) => format!("{SCHEME}://{host}{prefix}"),
            None => prefix.clone(),
        };
        Ok((Scope::Prefix { authority, prefix }, name))
    }

    /// Reads a URL as an operator gives it.
    fn named(&self, url: &str) -> Result<Named, PurgeFault> {
        let hint = "give the URL as a client sends it: http://host:port/path?query, or /path?query for every host";
        let (scheme, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => ("http", rest),
            (_, Some(rest)) => ("https", rest),
            _ if url.starts_with('/') => {
                let target = url.to_owned();
                let authority = None;
                return Ok(Named { authority, target });
            }
            _ => return Err(PurgeFault::Bad(format!("{url:?} is not a URL: {hint}"))),
        };
        let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(path_at);
        let authority = canonical_authority(scheme, authority).map_err(|_| {
            PurgeFault::Bad(format!(
                "{authority:?} is not a host with an optional port: {hint}"
            ))
        })?;
        let target = if target.starts_with('/') {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        // Where all clients see one upstream, the host is no part of the key.
        let authority = Some(match self.config.upstream_host {
            UpstreamHost::Client => authority,
            UpstreamHost::Upstream | UpstreamHost::Name(_) => String::new(),
        });
        Ok(Named { authority, target })
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
            self.invalidate_groups(&authority, groups).await;
        }
        let others = invalidation_targets(request.target, SCHEME, &authority, response);
        for target in std::iter::once(request.target).chain(others.iter().map(String::as_str)) {
            let route = self.route(target);
            if let Ok(target) = canonical_target(target, &route.query) {
                self.forget(&self.key(&authority, &target, route)).await;
            }
        }
    }

    /// Like a purge that an operator makes, on every replica; but nobody is told when it can't be made, for the request that
    /// caused it has been answered.
    async fn invalidate_groups(&self, authority: &str, groups: Vec<String>) {
        let origin = self.origin(authority);
        let purge = |name| Purge {
            scope: Scope::Group {
                origin: origin.clone(),
                name,
            },
            soft: false,
        };
        let purges: Vec<_> = groups.into_iter().map(purge).collect();
        if let Err(error) = self.store.announce(&purges).await {
            tracing::warn!(%error, "groups that an answer invalidated may still be served");
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
        let mut removal = Box::pin(async move { store.remove(&owned).await.is_ok() });
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
