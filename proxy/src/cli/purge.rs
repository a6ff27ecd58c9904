//! `larder-proxy purge`: from flags to the query of `POST /purge`, and from its answer to words and an exit code.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use url::form_urlencoded::Serializer;

use super::ask::{Asked, ask};
use crate::config::Config;

/// Longer than a purge waits for the replicas.
const PURGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Flags whose values are names, each of which may stand several times.
const NAMES: [(&str, &str, &str); 3] = [
    (
        "url",
        "URL",
        "A URL as a client sends it; /path?query means that target on every host",
    ),
    (
        "tag",
        "TAG",
        "A tag, as in Cache-Tag, Surrogate-Key or Cache-Groups",
    ),
    (
        "prefix",
        "URL",
        "How URLs begin: http://host/path, or /path on every host",
    ),
];

/// The grammar of the command.
pub(super) fn grammar() -> Command {
    let named = NAMES.map(|(name, value, help)| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .action(ArgAction::Append)
    });
    let truth = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    Command::new("purge")
        .about("Purge what is stored, on every replica, through the running proxy's admin port: exit code 0 when it is done, else 1")
        .args(named)
        .arg(truth("all", "Everything"))
        .arg(truth("soft", "Make it stale rather than unusable"))
}

/// The query of the request that these flags mean.
pub(super) fn query(matches: &ArgMatches) -> String {
    let mut query = Serializer::new(String::new());
    for (name, _, _) in NAMES {
        for value in matches.get_many::<String>(name).into_iter().flatten() {
            query.append_pair(name, value);
        }
    }
    for name in ["all", "soft"] {
        if matches.get_flag(name) {
            query.append_pair(name, "true");
        }
    }
    query.finish()
}

/// Purges; what the proxy answered, or what was wrong.
pub(super) fn purge(config: &Config, query: &str) -> Result<String, String> {
    let token = config.admin_token.as_ref().map(|token| token.expose());
    ask(&Asked {
        admin: config.admin,
        method: "POST",
        target: &format!("/purge?{query}"),
        token,
        timeout: PURGE_TIMEOUT,
    })
}
