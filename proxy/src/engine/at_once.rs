//! Answers that memory has ready: a fresh stored response, whole, for a request that asks for nothing else.
//!
//! The decisions are those of [`Engine::answer`], made by the same functions and in the same order, on a request that need not
//! be a map of fields. Whatever needs more than a look into memory gets no answer here, and all of its life there: none is
//! always right. Nothing is allocated.

use super::{Engine, plan};
use crate::store::Entry;
use crate::wire::has_no_content;
use http::{Method, StatusCode, header};
use larder_policy::{
    CacheKey, Consideration, Fields, Outcome, Reuse, consider, is_canonical_target,
    never_refreshed_early, not_modified, reuse,
};
use std::sync::Arc;
use std::time::SystemTime;

/// A body-less `GET` or `HEAD` as it was read.
#[derive(Debug)]
pub(crate) struct Asked<'a, F> {
    pub(crate) method: &'a Method,
    /// In origin form.
    pub(crate) target: &'a str,
    pub(crate) host: &'a str,
    pub(crate) fields: &'a F,
}

/// A stored response that is the answer.
#[derive(Debug)]
pub(crate) struct AtOnce {
    pub(crate) entry: Arc<Entry>,
    /// The client has it already: 304.
    pub(crate) not_modified: bool,
    /// Its fields hold lines of which the answer has others: see [`crate::store::is_replaced`].
    pub(crate) has_replaced: bool,
    pub(crate) age_s: u64,
    pub(crate) outcome: Outcome,
}

impl AtOnce {
    pub(crate) fn status(&self) -> StatusCode {
        match self.not_modified {
            true => StatusCode::NOT_MODIFIED,
            false => self.entry.status,
        }
    }
}

/// Where a connection's keys are written: its requests mostly name one host.
#[derive(Debug, Default)]
pub(crate) struct KeyBuffer {
    /// As it came.
    host: Vec<u8>,
    /// What all keys of that host begin with, and the last key's rest.
    key: Vec<u8>,
    origin_bytes: usize,
}

impl Engine {
    /// What memory has for a request; none when that takes more than a look.
    pub(crate) fn at_once<F: Fields>(
        &self,
        asked: &Asked<'_, F>,
        keys: &mut KeyBuffer,
        now: SystemTime,
    ) -> Option<AtOnce> {
        let fields = asked.fields;
        let path = asked.target.split('?').next().unwrap_or_default();
        let route = self.config.route_for(path);
        // Of a target that is its own canonical form the path is, too, so that this is its route.
        if !is_canonical_target(asked.target, &route.query)
            || fields.has(&header::VIA)
            || fields.has(&header::RANGE)
            || !self.is_keyed(asked.host, keys)
        {
            return None;
        }
        let rules = &self.config.rules;
        let Consideration::Lookup(lookup) = consider(asked.method, fields, false, rules, route)
        else {
            return None;
        };
        keys.key.truncate(keys.origin_bytes);
        CacheKey::extend(&mut keys.key, asked.target, &route.keyed_fields);
        let entry = self.store.get_at_once(&keys.key, fields, now)?;
        let eagerness = route.early_refresh.unwrap_or(rules.early_refresh);
        if reuse(&entry.policy, &lookup, now) != Reuse::Fresh
            || !never_refreshed_early(&entry.policy, entry.fetch_ms, eagerness, now)
            || has_no_content(entry.status)
            || entry.status == StatusCode::PARTIAL_CONTENT
        {
            return None;
        }
        let has_replaced = entry.headers.sendable(entry.body.len() as u64)?;
        let not_modified = not_modified(fields, entry.status, &entry.headers);
        let (age_s, ttl_s) = (entry.policy.age_s(now), entry.policy.ttl_s(now));
        Some(AtOnce {
            entry,
            not_modified,
            has_replaced,
            age_s,
            outcome: Outcome::Hit { ttl_s },
        })
    }

    /// Begins the key of a request to this host; false when that is not one to be answered.
    fn is_keyed(&self, host: &str, keys: &mut KeyBuffer) -> bool {
        if keys.origin_bytes > 0 && keys.host == host.as_bytes() {
            return true;
        }
        let Some(authority) = plan::canonical(host).filter(|a| self.config.answers_host(a)) else {
            return false;
        };
        keys.host.clear();
        keys.host.extend_from_slice(host.as_bytes());
        keys.key = self.origin(&authority);
        keys.origin_bytes = keys.key.len();
        true
    }
}
