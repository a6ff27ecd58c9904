//! larder-proxy: reads its configuration, serves, drains.

use anyhow::Context;
use larder_proxy::cli::{self, Start};
use larder_proxy::config::{Config, ProcessEnvironment};
use larder_proxy::log;
use larder_proxy::server::Server;
use larder_proxy::signals::Signals;
use larder_proxy::upgrade::{self, Meeting, NotOffered, Takeover, UpgradeSettings};
use std::process::ExitCode;

/// Nobody offered the sockets that were to be taken over: `EX_TEMPFAIL` of sysexits.h, for another try may help.
const EXIT_NOT_OFFERED: u8 = 75;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (config, upgrade) = match cli::start(
        std::env::args_os(),
        &ProcessEnvironment,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ) {
        Start::Serve { config, upgrade } => (config, upgrade),
        Start::Exit(code) => return ExitCode::from(code),
    };
    match serve(*config, upgrade) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder-proxy: {error:#}");
            match error.downcast_ref() {
                Some(NotOffered::Nobody(..) | NotOffered::TooLate) => EXIT_NOT_OFFERED.into(),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

#[tokio::main]
async fn serve(config: Config, upgrade: bool) -> anyhow::Result<()> {
    log::install(config.log_format, config.log_level)?;
    config
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    let upstream = format!(
        "{}://{}",
        config.upstream.scheme(),
        config.upstream.authority()
    );
    let settings = UpgradeSettings::new(&config);
    if let Some(settings) = &settings {
        Meeting::check(&settings.socket)?;
    }
    let (server, takeover) = bind(config, settings.as_ref().filter(|_| upgrade)).await?;
    let signals = Signals::listen()?;
    server.warm_up().await;
    server.heed_own_size();
    let offer = settings
        .map(|settings| anyhow::Ok((settings, server.sockets()?)))
        .transpose()?;
    if let Some(takeover) = takeover {
        takeover.confirm().await?;
    }
    tracing::info!(listen = %server.client_address()?, admin = %server.admin_address()?, upstream, "serving");
    server.run(signals.stop(offer)).await
}

/// Binds the configured addresses, or takes the sockets of the running process, which then waits for a word.
async fn bind(
    config: Config,
    upgrade: Option<&UpgradeSettings>,
) -> anyhow::Result<(Server, Option<Takeover>)> {
    let Some(settings) = upgrade else {
        return Ok((Server::bind(config).await?, None));
    };
    let (sockets, takeover) = upgrade::take(settings).await?;
    let server = Server::take_over(config, sockets)
        .context("the running process serves on, for this one can't")?;
    Ok((server, Some(takeover)))
}
