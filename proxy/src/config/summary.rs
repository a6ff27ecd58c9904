//! The configuration in a few lines, for `check` and the log at the start. Secrets show only that they are there.

use std::fmt::Write as _;

use larder_policy::Profile;

use super::{Config, UpstreamHost};

pub(super) fn summary(config: &Config) -> String {
    let profile = match config.rules.profile {
        Profile::Safe => "safe",
        Profile::Rfc => "rfc",
    };
    let host = match &config.upstream_host {
        UpstreamHost::Client => "the client's",
        UpstreamHost::Upstream => "the upstream's",
        UpstreamHost::Name(name) => name,
    };
    let upstream = &config.upstream;
    let hosts = if config.hosts.is_empty() {
        "any".to_owned()
    } else {
        config.hosts.join(", ")
    };
    let token = if config.admin_token.is_some() {
        "with a token"
    } else {
        "without a token"
    };
    let redis = match (&config.redis, &config.redis_mac_key) {
        (None, _) => "not used",
        (Some(_), None) => "as well",
        (Some(_), Some(_)) => "as well, sealed with a key",
    };
    let rows = [
        ("listen", config.listen.to_string()),
        ("admin", format!("{} ({token})", config.admin)),
        (
            "upstream",
            format!(
                "{}://{} (Host: {host})",
                upstream.scheme(),
                upstream.authority()
            ),
        ),
        ("hosts", hosts),
        ("namespace", config.namespace.clone()),
        ("profile", profile.to_owned()),
        (
            "memory",
            format!(
                "{}, objects up to {}",
                size(config.memory_bytes_max),
                size(config.object_bytes_max)
            ),
        ),
        ("redis", redis.to_owned()),
        ("routes", config.routes.len().to_string()),
    ];
    rows.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  {name:<10} {value}");
        text
    })
}

/// A size in the largest unit that loses nothing.
fn size(bytes: usize) -> String {
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .iter()
        .find(|(_, factor)| bytes.is_multiple_of(*factor))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, factor)| format!("{}{unit}", bytes / factor),
        )
}
