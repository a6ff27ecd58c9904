//! larder-proxy: reads its configuration, serves, drains.

use larder_proxy::cli::{self, Start};
use larder_proxy::config::{Config, ProcessEnvironment};
use larder_proxy::{log, server::Server};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match cli::start(
        std::env::args_os(),
        &ProcessEnvironment,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    ) {
        Start::Serve(config) => config,
        Start::Exit(code) => return ExitCode::from(code),
    };
    match serve(*config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("larder-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(config: Config) -> anyhow::Result<()> {
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
    let server = Server::bind(config).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tracing::info!(listen = %server.client_address()?, admin = %server.admin_address()?, upstream, "serving");
    server
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await
}
