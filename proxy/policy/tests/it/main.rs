//! Tables and properties of the policy, a file per module of it.

mod directives;
mod freshness;
mod invalidate;
mod key;
mod musts;
mod outcome;
mod post;
mod range;
mod properties;
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
