//! The one HTTP client towards sources: timeouts, redirects, sizes and what may stand in an error.
//!
//! Must stay true: no error text holds a URL (keys live in queries), a key header never follows a redirect to another
//! site, and no answer is held beyond its limit however well it is compressed.
//! Addresses that users name go through a client of their own (`guarded`), which connects to public ones alone; what the
//! operator names may lie in a private network.

mod answer;
mod guard;
mod purge;
mod tls;

pub use answer::Answer;
pub(crate) use answer::failure;
pub use guard::{Forbidden, Guard, is_public};
pub use purge::Larder;

use crate::source::SourceError;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use std::time::Duration;
use url::{Url, form_urlencoded};

/// Largest answer read, after decompression: a hundred articles are well under one MiB, full-text feeds a few.
pub const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Feeds move house, but not ten times in a row.
const REDIRECTS_MAX: usize = 5;
/// A connection takes a few round trips; whoever needs longer will not answer in time anyway.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// How far an answer may send us elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Nowhere: a redirect is an answer like any other.
    Nowhere,
    /// Within scheme, host and port only: for requests that carry a key.
    SameOrigin,
    /// Anywhere on the web, but never from https down to http.
    Anywhere,
}

/// The client could not be made. Nothing a caller can do but report it.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client can't be made: {0}")]
pub struct ClientFault(String);

/// One pool of connections for all sources. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    client: reqwest::Client,
    timeout: Duration,
    guard: Option<Guard>,
}

impl HttpClient {
    /// `timeout` bounds one fetch as a whole: connecting, redirects, headers and body.
    pub fn new(timeout: Duration) -> Result<Self, ClientFault> {
        Self::build(timeout, None)
    }

    /// One that connects to nothing but what the guard permits, redirects included.
    pub fn guarded(timeout: Duration, guard: Guard) -> Result<Self, ClientFault> {
        Self::build(timeout, Some(guard))
    }

    fn build(timeout: Duration, guard: Option<Guard>) -> Result<Self, ClientFault> {
        let fault = |error: &dyn std::fmt::Display| ClientFault(error.to_string());
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config().map_err(|error| fault(&error))?)
            .user_agent(concat!(
                "Larder/",
                env!("CARGO_PKG_VERSION"),
                " (news aggregator)"
            ))
            .no_proxy()
            // Redirects are followed below, where the origin can be compared and the Referer stays unsent.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeout.min(CONNECT_TIMEOUT_MAX));
        if let Some(guard) = &guard {
            builder = builder.dns_resolver(guard.clone());
        }
        builder
            .build()
            .map(|client| Self {
                client,
                timeout,
                guard,
            })
            .map_err(|error| fault(&error.without_url()))
    }

    /// The bound of one fetch.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a form. Its answer is read within the same bounds; a redirect is not followed, since it would carry the form along.
    pub async fn post_form(
        &self,
        url: Url,
        headers: HeaderMap,
        form: &[(&str, &str)],
    ) -> Result<Answer, SourceError> {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let sending = async {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            let request = self.client.post(url.clone()).headers(headers);
            let request = request.header(CONTENT_TYPE, form).body(body);
            let response = request.send().await.map_err(|error| self.fault(error))?;
            self.read(response, url).await
        };
        let sent = tokio::time::timeout(self.timeout, sending).await;
        sent.unwrap_or(Err(SourceError::Timeout(self.timeout)))
    }

    /// Asks for a document, whatever its status: what a status means, each source knows best.
    pub async fn get(
        &self,
        url: Url,
        headers: HeaderMap,
        redirects: Redirects,
    ) -> Result<Answer, SourceError> {
        let fetched =
            tokio::time::timeout(self.timeout, self.follow(url, headers, redirects)).await;
        fetched.unwrap_or(Err(SourceError::Timeout(self.timeout)))
    }

    async fn follow(
        &self,
        mut url: Url,
        headers: HeaderMap,
        redirects: Redirects,
    ) -> Result<Answer, SourceError> {
        for _ in 0..=REDIRECTS_MAX {
            if let Some(guard) = &self.guard {
                guard.check(&url)?;
            }
            let request = self.client.get(url.clone()).headers(headers.clone());
            let response = request.send().await.map_err(|error| self.fault(error))?;
            match next(
                &url,
                response.status().as_u16(),
                response.headers(),
                redirects,
            )? {
                Some(target) => url = target,
                None => return self.read(response, url).await,
            }
        }
        Err(SourceError::Malformed(format!(
            "more than {REDIRECTS_MAX} redirects"
        )))
    }

    async fn read(&self, mut response: reqwest::Response, url: Url) -> Result<Answer, SourceError> {
        let too_large = || SourceError::TooLarge {
            bytes_max: BODY_BYTES_MAX,
        };
        if response
            .content_length()
            .is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64)
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.fault(error))? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        Ok(Answer {
            status,
            headers,
            body,
            url,
        })
    }

    fn fault(&self, error: reqwest::Error) -> SourceError {
        if let Some(forbidden) = forbidden(&error) {
            return forbidden.into();
        }
        if error.is_timeout() && !error.is_connect() {
            return SourceError::Timeout(self.timeout);
        }
        // A body that breaks off is no document that can't be read, though it was being unpacked.
        let decode = error.is_decode() && !is_broken_off(&error);
        let connect = error.is_connect();
        let causes = causes(&error.without_url());
        if decode {
            return SourceError::Malformed(causes);
        }
        let what = if connect {
            "connecting failed"
        } else {
            "the exchange broke off"
        };
        SourceError::Unreachable(format!("{what}: {causes}"))
    }
}

/// What the guard's resolver said, deep below the client's own error.
fn forbidden(error: &reqwest::Error) -> Option<Forbidden> {
    chain(error).find_map(|cause| cause.downcast_ref::<Forbidden>().copied())
}

/// The connection itself failed, or what was sent was not HTTP.
fn is_broken_off(error: &reqwest::Error) -> bool {
    chain(error).any(|cause| cause.is::<hyper::Error>())
}

fn chain<'a>(
    error: &'a reqwest::Error,
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    let first = std::error::Error::source(error);
    std::iter::successors(first, |cause| cause.source())
}

/// The chain of causes below an error, the last of which says what happened ("Connection refused").
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(error.source(), |cause| cause.source());
    chain
        .last()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Where a redirect leads, `None` when the answer is none.
fn next(
    from: &Url,
    status: u16,
    headers: &HeaderMap,
    redirects: Redirects,
) -> Result<Option<Url>, SourceError> {
    if redirects == Redirects::Nowhere || !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let malformed = |what: &str| SourceError::Malformed(format!("a redirect {what}"));
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let target = target.ok_or_else(|| malformed("without a usable target"))?;
    if !matches!(target.scheme(), "http" | "https") {
        return Err(malformed("away from the web"));
    }
    if from.scheme() == "https" && target.scheme() == "http" {
        return Err(malformed("from https to http"));
    }
    if redirects == Redirects::SameOrigin && target.origin() != from.origin() {
        return Err(malformed("to another site, which must not see our key"));
    }
    Ok(Some(target))
}

/// A header whose value is kept out of debug output.
pub fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A map of one header, or of none when the value can't be one.
pub fn header(name: HeaderName, value: Option<HeaderValue>) -> HeaderMap {
    value.map(|value| (name, value)).into_iter().collect()
}
