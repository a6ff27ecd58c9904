//! What an HTTP cache may keep and reuse: RFC 9111 and its relatives as functions of values.
//!
//! Nothing here reads a clock, opens a socket or keeps state.

mod cache_control;
mod freshness;
mod invalidate;
mod key;
mod outcome;
mod request;
mod reuse;
mod rules;
mod storable;
mod validate;
mod vary;

pub use cache_control::{MaxStale, RequestDirectives};
pub use freshness::{Exchange, Flags, StoredPolicy};
pub use invalidate::{invalidates, invalidation_targets};
pub use key::{
    BadAuthority, CacheKey, CanonicalTarget, QueryRules, TrackingParameters, Unkeyable,
    canonical_authority, canonical_target,
};
pub use outcome::{ErrorCause, Failure, Forward, Outcome, Reason, StaleWhy, Stored, XCache};
pub use request::{Consideration, Lookup, Pass, consider, forwarded_fields, strip_hop_by_hop};
pub use reuse::{Reuse, reuse, shareable_with_waiters, stale_on_error};
pub use rules::{Identity, Profile, Route, Rules, UnknownProfile};
pub use storable::{NotStorable, Storable, fields_to_store, storable};
pub use validate::{Freshened, add_conditions, freshen, not_modified, not_modified_fields};
pub use vary::{Vary, VarySpec, selecting, selecting_value, vary};
