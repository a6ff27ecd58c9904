//! From layers of text to a [`Config`]: reads each setting, then checks what holds between them.

use std::path::Path;

use larder_policy::{Profile, QueryRules, Route, Rules, TrackingParameters};
use toml::Value;

use super::environment::Environment;
use super::fault::{Fault, Faults};
use super::file::{File, strings};
use super::layers::{Flags, Layers, suspicious_variables};
use super::route::{field_names, length, routes};
use super::settings::setting;
use super::upstream::UpstreamHost;
use super::value::{self, Parsed};
use super::{Config, LogFormat, LogLevel, Timeouts, upstream};
use crate::store::{OnPartition, PurgeRules};
use crate::trace::TraceMode;

const PROFILES: &[(&str, Profile)] = &[("safe", Profile::Safe), ("rfc", Profile::Rfc)];
const ON_PARTITION: &[(&str, OnPartition)] = &[
    ("origin", OnPartition::Origin),
    ("serve", OnPartition::Serve),
];
const LOG_FORMATS: &[(&str, LogFormat)] = &[("human", LogFormat::Human), ("json", LogFormat::Json)];
const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const TRACE_MODES: &[(&str, TraceMode)] = &[
    ("continue", TraceMode::Continue),
    ("restart", TraceMode::Restart),
    ("off", TraceMode::Off),
];

pub(super) fn load(flags: &Flags, environment: &dyn Environment) -> Result<Config, Faults> {
    let mut faults = Vec::new();
    let (layers, file) = gather(flags, environment, &mut faults);
    let mut reader = Reader {
        layers: &layers,
        faults,
    };
    let mut config = settings(&mut reader);
    let mut faults = reader.faults;
    file_only(&mut config, &file, &mut faults);
    faults.extend(contradictions(&mut config, &layers));
    config.warnings = suspicious_variables(environment);
    if faults.is_empty() {
        Ok(config)
    } else {
        Err(Faults(faults))
    }
}

/// The layers, lowest first. The file's own path is looked up before, as it can't stand in the file.
fn gather(flags: &Flags, environment: &dyn Environment, faults: &mut Vec<Fault>) -> (Layers, File) {
    let mut above = Layers::default();
    above.put_environment(environment, faults);
    above.put_flags(flags);
    let Some(path) = above.get("config").map(|given| given.text.clone()) else {
        return (above, File::default());
    };
    let path = Path::new(&path);
    let file = File::read(path).unwrap_or_else(|fault| {
        faults.push(fault);
        File::default()
    });
    let mut layers = Layers::default();
    file.settings_into(&mut layers, path, faults);
    layers.put_over(above);
    (layers, file)
}

fn settings(read: &mut Reader<'_>) -> Config {
    let upstream = read.setting("upstream", upstream::upstream);
    let upstream_host = read
        .optional("upstream_host", upstream::upstream_host)
        .unwrap_or_else(|| UpstreamHost::default_for(&upstream));
    let namespace = read
        .optional("namespace", value::namespace)
        .unwrap_or_else(|| upstream.namespace());
    Config {
        listen: read.setting("listen", value::address),
        admin: read.setting("admin", value::address),
        admin_token: read.optional("admin_token", value::token),
        admin_hosts: read
            .optional("admin_hosts", value::hosts)
            .unwrap_or_default(),
        upstream,
        upstream_host,
        upstream_ca: read.optional("upstream_ca", value::readable_file),
        namespace,
        hosts: read.optional("hosts", value::hosts).unwrap_or_default(),
        memory_bytes_max: read.setting("memory", value::size),
        object_bytes_max: read.setting("object_max", value::size),
        origin_concurrency: read.setting("origin_concurrency", value::count),
        connections_max: read.setting("connections_max", value::count),
        redis: read.optional("redis", value::redis_url),
        redis_ca: read.optional("redis_ca", value::readable_file),
        redis_mac_key: read.optional("redis_mac_key", value::mac_key),
        redis_mac_key_old: read.optional("redis_mac_key_old", value::mac_key),
        redis_timeout: read.setting("redis_timeout", value::timeout),
        upgrade_sock: read.optional("upgrade_sock", value::socket_path),
        upgrade_timeout: read.setting("upgrade_timeout", value::timeout),
        purges: PurgeRules {
            on_partition: read.setting("on_partition", |text| value::choice(text, ON_PARTITION)),
            lease: read.setting("purge_lease", value::lease),
        },
        log_format: read.setting("log_format", |text| value::choice(text, LOG_FORMATS)),
        log_level: read.setting("log_level", |text| value::choice(text, LOG_LEVELS)),
        trace: read.setting("trace", |text| value::choice(text, TRACE_MODES)),
        timeouts: timeouts(read),
        rules: Rules {
            profile: read.setting("profile", |text| value::choice(text, PROFILES)),
            early_refresh: read.setting("early_refresh", value::eagerness),
            ttl_jitter_percent: read.setting("ttl_jitter", value::percent),
            ..Rules::default()
        },
        tracking_parameters: TrackingParameters::default(),
        routes: Vec::new(),
        default_route: Route::default(),
        warnings: Vec::new(),
    }
}

fn timeouts(read: &mut Reader<'_>) -> Timeouts {
    Timeouts {
        client_header: read.setting("client_header_timeout", value::timeout),
        client_idle: read.setting("client_idle_timeout", value::timeout),
        client_write: read.setting("client_write_timeout", value::timeout),
        upstream_connect: read.setting("upstream_connect_timeout", value::timeout),
        upstream_read: read.setting("upstream_read_timeout", value::timeout),
        upstream_idle: read.setting("upstream_idle_timeout", value::timeout),
        drain: read.setting("drain_timeout", value::timeout),
    }
}

/// The lists and routes, which stand in the file alone.
fn file_only(config: &mut Config, file: &File, faults: &mut Vec<Fault>) {
    let rules = &mut config.rules;
    replace(
        &mut rules.identity_fields,
        file,
        "identity_fields",
        field_names,
        faults,
    );
    replace(
        &mut rules.targeted_fields,
        file,
        "targeted_fields",
        field_names,
        faults,
    );
    replace(
        &mut rules.unkeyed_fields,
        file,
        "unkeyed_fields",
        field_names,
        faults,
    );
    replace(
        &mut rules.stale_if_error_default,
        file,
        "stale_if_error",
        length,
        faults,
    );
    let tracking = &mut config.tracking_parameters;
    replace(
        tracking,
        file,
        "tracking_parameters",
        tracking_parameters,
        faults,
    );
    config.routes = routes(file, tracking, faults);
    config.default_route.query = QueryRules {
        tracking: tracking.clone(),
        ..QueryRules::default()
    };
}

fn replace<T>(
    place: &mut T,
    file: &File,
    key: &str,
    parse: impl Fn(&Value) -> Parsed<T>,
    faults: &mut Vec<Fault>,
) {
    match file.table.get(key).map(parse) {
        Some(Ok(value)) => *place = value,
        Some(Err(message)) => faults.push(file.fault(key, message)),
        None => {}
    }
}

fn tracking_parameters(value: &Value) -> Parsed<TrackingParameters> {
    Ok(TrackingParameters::new(strings(value)?))
}

/// What no single setting shows.
fn contradictions(config: &mut Config, layers: &Layers) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |key: &str, message: String| {
        let source = layers.get(key).map(|given| given.source.clone());
        faults.push(Fault {
            key: key.to_owned(),
            source,
            message,
        });
    };
    if config.admin_token.is_none() && !config.admin.ip().is_loopback() {
        fault(
            "admin_token",
            format!(
                "is missing, and {} is not a loopback address; set LARDER_ADMIN_TOKEN (or LARDER_ADMIN_TOKEN_FILE), or let admin be 127.0.0.1:8002",
                config.admin
            ),
        );
    }
    let same_ip = config.admin.ip() == config.listen.ip()
        || config.admin.ip().is_unspecified()
        || config.listen.ip().is_unspecified();
    if config.admin.port() == config.listen.port() && config.listen.port() != 0 && same_ip {
        fault(
            "admin",
            format!(
                "{} is where clients are served; take another port",
                config.admin
            ),
        );
    }
    let own = [config.listen, config.admin].map(|address| address.to_string());
    if own.contains(&config.upstream.address()) {
        fault(
            "upstream",
            "is an address of the proxy itself, which would ask itself for ever".to_owned(),
        );
    }
    if config.object_bytes_max > config.memory_bytes_max {
        if layers.get("object_max").is_some() {
            fault(
                "object_max",
                "is more than memory; lower it, or give more memory".to_owned(),
            );
        } else {
            // Nobody asked for the default: less memory simply means smaller objects.
            config.object_bytes_max = config.memory_bytes_max;
        }
    }
    if config.upstream_ca.is_some() && !config.upstream.https {
        fault(
            "upstream_ca",
            "is of no use for an http:// upstream; leave it out, or write https://".to_owned(),
        );
    }
    let mac_keys = [&config.redis_mac_key, &config.redis_mac_key_old];
    if mac_keys.iter().any(|key| key.is_some()) && layers.get("redis").is_none() {
        fault(
            "redis_mac_key",
            "is of no use without redis; leave it out, or set REDIS_URL".to_owned(),
        );
    } else if layers.get("redis_mac_key").is_none() && layers.get("redis_mac_key_old").is_some() {
        fault(
            "redis_mac_key_old",
            "stands without redis_mac_key, so nothing would be sealed; set LARDER_REDIS_MAC_KEY, too".to_owned(),
        );
    } else if mac_keys[0].is_some() && mac_keys[0] == mac_keys[1] {
        fault(
            "redis_mac_key_old",
            "is the same as redis_mac_key; leave it out, or let it be the key of before".to_owned(),
        );
    }
    let redis_tls = config.redis.as_ref().is_some_and(|redis| redis.tls);
    if config.redis_ca.is_some() && layers.get("redis").is_none() {
        fault(
            "redis_ca",
            "is of no use without redis; leave it out, or set REDIS_URL".to_owned(),
        );
    } else if config.redis_ca.is_some() && config.redis.is_some() && !redis_tls {
        fault(
            "redis_ca",
            "is of no use for a Redis without TLS; leave it out, or write rediss:// (or rediss+sentinel://, rediss+cluster://)".to_owned(),
        );
    }
    faults
}

/// Reads settings; what is wrong is noted, and the default stands in so that the reading goes on.
struct Reader<'a> {
    layers: &'a Layers,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn setting<T>(&mut self, key: &str, parse: impl Fn(&str) -> Parsed<T>) -> T {
        self.optional(key, &parse).unwrap_or_else(|| {
            setting(key)
                .and_then(|setting| setting.default)
                .and_then(|default| parse(default).ok())
                .unwrap_or_else(|| {
                    unreachable!("the table's default of {key} can be read: a test reads them all")
                })
        })
    }

    fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Parsed<T>) -> Option<T> {
        let given = self.layers.get(key)?;
        match parse(given.text.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault {
                    key: key.to_owned(),
                    source: Some(given.source.clone()),
                    message,
                });
                None
            }
        }
    }
}
