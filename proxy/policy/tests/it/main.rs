//! Tables and properties of the policy, a file per module of it.

mod differential;
mod directives;
mod early;
mod freshness;
mod groups;
mod invalidate;
mod key;
mod musts;
mod outcome;
mod post;
mod properties;
mod range;
mod request;
mod reuse;
mod select;
mod storable;
mod support;
mod target;
mod targeted;
mod total;
mod validate;
mod vary;
