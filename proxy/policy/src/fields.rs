//! The field lines of a request, wherever they lie: in a map, or where they were read.
//!
//! Decisions on a request read it through [`Fields`], so that an answer from memory needs no map, and still is decided by the
//! same rules.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Field lines by name.
pub trait Fields {
    /// The values of the lines of this name, in their order, without the white space around them.
    fn lines<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a, Self>;

    /// Is there a line of this name?
    fn has(&self, name: &HeaderName) -> bool {
        self.lines(name).next().is_some()
    }
}

impl Fields for HeaderMap {
    fn lines<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.get_all(name).iter().map(HeaderValue::as_bytes)
    }

    fn has(&self, name: &HeaderName) -> bool {
        self.contains_key(name)
    }
}
