//! What is known about a feed's bytes besides the bytes.

use url::Url;

/// Where a document came from and what HTTP said of it.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// Relative links resolve against it.
    pub url: &'a Url,
    /// The charset of `Content-Type`, when one was named.
    pub charset: Option<&'a str>,
}
