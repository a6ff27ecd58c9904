//! The table of settings. Flags, environment variables, keys of the file, `--help` and the test of `.env.example` all come from it.
//!
//! Not in it: what only makes sense in a file (`[[route]]` and the lists of [`super::file`]).

/// What a setting's text holds, as far as a TOML file must know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number, in TOML also without quotes.
    Count,
    /// A number, in TOML also without quotes.
    Number,
    /// A list: an array of strings in TOML; elsewhere separated by commas or white space.
    List,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key in the TOML file.
    pub key: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The flag, without its dashes.
    pub flag: &'static str,
    /// What holds when nobody says anything, in the words one would write. `None`: unset, or derived as the help says.
    pub default: Option<&'static str>,
    /// Never printed, and also read from the file that `<env>_FILE` names.
    pub secret: bool,
    /// What its text holds.
    pub kind: Kind,
    /// The placeholder in `--help`.
    pub placeholder: &'static str,
    /// One or two sentences for `--help`.
    pub help: &'static str,
}

impl Setting {
    const fn text(
        key: &'static str,
        env: &'static str,
        flag: &'static str,
        default: Option<&'static str>,
        placeholder: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            key,
            env,
            flag,
            default,
            secret: false,
            kind: Kind::Text,
            placeholder,
            help,
        }
    }

    const fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    const fn secret(self) -> Self {
        Self {
            secret: true,
            ..self
        }
    }

    /// The variable that names a file with the secret.
    pub fn file_env(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.env))
    }
}

/// The setting of that key.
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Every setting, in the order of `--help`.
#[rustfmt::skip] // one row per setting reads as the table it is
pub const SETTINGS: &[Setting] = &[
    Setting::text("config", "LARDER_CONFIG", "config", None, "FILE",
        "A TOML file with these settings (its keys are the flags' names with underscores), lists and [[route]] tables"),
    Setting::text("listen", "LARDER_LISTEN", "listen", Some("127.0.0.1:8000"), "ADDRESS",
        "Where clients are served"),
    Setting::text("admin", "LARDER_ADMIN", "admin", Some("127.0.0.1:8002"), "ADDRESS",
        "Where operators are served: health, metrics, stats, purge. Other than on loopback it needs an admin token"),
    Setting::text("admin_token", "LARDER_ADMIN_TOKEN", "admin-token", None, "TOKEN",
        "The bearer token that everything on the admin port but /health demands. Prefer LARDER_ADMIN_TOKEN_FILE: other users of the machine can see flags").secret(),
    Setting::text("admin_hosts", "LARDER_ADMIN_HOSTS", "admin-hosts", None, "NAMES",
        "Further host names under which the admin port may be asked (loopback names and its own address always may): a guard against forged requests").kind(Kind::List),
    Setting::text("upstream", "LARDER_UPSTREAM", "upstream", Some("http://127.0.0.1:8001"), "URL",
        "The API to stand in front of: http:// or https://, without a path"),
    Setting::text("upstream_host", "LARDER_UPSTREAM_HOST", "upstream-host", None, "client|upstream|NAME",
        "The Host that the API sees: the client's (default for http://), the upstream's own (default for https://), or a fixed name"),
    Setting::text("upstream_ca", "LARDER_UPSTREAM_CA", "upstream-ca", None, "FILE",
        "A PEM bundle of certificate authorities to trust for an https:// upstream, instead of the system's"),
    Setting::text("redis", "REDIS_URL", "redis", None, "URL",
        "Keep responses in this Redis too, so that replicas share them and restarts keep them: redis://HOST, redis+sentinel://HOST,HOST/MASTER, redis+cluster://HOST,HOST, or rediss... for TLS. Unset: memory alone").secret(),
    Setting::text("redis_ca", "LARDER_REDIS_CA", "redis-ca", None, "FILE",
        "A PEM bundle of certificate authorities to trust for Redis over TLS (rediss://), instead of the system's"),
    Setting::text("redis_mac_key", "LARDER_REDIS_MAC_KEY", "redis-mac-key", None, "KEY",
        "Seal what is written to Redis with this key, the same for all replicas, and believe nothing there that has no such seal: at least 32 random characters, such as from: openssl rand -base64 32").secret(),
    Setting::text("redis_mac_key_old", "LARDER_REDIS_MAC_KEY_OLD", "redis-mac-key-old", None, "KEY",
        "A second key to believe while keys are changed; nothing is written with it").secret(),
    Setting::text("redis_timeout", "LARDER_REDIS_TIMEOUT", "redis-timeout", Some("50ms"), "DURATION",
        "How long a request waits for Redis before it does without"),
    Setting::text("purge_lease", "LARDER_PURGE_LEASE", "purge-lease", Some("2s"), "DURATION",
        "How long a replica that loses sight of the purges in Redis still trusts what it holds, and so how long a purge waits for it at most"),
    Setting::text("on_partition", "LARDER_ON_PARTITION", "on-partition", Some("origin"), "origin|serve",
        "While purges in Redis can't be followed. origin: ask the API whether what is stored is still good. serve: serve it, perhaps purged, and say so in Cache-Status"),
    Setting::text("namespace", "LARDER_NAMESPACE", "namespace", None, "NAME",
        "What separates this API's responses from others' in one Redis: 1 to 64 of A-Z a-z 0-9 . _ : - (default: derived from the upstream)"),
    Setting::text("hosts", "LARDER_HOSTS", "hosts", None, "NAMES",
        "Answer only requests for these hosts (name, or name:port); others get 421. Unset: any").kind(Kind::List),
    Setting::text("profile", "LARDER_PROFILE", "profile", Some("safe"), "safe|rfc",
        "safe: also refuse to share answers to callers who name themselves, and Set-Cookie. rfc: all that RFC 9111 lets a shared cache do"),
    Setting::text("memory", "LARDER_MEMORY", "memory", Some("256MiB"), "SIZE",
        "How much memory stored responses may take"),
    Setting::text("object_max", "LARDER_OBJECT_MAX", "object-max", Some("8MiB"), "SIZE",
        "The largest response that is stored"),
    Setting::text("origin_concurrency", "LARDER_ORIGIN_CONCURRENCY", "origin-concurrency", Some("256"), "COUNT",
        "How many requests may be under way at the API at once for the cache's sake").kind(Kind::Count),
    Setting::text("early_refresh", "LARDER_EARLY_REFRESH", "early-refresh", Some("1.0"), "NUMBER",
        "How eagerly responses that are asked for often are fetched anew shortly before they expire: 0 is never, 2 twice as early as 1").kind(Kind::Number),
    Setting::text("ttl_jitter", "LARDER_TTL_JITTER", "ttl-jitter", Some("0%"), "PERCENT",
        "Let responses expire earlier than they might, each by another share of its time up to this one, so that what was stored together doesn't expire together"),
    Setting::text("connections_max", "LARDER_CONNECTIONS_MAX", "connections-max", Some("10000"), "COUNT",
        "How many client connections are served at once").kind(Kind::Count),
    Setting::text("client_header_timeout", "LARDER_CLIENT_HEADER_TIMEOUT", "client-header-timeout", Some("10s"), "DURATION",
        "How long a client may take to send a request's head"),
    Setting::text("client_idle_timeout", "LARDER_CLIENT_IDLE_TIMEOUT", "client-idle-timeout", Some("60s"), "DURATION",
        "How long an idle client connection is kept"),
    Setting::text("client_write_timeout", "LARDER_CLIENT_WRITE_TIMEOUT", "client-write-timeout", Some("30s"), "DURATION",
        "How long a client may take none of the bytes sent to it"),
    Setting::text("upstream_connect_timeout", "LARDER_UPSTREAM_CONNECT_TIMEOUT", "upstream-connect-timeout", Some("3s"), "DURATION",
        "How long connecting to the API may take, TLS included"),
    Setting::text("upstream_read_timeout", "LARDER_UPSTREAM_READ_TIMEOUT", "upstream-read-timeout", Some("60s"), "DURATION",
        "How long the API may take to its first byte, and between two reads"),
    Setting::text("upstream_idle_timeout", "LARDER_UPSTREAM_IDLE_TIMEOUT", "upstream-idle-timeout", Some("30s"), "DURATION",
        "How long an idle connection to the API is kept"),
    Setting::text("drain_timeout", "LARDER_DRAIN_TIMEOUT", "drain-timeout", Some("8s"), "DURATION",
        "How long requests under way may take to end after SIGTERM"),
    Setting::text("upgrade_sock", "LARDER_UPGRADE_SOCK", "upgrade-sock", None, "FILE",
        "A Unix socket, in a folder that only this user can write to, on which a new process started with --upgrade takes over from the running one after SIGQUIT"),
    Setting::text("upgrade_timeout", "LARDER_UPGRADE_TIMEOUT", "upgrade-timeout", Some("30s"), "DURATION",
        "How long the two processes of an upgrade wait for each other; after it the running one serves on and the new one ends"),
    Setting::text("log_format", "LARDER_LOG_FORMAT", "log-format", Some("human"), "human|json",
        "The form of the log"),
    Setting::text("log_level", "LARDER_LOG_LEVEL", "log-level", Some("info"), "error|warn|info|debug|trace",
        "What is worth logging. The access log is at info"),
    Setting::text("trace", "LARDER_TRACE", "trace", Some("continue"), "continue|restart|off",
        "The traceparent and X-Request-Id of what goes to the API, and of its lines in the log. continue: the client's, else new ones. restart: always new ones. off: the client's fields pass as they came"),
];
