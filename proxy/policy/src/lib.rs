//! What an HTTP cache may keep and reuse: RFC 9111 and its relatives as functions of values.
//!
//! Nothing here reads a clock, opens a socket or keeps state: `now` and the times of an exchange are
//! arguments, fields come as [`http::HeaderMap`], and every answer is an enum with its reason inside.
//! Nothing panics, whatever bytes a stranger sends.
//!
//! A request in the order of its questions:
//!
//! 1. [`canonical_target`], [`CacheKey`]: which stored responses might answer it? (§2)
//! 2. [`consider`]: does the cache take part at all? [`forwarded_fields`]: what may the upstream see?
//! 3. [`selecting`]: which of the stored ones did an equal request get? (§4.1)
//! 4. [`reuse`]: may that one be served now? (§4.2, §5.2.1, RFC 5861)
//!    [`refresh_early`]: and should a new one be fetched meanwhile?
//! 5. [`not_modified`]: does the client have it already? (§4.3.2)
//! 6. [`add_conditions`], [`freshen`], [`freshen_by_head`]: or is it still good? [`add_tags`], [`named_by`]: or another
//!    one? (§4.3)
//! 7. [`storable`](storable()): may the upstream's answer be kept, and how long? (§3, §4.2, RFC 9213)
//! 8. [`stale_on_error`]: and if there was no answer? (§4.2.4, RFC 5861)
//! 9. [`invalidates`], [`invalidation_targets`], [`invalidated_groups`]: what does an unsafe request make void? (§4.4,
//!    RFC 9875) [`cache_tags`]: or an operator?
//! 10. [`storable_post`]: or what does it bring that a `GET` may have? (RFC 9110 §9.3.3)
//! 11. [`select`], [`combined_fields`]: which octets of it were asked for? (§3.3, §3.4; RFC 9110 §14)
//! 12. [`Outcome`]: what happened, in one value for field, log, metric and explanation. (RFC 9211)
//!
//! Where [`Profile::Safe`] goes beyond the standard, the branch says so.
//!
//! Left out, each by passing the request on or not storing the answer, which is always permitted:
//! incomplete answers with 200 (§3.3), and answers to other methods than `GET` and `POST`.

mod cache_control;
mod cache_status;
mod early;
mod fields;
mod freshness;
mod groups;
mod invalidate;
mod key;
mod outcome;
mod post;
mod range;
mod reason;
mod request;
mod reuse;
mod rules;
mod select;
mod storable;
mod tags;
mod target;
mod targeted;
mod validate;
mod vary;

pub use cache_control::{MaxStale, RequestDirectives};
pub use early::{Eagerness, never_refreshed_early, refresh_early};
pub use fields::Fields;
pub use freshness::{Exchange, Flags, StoredPolicy};
pub use groups::{cache_groups, invalidated_groups};
pub use invalidate::{invalidates, invalidation_targets};
pub use key::{BadAuthority, CacheKey, canonical_authority};
pub use outcome::{ErrorCause, Failure, Forward, Outcome, StaleWhy, Stored, XCache};
pub use post::{Post, storable_post};
pub use range::{
    Joined, Multipart, Part, Selection, Span, ask_for_rest, brings_rest, combined_fields,
    content_range, join, missing, multipart, part_received, select, unsatisfied_range, wants_part,
};
pub use reason::Reason;
pub use request::{Consideration, Lookup, Pass, consider, forwarded_fields, strip_hop_by_hop};
pub use reuse::{Reuse, reuse, shareable_with_waiters, stale_on_error};
pub use rules::{Identity, Profile, Route, Rules, UnknownProfile};
pub use select::{accepts_coding_of, add_tags, named_by};
pub use storable::{NotStorable, Storable, fields_to_store, storable};
pub use tags::{TAG_BYTES_MAX, cache_tags, is_tagged};
pub use target::{
    CanonicalTarget, QueryRules, TrackingParameters, Unkeyable, canonical_target,
    is_canonical_target,
};
pub use validate::{
    Freshened, HeadSays, add_conditions, freshen, freshen_by_head, insert_date, is_in_not_modified,
    not_modified, not_modified_fields,
};
pub use vary::{Vary, VarySpec, selecting, selecting_value, vary};
