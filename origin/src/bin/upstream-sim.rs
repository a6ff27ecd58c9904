//! Serves the simulated upstreams on loopback: see `larder_origin::sim`.

use anyhow::{Context, bail};
use larder_origin::sim::{Behaviour, Simulation};
use std::net::SocketAddr;
use std::time::Duration;

const USAGE: &str = "\
upstream-sim: NewsAPI, the Guardian, Hacker News (Algolia), Reddit and feeds in their real shapes, on loopback

  --listen ADDRESS     where to listen, loopback only; port 0 picks one (127.0.0.1:8010)
  --latency TIME       every answer waits this long, as 200ms or 1.5s (0ms)
  --fail-rate SHARE    this share of requests fails with a 5xx, 0 to 1 (0)
  --hang SOURCE        newsapi, guardian, hackernews, reddit or feeds accepts and never answers; may be repeated
  --fail SOURCE        that source always fails; may be repeated
  --limit SOURCE       that source always answers 429; may be repeated

GET /_counts tells how often each endpoint was asked; POST /_control changes the behaviour, as
{\"latency_ms\": 200, \"fail_rate\": 0.1, \"hang\": [\"feeds\"], \"fail\": [], \"limit\": []}.";

struct Options {
    listen: SocketAddr,
    behaviour: Behaviour,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Some(options) = options(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let simulation = Simulation::start(options.listen, options.behaviour)
        .await
        .context("listening")?;
    println!("{}", announcement(simulation.address()));
    tokio::select! {
        ended = simulation.run() => ended.context("serving"),
        signal = tokio::signal::ctrl_c() => signal.context("waiting for a signal"),
    }
}

/// One line: the address, then what points the origin here.
fn announcement(address: SocketAddr) -> String {
    let base = format!("http://{address}");
    format!(
        "upstream-sim listening on {base} NEWSAPI_URL={base} NEWSAPI_KEY=sim GUARDIAN_URL={base} GUARDIAN_API_KEY=sim \
         HACKERNEWS=on HACKERNEWS_URL={base} REDDIT_CLIENT_ID=sim REDDIT_CLIENT_SECRET=sim-secret REDDIT_URL={base} \
         REDDIT_API_URL={base} FEED_URLS='{base}/feeds/rss.xml {base}/feeds/atom.xml {base}/feeds/feed.json'"
    )
}

/// `None` asks for help.
fn options(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Option<Options>> {
    let mut listen: SocketAddr = ([127, 0, 0, 1], 8010).into();
    let mut behaviour = Behaviour::default();
    while let Some(argument) = arguments.next() {
        let (flag, attached) = match argument.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        if matches!(flag.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let value = attached
            .or_else(|| arguments.next())
            .with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--listen" => listen = value.parse().with_context(|| format!("{flag} {value}"))?,
            "--latency" => behaviour.latency = duration(&value)?,
            "--fail-rate" => {
                behaviour.fail_rate = value.parse().with_context(|| format!("{flag} {value}"))?
            }
            "--hang" => drop(behaviour.hang.insert(value.parse()?)),
            "--fail" => drop(behaviour.fail.insert(value.parse()?)),
            "--limit" => drop(behaviour.limit.insert(value.parse()?)),
            _ => bail!("unknown option {flag}\n\n{USAGE}"),
        }
    }
    Ok(Some(Options {
        listen,
        behaviour: behaviour.checked()?,
    }))
}

/// `200ms` or `1.5s`: a bare number would leave its unit to be guessed.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => bail!("{text} has no unit: write 200ms or 1.5s"),
    };
    let seconds = number
        .parse::<f64>()
        .with_context(|| format!("{text} is no time"))?
        * unit;
    Duration::try_from_secs_f64(seconds).with_context(|| format!("{text} is no time"))
}
