//! Tells Larder what to forget: `POST /purge?tag=...` at its admin port.

use super::{causes, sensitive, tls};
use crate::http::ClientFault;
use crate::outbox::{Cache, Purge, PurgeFault};
use crate::secret::Secret;
use crate::tag::Tag;
use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use std::collections::BTreeSet;
use std::time::Duration;
use url::Url;

/// Longer than the lease of replicas that a purge waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The admin port reads heads of 16 KiB.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// A Larder, by its admin port.
#[derive(Debug, Clone)]
pub struct Larder {
    client: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
}

impl Larder {
    /// `url` is the purge route, or the admin port, whose route it then is.
    pub fn new(url: &Url, token: Option<&Secret>) -> Result<Self, ClientFault> {
        let fault = |error: &dyn std::fmt::Display| ClientFault(error.to_string());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config().map_err(|error| fault(&error))?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .build()
            .map_err(|error| fault(&error.without_url()))?;
        let mut url = url.clone();
        if matches!(url.path(), "" | "/") {
            url.set_path("/purge");
        }
        let authorization = token
            .map(|token| {
                sensitive(&format!("Bearer {}", token.expose()))
                    .ok_or_else(|| fault(&"the purge token can't stand in a header"))
            })
            .transpose()?;
        Ok(Self {
            client,
            url,
            authorization,
        })
    }

    async fn post(&self, query: &str) -> Result<(), PurgeFault> {
        let mut url = self.url.clone();
        url.set_query(Some(query));
        let mut request = self.client.post(url);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let answer = request
            .send()
            .await
            .map_err(|error| PurgeFault(causes(&error.without_url())))?;
        match answer.status().as_u16() {
            200 => Ok(()),
            status @ (401 | 403 | 421) => Err(PurgeFault(format!(
                "it answered {status}: look at LARDER_PURGE_TOKEN here, LARDER_ADMIN_TOKEN and LARDER_ADMIN_HOSTS there"
            ))),
            status => Err(PurgeFault(format!("it answered {status}"))),
        }
    }
}

#[async_trait]
impl Cache for Larder {
    async fn purge(&self, purge: &Purge) -> Result<(), PurgeFault> {
        for query in queries(purge) {
            self.post(&query).await?;
        }
        Ok(())
    }
}

/// As few requests as the length of a query lets it be.
fn queries(purge: &Purge) -> Vec<String> {
    match purge {
        Purge::Everything => vec!["all=true".to_owned()],
        Purge::Tags(tags) => packed(tags),
    }
}

fn packed(tags: &BTreeSet<Tag>) -> Vec<String> {
    let mut queries: Vec<String> = Vec::new();
    for tag in tags {
        let pair = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("tag", tag.as_str())
            .finish();
        match queries.last_mut() {
            Some(query) if query.len() + 1 + pair.len() <= QUERY_BYTES_MAX => {
                query.push('&');
                query.push_str(&pair);
            }
            _ => queries.push(pair),
        }
    }
    queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_packed_into_few_requests_none_of_them_too_long() {
        let tags: BTreeSet<Tag> = (0..1000).map(Tag::article).chain([Tag::list()]).collect();
        let queries = queries(&Purge::Tags(tags.clone()));
        assert!(queries.len() < 6, "{}", queries.len());
        assert!(queries.iter().all(|query| query.len() <= QUERY_BYTES_MAX));
        let named: BTreeSet<String> = queries
            .iter()
            .flat_map(|query| url::form_urlencoded::parse(query.as_bytes()))
            .map(|(_, tag)| tag.into_owned())
            .collect();
        let expected: BTreeSet<String> = tags.iter().map(ToString::to_string).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn the_admin_port_alone_is_address_enough() {
        for (given, route) in [
            ("http://proxy:8002", "/purge"),
            ("http://proxy:8002/", "/purge"),
            ("http://proxy:8002/purge", "/purge"),
            ("http://gate/larder/purge", "/larder/purge"),
        ] {
            let larder = Larder::new(&Url::parse(given).unwrap(), None).unwrap();
            assert_eq!(larder.url.path(), route, "{given}");
        }
    }
}
