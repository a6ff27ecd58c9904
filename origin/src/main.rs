//! Reads what it is told and runs; see `larder_origin` for everything else.

use larder_origin::{config, log, run};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
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
