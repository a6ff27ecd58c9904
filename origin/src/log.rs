//! Log lines, for people or as JSON, to standard error.

use crate::config::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// Sets the log up for the whole process; panics are logged like everything else.
pub fn start(format: LogFormat, filter: &str) -> Result<(), TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;
    // The settings were validated: a filter that does not parse was refused there.
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Human => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .finish()
            .try_init()?,
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .finish()
            .try_init()?,
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        // Without the message: it may repeat what was being handled.
        tracing::error!(place, "panicked");
    }));
    Ok(())
}
