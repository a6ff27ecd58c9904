//! The process: from settings to a running origin, and the subcommands.

use crate::api::{self, App};
use crate::articles::Articles;
use crate::config::Config;
use crate::database::{Database, DatabaseError};
use crate::discipline::Ledger;
use crate::http::Larder;
use crate::ingest::Ingest;
use crate::outbox::{Dispatcher, Outbox};
use crate::schedule::{AddedSchedule, Schedule};
use crate::turn::{Turn, Work};
use crate::{health, reddit, sentiment, serve};
use anyhow::{Context, bail};
use chrono::Utc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Between two tries to reach a database that is down at start.
const MIGRATE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Between two tries to catch up with what is stored.
const CATCH_UP_RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Between looks for articles that were stored without a score.
const SCORE_MISSED_INTERVAL: Duration = Duration::from_secs(300);
/// While articles are computed anew, caches keep lists for that long.
const VOID_LISTS_INTERVAL: Duration = Duration::from_secs(5);
/// Between looks for tokens that Reddit has not taken back in time.
const FORGET_REVOCATIONS_INTERVAL: Duration = Duration::from_secs(3_600);
/// For closing the database's connections at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Does what the command says; unknown commands do not get here.
pub async fn run(command: &str, config: Config) -> anyhow::Result<()> {
    match command {
        "migrate" => migrate(&config).await,
        "health" => check_health(&config).await,
        "check" => check(&config),
        "backfill-sentiment" => backfill_sentiment(&config).await,
        _ => serve(config).await,
    }
}

/// Serves until SIGTERM or SIGINT. A database that is down at start is waited for while health checks are already answered.
async fn serve(config: Config) -> anyhow::Result<()> {
    let database = Database::open(&config.database, config.database_connections_max)?;
    let cache = config
        .purge_url
        .as_ref()
        .map(|url| Larder::new(&url.0, config.purge_token.as_ref()))
        .transpose()?;
    let outbox = match &cache {
        Some(_) => Outbox::new(&database),
        None => Outbox::without_cache(&database),
    };
    let scorer = sentiment::scorer(config.sentiment_model.as_deref())?;
    let articles = Articles::with_outbox(&database, outbox.clone()).scored_by(scorer);
    let articles = Arc::new(articles);
    let sources = crate::source::build(&config.source_settings(), &Ledger::new(&database))?;
    let ingest = Ingest::new(
        sources,
        Arc::clone(&articles),
        config.cache_ttl,
        config.source_timeout,
        config.refresh_interval,
        config.live_interval_min,
    );
    let app = App::new(
        &config,
        &database,
        Arc::clone(&articles),
        Arc::clone(&ingest),
    );
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let names: Vec<&str> = ingest
        .sources()
        .iter()
        .map(|source| source.name())
        .collect();
    tracing::info!(address = %listener.local_addr()?, database = ?config.database, sources = names.join(" "), "listening");

    // Listening to signals begins before the first request can come.
    let (mut terminated, mut interrupted) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let mut failure = None;
    let mut background = JoinSet::new();
    let working = async {
        if let Err(error) = migrate_at_start(&database).await {
            return error;
        }
        let (pool, stored) = (database.clone(), Arc::clone(&articles));
        background.spawn(async move {
            catch_up(pool, Arc::clone(&stored)).await;
            score_missed(stored).await;
        });
        let schedule = Schedule::new(&database, &ingest, app.refreshes(), config.refresh_interval);
        background.spawn(schedule.run(Utc::now));
        background.spawn(forget_revocations(database.clone()));
        if let Some(connections) = app.connections() {
            background.spawn(Arc::clone(connections).revoke_now_and_then(Utc::now));
        }
        if let Some(subscriptions) = app.subscriptions() {
            let interval = config.refresh_interval;
            let added = AddedSchedule::new(&database, &ingest, subscriptions, interval);
            background.spawn(added.run(Utc::now));
        }
        if let Some(cache) = cache {
            background.spawn(Dispatcher::new(&outbox, cache).run(Utc::now));
        }
        std::future::pending().await
    };
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => tracing::info!("stopping"),
            _ = interrupted.recv() => tracing::info!("stopping"),
            error = working => failure = Some(error),
        }
    };
    serve::serve(
        listener,
        Arc::clone(&app),
        api::router(Arc::clone(&app)),
        config.connections_max,
        stop,
    )
    .await;
    // Until here, so that what the last requests changed is told too; what is left is told after the next start.
    background.shutdown().await;
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, database.close()).await;
    failure.map_or(Ok(()), |error| {
        Err(anyhow::Error::from(error).context(format!("{:?}", config.database)))
    })
}

/// Tries until the database is reached. Migrations that do not fit it are no passing trouble.
async fn migrate_at_start(database: &Database) -> Result<(), DatabaseError> {
    loop {
        match database.migrate().await {
            Ok(()) => {
                tracing::info!("the database is ready");
                return Ok(());
            }
            Err(error @ DatabaseError::Unavailable(_)) => {
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(MIGRATE_RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let database = Database::open(&config.database, config.database_connections_max)?;
    let migrated = database.migrate().await;
    migrated.with_context(|| format!("{:?}", config.database))?;
    database.close().await;
    tracing::info!(database = ?config.database, "migrated");
    Ok(())
}

/// Computes for articles that an earlier version stored what this one computes when it stores them: one replica at a time, and
/// again after a while when the database is away. What fails otherwise is tried with the next start: nothing but convenience
/// depends on it.
async fn catch_up(database: Database, articles: Arc<Articles>) {
    loop {
        match catch_up_in_turn(&database, &articles).await {
            Ok(Some(0)) => return,
            Ok(Some(done)) => {
                return tracing::info!(articles = done, "caught up with stored articles");
            }
            // Another one is at it, and may die.
            Ok(None) => {}
            Err(error @ DatabaseError::Unavailable(_)) => {
                tracing::warn!(%error, "catching up with stored articles waits for the database");
            }
            Err(error) => return tracing::warn!(%error, "cannot catch up with stored articles"),
        }
        tokio::time::sleep(CATCH_UP_RETRY_INTERVAL).await;
    }
}

/// Now and then scores what was stored without a score, for ever. Replicas may both do it: the second finds nothing left to write.
async fn score_missed(articles: Arc<Articles>) {
    loop {
        tokio::time::sleep(SCORE_MISSED_INTERVAL).await;
        match articles.score_missed(Utc::now()).await {
            Ok(0) => {}
            Ok(scored) => tracing::info!(scored, "scored what had been missed"),
            Err(error) => tracing::warn!(%error, "what was not scored in time is scored later"),
        }
    }
}

/// Now and then forgets old tokens that were to be taken back, for ever, and without Reddit too. Replicas may all do it.
async fn forget_revocations(database: Database) {
    loop {
        if let Err(error) = reddit::forget_revocations(&database, Utc::now()).await {
            tracing::warn!(%error, "tokens that nobody took back are forgotten later");
        }
        tokio::time::sleep(FORGET_REVOCATIONS_INTERVAL).await;
    }
}

/// How many there were; `None` when it is another process's turn.
async fn catch_up_in_turn(
    database: &Database,
    articles: &Articles,
) -> Result<Option<usize>, DatabaseError> {
    let Some(turn) = Turn::take(database, Work::Backfill).await? else {
        return Ok(None);
    };
    let (mut done, mut voided) = (0, Instant::now());
    loop {
        let batch = articles.catch_up(Utc::now()).await?;
        done += batch;
        if done > 0 && voided.elapsed() >= VOID_LISTS_INTERVAL {
            articles.void_lists(Utc::now()).await?;
            voided = Instant::now();
        }
        if batch == 0 {
            while articles.catch_up_filters().await? > 0 {}
            turn.end().await;
            return Ok(Some(done));
        }
    }
}

/// Scores all articles that today's model hasn't scored. Interrupted, it goes on where it was.
async fn backfill_sentiment(config: &Config) -> anyhow::Result<()> {
    let database = Database::open(&config.database, config.database_connections_max)?;
    let migrated = database.migrate().await;
    migrated.with_context(|| format!("{:?}", config.database))?;
    let outbox = match config.purge_url {
        Some(_) => Outbox::new(&database),
        None => Outbox::without_cache(&database),
    };
    let scorer = sentiment::scorer(config.sentiment_model.as_deref())?;
    let model = scorer.model().clone();
    let articles = Articles::with_outbox(&database, outbox).scored_by(scorer);
    let Some(turn) = Turn::take(&database, Work::Backfill).await? else {
        bail!("another process is at it");
    };
    let (mut after, mut looked_at, mut scored, mut voided) = (0, 0, 0, Instant::now());
    while let Some(batch) = articles.rescore(after, Utc::now()).await? {
        after = batch.last;
        looked_at += batch.articles;
        scored += batch.scored;
        tracing::debug!(looked_at, scored, last = after, "scoring");
        if voided.elapsed() >= VOID_LISTS_INTERVAL {
            articles.void_lists(Utc::now()).await?;
            voided = Instant::now();
        }
    }
    tracing::info!(
        looked_at,
        scored,
        model = model.name,
        version = model.version,
        "scored"
    );
    turn.end().await;
    database.close().await;
    Ok(())
}

async fn check_health(config: &Config) -> anyhow::Result<()> {
    let status = health::ask(config.listen)
        .await
        .with_context(|| format!("no answer from {}", config.listen))?;
    if !status.is_success() {
        bail!("not ready: {status}");
    }
    Ok(())
}

/// The settings are valid: it is their parsing that found faults. What holds is shown, without secrets.
fn check(config: &Config) -> anyhow::Result<()> {
    let sources = crate::source::build(&config.source_settings(), &Ledger::closed())?;
    let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
    let summary = config.summary();
    println!("configuration ok\n{summary}sources: {}", names.join(" "));
    Ok(())
}
