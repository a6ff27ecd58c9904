//! An API whose every answer can be checked: a body says for what it is, and all of it follows from its first line.
//!
//! The path's first word says what may be kept: `hot`, `vary`, `big` and `cold` for a minute, `short` for a second, `never`
//! not at all. `vary` answers differ by `Accept-Language`. Counts what is under way at once, for a cap to be held to it.

use super::upstream::{Asked, Body, Upstream, respond};
use http::{Method, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Library {
    upstream: Upstream,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    answered: AtomicU64,
    fetches: AtomicUsize,
    fetches_most: AtomicUsize,
}

/// Counts a fetch for as long as it lives.
struct UnderWay<'a>(&'a State);

impl<'a> UnderWay<'a> {
    fn new(state: &'a State) -> Self {
        let now = state.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        state.fetches_most.fetch_max(now, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetches.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Library {
    /// Takes so long for each answer. What it was asked is not kept.
    pub(crate) async fn start(latency: Duration) -> Self {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let script = move |asked| answer(asked, Arc::clone(&shared), latency);
        Self {
            upstream: Upstream::start_forgetful(script).await,
            state,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    /// The most GET and HEAD requests that were under way at once since this was last asked.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.fetches_most.swap(0, Ordering::SeqCst)
    }
}

async fn answer(asked: Asked, state: Arc<State>, latency: Duration) -> Response<Body> {
    let is_fetch = asked.method != Method::POST;
    let _under_way = is_fetch.then(|| UnderWay::new(&state));
    tokio::time::sleep(latency).await;
    let number = state.answered.fetch_add(1, Ordering::SeqCst) + 1;
    let language = asked.headers.get("accept-language");
    let language = language.map_or("", |value| value.to_str().unwrap());
    let cache_control = match shelf(&asked.target) {
        "never" => "no-store",
        "short" => "max-age=1",
        _ => "max-age=60",
    };
    let mut fields = vec![("cache-control", cache_control)];
    let language = match shelf(&asked.target) {
        "vary" => {
            fields.push(("vary", "accept-language"));
            language
        }
        _ => "",
    };
    respond(200, &fields, page(&asked.target, language, number))
}

fn shelf(target: &str) -> &str {
    target.split('/').nth(1).unwrap_or_default()
}

/// The body of the answer with this number.
fn page(target: &str, language: &str, number: u64) -> String {
    let first = format!("{target} {language} {number}\n");
    let lines = if shelf(target) == "big" { 2000 } else { 8 };
    let mut page = first.clone();
    for line in 0..lines {
        page.push_str(&format!("{line} of {first}"));
    }
    page
}

/// Is this the whole of an answer to that request, as the library gave it at some time?
pub(crate) fn is_right(body: &str, target: &str, language: &str) -> bool {
    let language = if shelf(target) == "vary" {
        language
    } else {
        ""
    };
    let first = body.lines().next().unwrap_or_default();
    let number = first.strip_prefix(&format!("{target} {language} "));
    let number = number.and_then(|number| number.parse().ok());
    number.is_some_and(|number| page(target, language, number) == body)
}

#[test]
fn a_page_is_right_for_its_request_alone_and_only_whole() {
    let right = page("/vary/1", "de", 7);
    assert!(is_right(&right, "/vary/1", "de"));
    assert!(!is_right(&right, "/vary/1", "en"));
    assert!(!is_right(&right, "/vary/2", "de"));
    assert!(!is_right(&right[..right.len() - 1], "/vary/1", "de"));
    assert!(!is_right(&right.replacen('7', "8", 1), "/vary/1", "de"));
}
