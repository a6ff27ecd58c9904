//! Reads what it is told and runs; see `larder_origin` for everything else.

use larder_origin::{config, log, run};
use std::process::ExitCode;
use std::time::Duration;

/// What no deadline interrupts, as reading a feed, is waited for so long when everything else has ended.
const LEFT_OVER_MAX: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(obey());
    runtime.shutdown_timeout(LEFT_OVER_MAX);
    code
}

/// Does what the command line asks for.
async fn obey() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the environment enters, to be read by config"
    )]
    let environment = |name: &str| std::env::var_os(name);
    let read = config::given(std::env::args_os(), &environment)
        .and_then(|given| Ok((config::Config::parse(&given)?, given.command)));
    let (config, command) = match read {
        Ok(read) => read,
        Err(stop @ config::Stop::Asked(_)) => {
            println!("{stop}");
            return ExitCode::from(stop.exit_code());
        }
        Err(stop) => {
            eprintln!("{stop}");
            return ExitCode::from(stop.exit_code());
        }
    };
    if let Err(error) = log::start(config.log_format, &config.log) {
        eprintln!("cannot log: {error}");
        return ExitCode::FAILURE;
    }
    match run::run(&command, config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
