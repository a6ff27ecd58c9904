//! From a request to its plan: whether the cache is concerned at all, under which key, and what would go upstream.
//!
//! One canonical form serves as the key and as what is forwarded, so no two spellings that the upstream could tell apart
//! ever share a stored response.

use super::{Engine, Request};
use crate::config::{Config, UpstreamHost};
use crate::flight::FlightKey;
use crate::store::Mark;
use crate::trace::{REQUEST_ID, TRACEPARENT, TRACESTATE};
use crate::upstream::UpstreamRequest;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use larder_policy::{
    CacheKey, CanonicalTarget, Consideration, Failure, Lookup, Pass, QueryRules, Route,
    canonical_authority, canonical_target, consider, forwarded_fields, is_canonical_target,
};
use std::time::Instant;

/// The scheme of the target URI: the port for clients speaks cleartext, and what a client claims elsewhere is not keyed.
pub(super) const SCHEME: &str = "http";

/// What is to be done for a request that the cache may answer.
#[derive(Debug)]
pub(super) struct Plan<'e> {
    pub(super) key: CacheKey,
    pub(super) lookup: Lookup,
    pub(super) target: CanonicalTarget,
    pub(super) route: &'e Route,
    /// The `Host` that goes upstream.
    pub(super) host: String,
    /// From before the look-up: what is purged after it must not be stored again, and a validation may begin long after.
    pub(super) mark: Mark,
    /// Until when Redis may let it wait: one deadline for all that is asked before the upstream is.
    pub(super) redis_answers_by: Instant,
}

impl Plan<'_> {
    /// Whose fetch this request may share.
    pub(super) fn flight(&self) -> FlightKey {
        FlightKey {
            key: self.key.clone(),
            names_caller: self.lookup.names_caller,
        }
    }
}

/// Why there is no plan.
#[derive(Debug)]
pub(super) enum Refused {
    Pass(Pass),
    Fault(Failure, String),
}

impl Engine {
    pub(super) fn plan(&self, request: &Request<'_>) -> Result<Plan<'_>, Refused> {
        let authority = self.authority(request)?;
        self.refuse_loop(request.headers)?;
        let route = self.route(request.target);
        let lookup = match consider(
            request.method,
            request.headers,
            request.has_body,
            &self.config.rules,
            route,
        ) {
            Consideration::Lookup(lookup) => lookup,
            Consideration::Pass(pass) => return Err(Refused::Pass(pass)),
        };
        let target = canonical_target(request.target, &route.query)
            .map_err(|why| Refused::Pass(Pass::Target(why)))?;
        let host = self.host_upstream(&authority);
        let key = self.key(&authority, &target, route);
        Ok(Plan {
            key,
            lookup,
            target,
            route,
            host,
            mark: self.store.mark(),
            redis_answers_by: Instant::now() + self.config.redis_timeout,
        })
    }

    /// What holds for a target, by its canonical path: no other spelling of a path escapes its route.
    pub(super) fn route(&self, target: &str) -> &Route {
        let path = target.split('?').next().unwrap_or(target);
        if is_canonical_target(path, &QueryRules::default()) {
            return self.config.route_for(path);
        }
        match canonical_target(path, &QueryRules::default()) {
            Ok(path) => self.config.route_for(path.as_str()),
            Err(_) => self.config.route_for(path),
        }
    }

    pub(super) fn key(&self, authority: &str, target: &CanonicalTarget, route: &Route) -> CacheKey {
        // Their values select among a URL's variants, as those of `Vary` do: a purge takes all. The names are here so that
        // nothing which was stored under other rules is found.
        let keyed: Vec<_> = route
            .keyed_fields
            .iter()
            .map(|name| (name.as_str(), None))
            .collect();
        CacheKey::new(
            &self.config.namespace,
            SCHEME,
            self.keyed_host(authority),
            target,
            None,
            &keyed,
        )
    }

    /// What the keys of all targets on this host begin with.
    pub(super) fn origin(&self, authority: &str) -> Vec<u8> {
        CacheKey::origin_of(&self.config.namespace, SCHEME, self.keyed_host(authority))
    }

    fn keyed_host<'a>(&self, authority: &'a str) -> &'a str {
        match self.config.upstream_host {
            UpstreamHost::Client => authority,
            UpstreamHost::Upstream | UpstreamHost::Name(_) => "",
        }
    }

    /// The canonical authority that the client names, if it is one that is served.
    pub(super) fn authority(&self, request: &Request<'_>) -> Result<String, Refused> {
        let named = request.authority.unwrap_or_default();
        if named.is_empty() {
            if self.config.hosts.is_empty() && self.config.upstream_host != UpstreamHost::Client {
                return Ok(String::new());
            }
            // HTTP/1.0 may leave it out; what to answer is then the upstream's to say.
            return Err(
                match request.headers.contains_key(header::HOST) || !self.config.hosts.is_empty() {
                    true => Refused::Fault(
                        Failure::BadRequest,
                        "The Host field is missing or empty; name the host that is asked.".into(),
                    ),
                    false => Refused::Pass(Pass::Target(larder_policy::Unkeyable::NotOriginForm)),
                },
            );
        }
        let Some(authority) = canonical(named) else {
            let detail =
                "The Host field is not a host with an optional port, as in example.org:8000.";
            return Err(Refused::Fault(Failure::BadRequest, detail.into()));
        };
        if !self.config.answers_host(&authority) {
            return Err(Refused::Fault(
                Failure::Misdirected,
                format!("This proxy does not serve the host {authority}."),
            ));
        }
        Ok(authority)
    }

    fn refuse_loop(&self, headers: &HeaderMap) -> Result<(), Refused> {
        if comes_back(headers, &self.via) {
            let detail = "The request has already passed through this proxy: its upstream leads back to itself.";
            return Err(Refused::Fault(Failure::Loop, detail.into()));
        }
        Ok(())
    }

    /// The `Host` for the upstream.
    pub(crate) fn host_upstream(&self, authority: &str) -> String {
        match &self.config.upstream_host {
            UpstreamHost::Client => authority.to_owned(),
            UpstreamHost::Upstream => self.config.upstream.authority(),
            UpstreamHost::Name(name) => name.clone(),
        }
    }

    /// The request for the upstream, without conditions of ours yet.
    pub(super) fn upstream_request(
        &self,
        request: &Request<'_>,
        plan: &Plan<'_>,
    ) -> UpstreamRequest {
        let mut headers = forwarded_fields(request.headers, &self.config.rules, plan.route);
        if let Ok(host) = HeaderValue::from_str(&plan.host) {
            headers.insert(header::HOST, host);
        }
        add_via(&mut headers, &self.via);
        add_trace(&mut headers, request);
        UpstreamRequest {
            method: request.method.clone(),
            target: plan.target.as_str().to_owned(),
            headers,
        }
    }

    pub(crate) fn via(&self) -> &str {
        &self.via
    }
}

/// The canonical form of a host as a client names it.
pub(super) fn canonical(named: &str) -> Option<String> {
    canonical_authority(SCHEME, named).ok()
}

/// Fields by which a client asks on condition that its own copy is old (RFC 9110 §13.1).
pub(super) const CLIENT_CONDITIONS: [HeaderName; 2] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// The name of this proxy in `Via`: the same for all replicas before one upstream, another for every other upstream, so that
/// proxies may stand behind each other and still see a loop.
pub fn via_pseudonym(config: &Config) -> String {
    let name = format!("{}\0{}", config.namespace, config.upstream.authority());
    format!(
        "larder-{:08x}",
        xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as u32
    )
}

/// Adds this proxy to `Via` (RFC 9110 §7.6.3).
pub(crate) fn add_via(headers: &mut HeaderMap, pseudonym: &str) {
    if let Ok(via) = HeaderValue::try_from(format!("1.1 {pseudonym}")) {
        headers.append(header::VIA, via);
    }
}

/// Says which request of which trace this is. What the route took out of the client's fields stays out.
fn add_trace(headers: &mut HeaderMap, request: &Request<'_>) {
    let Some(sent) = request.trace.sent(request.headers) else {
        return;
    };
    headers.insert(TRACEPARENT, sent.traceparent.clone());
    headers.insert(REQUEST_ID, sent.request_id.clone());
    if !sent.keeps_state {
        headers.remove(TRACESTATE);
    }
}

/// Has a request with these fields passed this proxy before?
pub(crate) fn comes_back(headers: &HeaderMap, pseudonym: &str) -> bool {
    headers
        .get_all(header::VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|member| member.split_ascii_whitespace().nth(1) == Some(pseudonym))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_name_in_via_is_a_loop() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::VIA,
            HeaderValue::from_static("1.1 larder-00000001, HTTP/2 edge (larder-00000002)"),
        );
        assert!(comes_back(&headers, "larder-00000001"));
        assert!(!comes_back(&headers, "larder-00000002"));
        add_via(&mut headers, "larder-00000003");
        assert!(comes_back(&headers, "larder-00000003"));
    }
}
