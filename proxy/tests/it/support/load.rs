//! Clients that ask all kinds of things at once and look at every answer.

use super::fault::Random;
use super::library::is_right;
use super::proxy::PATIENCE;
use super::wait::until;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const LANGUAGES: [&str; 3] = ["de", "en", "fr"];

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    method: reqwest::Method,
    target: String,
    language: &'static str,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Everything there is, in shares that keep each path busy.
    All,
    /// Only what was never asked for before: each request asks Redis and the API.
    Cold,
}

/// An answer's time, for those who print it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    pub(crate) took: Duration,
}

#[derive(Debug, Default)]
struct Seen {
    answers: AtomicUsize,
    cold: AtomicU64,
    /// Each with its request; the first few are enough to see what went wrong.
    wrong: Mutex<Vec<String>>,
    wrong_count: AtomicUsize,
    samples: Mutex<Vec<Sample>>,
    failures_may_be: AtomicBool,
    failures: AtomicUsize,
    stop: AtomicBool,
}

/// What became of a request.
#[derive(Debug)]
enum Verdict {
    Right,
    /// It failed, and says so: 502, 503 or 504, or a body that visibly breaks off.
    Failed(String),
    Wrong(String),
}

/// Runs until it is ended or dropped.
#[derive(Debug)]
pub(crate) struct Load {
    seen: Arc<Seen>,
    clients: JoinSet<()>,
}

/// What the clients saw.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) answers: usize,
    pub(crate) wrong_count: usize,
    /// Those that failed while they might.
    pub(crate) failures: usize,
    /// The first wrong answers, told.
    pub(crate) wrong: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

impl Load {
    /// So many clients, each one request at a time, in turn to these proxies.
    pub(crate) fn start(proxies: &[SocketAddr], clients: usize, mix: Mix) -> Self {
        let (seen, mut tasks) = (Arc::<Seen>::default(), JoinSet::new());
        for number in 0..clients {
            let (seen, proxies) = (Arc::clone(&seen), proxies.to_vec());
            tasks.spawn(async move { client(&seen, &proxies, number as u64, mix).await });
        }
        Self {
            seen,
            clients: tasks,
        }
    }

    /// Waits for so many answers more.
    pub(crate) async fn answers(&self, more: usize) {
        let begin = self.seen.answers.load(Ordering::SeqCst);
        until("the load is answered", async || {
            self.seen.answers.load(Ordering::SeqCst) >= begin + more
        })
        .await;
    }

    /// From now on requests may fail, as long as they say so; or, with false, those that begin from now on may not.
    pub(crate) fn let_fail(&self, may: bool) {
        self.seen.failures_may_be.store(may, Ordering::SeqCst);
    }

    /// Lets every client get its last answer.
    pub(crate) async fn end(mut self) -> Report {
        self.seen.stop.store(true, Ordering::SeqCst);
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        Report {
            answers: self.seen.answers.load(Ordering::SeqCst),
            wrong_count: self.seen.wrong_count.load(Ordering::SeqCst),
            failures: self.seen.failures.load(Ordering::SeqCst),
            wrong: std::mem::take(&mut self.seen.wrong.lock().unwrap()),
            samples: std::mem::take(&mut self.seen.samples.lock().unwrap()),
        }
    }
}

async fn client(seen: &Seen, proxies: &[SocketAddr], number: u64, mix: Mix) {
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let http = http.build().unwrap();
    let mut random = Random::new(number);
    let mut turn = usize::try_from(number).unwrap();
    while !seen.stop.load(Ordering::SeqCst) {
        let ask = next(&mut random, &seen.cold, mix);
        let proxy = proxies[turn % proxies.len()];
        turn += 1;
        let begin = Instant::now();
        let before = seen.failures_may_be.load(Ordering::SeqCst);
        let verdict = verdict(&http, proxy, &ask).await;
        // A fault may begin, or end, while it is under way.
        let may_fail = before || seen.failures_may_be.load(Ordering::SeqCst);
        let (at, took) = (begin, begin.elapsed());
        seen.samples.lock().unwrap().push(Sample { at, took });
        let fault = match verdict {
            Verdict::Right => None,
            Verdict::Failed(_) if may_fail => {
                seen.failures.fetch_add(1, Ordering::SeqCst);
                None
            }
            Verdict::Failed(fault) | Verdict::Wrong(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            seen.wrong_count.fetch_add(1, Ordering::SeqCst);
            let mut wrong = seen.wrong.lock().unwrap();
            if wrong.len() < 10 {
                wrong.push(format!("{ask:?}: {fault}"));
            }
        }
        seen.answers.fetch_add(1, Ordering::SeqCst);
    }
}

fn next(random: &mut Random, cold: &AtomicU64, mix: Mix) -> Ask {
    let kind = match mix {
        Mix::All => random.below(20),
        Mix::Cold => 0,
    };
    let few = random.below(20);
    let target = match kind {
        0..5 => format!("/cold/{}", cold.fetch_add(1, Ordering::SeqCst)),
        5..9 | 18 => format!("/hot/{few}"),
        9..11 => format!("/short/{few}"),
        11..14 => format!("/vary/{few}"),
        14..16 => format!("/never/{few}"),
        16 => format!("/big/{few}"),
        17 => format!("/post/{few}"),
        _ => format!("/short/{few}?kind={kind}"),
    };
    let method = match kind {
        17 => reqwest::Method::POST,
        18 => reqwest::Method::HEAD,
        _ => reqwest::Method::GET,
    };
    let language = LANGUAGES[usize::try_from(random.below(3)).unwrap()];
    Ask {
        method,
        target,
        language,
    }
}

async fn verdict(http: &reqwest::Client, proxy: SocketAddr, ask: &Ask) -> Verdict {
    let url = format!("http://{proxy}{}", ask.target);
    let request = http
        .request(ask.method.clone(), url)
        .header("host", "api.example")
        .header("accept-language", ask.language);
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Verdict::Wrong(format!("no answer: {error:?}")),
    };
    let (status, fields) = (response.status(), response.headers().clone());
    let body = match response.text().await {
        Ok(body) => body,
        Err(error) => return Verdict::Failed(format!("{status}, then {error:?}")),
    };
    let right = match ask.method {
        reqwest::Method::HEAD => body.is_empty(),
        _ => is_right(&body, &ask.target, ask.language),
    };
    let told = format!("{status} {fields:?} {body:.200}");
    match status.as_u16() {
        200 if right => Verdict::Right,
        502..=504 => Verdict::Failed(told),
        _ => Verdict::Wrong(told),
    }
}
