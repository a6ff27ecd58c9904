//! Settings: from flags, variables and a file to a configuration, or to every fault at once.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use larder_policy::{Identity, Profile, TrackingParameters};
use larder_proxy::config::settings::{Kind, SETTINGS};
use larder_proxy::config::{Config, Faults, Flags, LogFormat, LogLevel, PathPattern, UpstreamHost};
use larder_proxy::trace::TraceMode;
use proptest::prelude::*;
use tempfile::TempDir;

type Variables = BTreeMap<String, String>;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn from_environment(pairs: &[(&str, &str)]) -> Result<Config, Faults> {
    Config::load(&Flags::new(), &variables(pairs))
}

/// Loads a file that holds `toml`, over which `pairs` of the environment lie.
fn from_file_and(toml: &str, pairs: &[(&str, &str)]) -> Result<Config, Faults> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("larder.toml");
    fs::write(&path, toml).unwrap();
    let flags = Flags::from([("config", path.display().to_string())]);
    Config::load(&flags, &variables(pairs))
}

fn from_file(toml: &str) -> Result<Config, Faults> {
    from_file_and(toml, &[])
}

#[track_caller]
fn faults(loaded: Result<Config, Faults>) -> Vec<(String, String)> {
    let faults = loaded.expect_err("a fault was expected").0;
    faults
        .into_iter()
        .map(|fault| (fault.key.clone(), fault.to_string()))
        .collect()
}

/// The one fault, in words.
#[track_caller]
fn fault(loaded: Result<Config, Faults>) -> String {
    let mut faults = faults(loaded);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0).1
}

#[test]
fn nothing_said_gives_the_documented_defaults() {
    let config = from_environment(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8000".parse().unwrap());
    assert_eq!(config.admin, "127.0.0.1:8002".parse().unwrap());
    assert!(config.admin_token.is_none() && config.redis.is_none());
    assert_eq!(config.upstream.authority(), "127.0.0.1:8001");
    assert!(!config.upstream.https);
    assert_eq!(config.upstream_host, UpstreamHost::Client);
    assert_eq!(config.namespace, "127.0.0.1:8001");
    assert_eq!(config.memory_bytes_max, 256 << 20);
    assert_eq!(config.object_bytes_max, 8 << 20);
    assert_eq!(config.origin_concurrency, 256);
    assert_eq!(config.connections_max, 10_000);
    assert_eq!(config.redis_timeout, Duration::from_millis(50));
    assert_eq!(
        (config.log_format, config.log_level),
        (LogFormat::Human, LogLevel::Info)
    );
    assert_eq!(config.trace, TraceMode::Continue);
    assert_eq!(config.rules.profile, Profile::Safe);
    let timeouts = config.timeouts;
    let seconds = [
        (timeouts.client_header, 10),
        (timeouts.client_idle, 60),
        (timeouts.client_write, 30),
        (timeouts.upstream_connect, 3),
        (timeouts.upstream_read, 60),
        (timeouts.upstream_idle, 30),
        (timeouts.drain, 8),
    ];
    for (timeout, seconds) in seconds {
        assert_eq!(timeout, Duration::from_secs(seconds));
    }
    assert!(config.warnings.is_empty());
}

/// No setting takes this: not an address, size, duration, count, word or file, with a blank that tokens and hosts refuse.
const NONSENSE: &str = "no/n sense?";

#[test]
fn every_setting_is_read_from_variable_flag_and_file() {
    for setting in SETTINGS.iter().filter(|setting| setting.key != "config") {
        let environment = from_environment(&[(setting.env, NONSENSE)]);
        let flag = Config::load(
            &Flags::from([(setting.key, NONSENSE.to_owned())]),
            &Variables::new(),
        );
        let file = match setting.kind {
            Kind::List => from_file(&format!("{} = [\"{NONSENSE}\"]", setting.key)),
            _ => from_file(&format!("{} = \"{NONSENSE}\"", setting.key)),
        };
        let sources = [
            (environment, setting.env.to_owned()),
            (flag, format!("--{}", setting.flag)),
            (file, "larder.toml".to_owned()),
        ];
        for (loaded, source) in sources {
            let faults = faults(loaded);
            let named = faults
                .iter()
                .any(|(key, text)| key == setting.key && text.contains(&source));
            assert!(named, "{} from {source}: {faults:?}", setting.key);
        }
    }
}

#[test]
fn keys_variables_and_flags_are_the_same_words() {
    for setting in SETTINGS {
        assert_eq!(setting.flag, setting.key.replace('_', "-"));
        let expected = match setting.key {
            "redis" => "REDIS_URL".to_owned(),
            key => format!("LARDER_{}", key.to_uppercase()),
        };
        assert_eq!(setting.env, expected);
        assert!(setting.help.len() > 15, "{} has no help", setting.key);
    }
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let toml = "namespace = \"file\"\nmemory = \"1GiB\"\norigin_concurrency = 7";
    let config = from_file(toml).unwrap();
    assert_eq!(config.namespace, "file");
    let config = from_file_and(toml, &[("LARDER_NAMESPACE", "variable")]).unwrap();
    assert_eq!(config.namespace, "variable");
    assert_eq!(
        (config.memory_bytes_max, config.origin_concurrency),
        (1 << 30, 7)
    );
    let flags = Flags::from([("namespace", "flag".to_owned())]);
    let config = Config::load(&flags, &variables(&[("LARDER_NAMESPACE", "variable")])).unwrap();
    assert_eq!(config.namespace, "flag");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let blank: Vec<_> = SETTINGS.iter().map(|setting| (setting.env, " ")).collect();
    let config = from_environment(&blank).unwrap();
    assert_eq!(config.namespace, "127.0.0.1:8001");
    let config = from_file_and("namespace = \"file\"", &[("LARDER_NAMESPACE", "")]).unwrap();
    assert_eq!(config.namespace, "file");
}

#[test]
fn all_faults_are_told_at_once_with_key_place_and_what_would_be_right() {
    let toml = "memory = \"256\"\nmemroy = \"1GiB\"\n[[route]]\nttl = \"5m\"\n";
    let faults = faults(from_file_and(
        toml,
        &[
            ("LARDER_LISTEN", "localhost"),
            ("LARDER_PROFILE", "fast"),
            ("LARDER_ADMIN", "0.0.0.0:8002"),
        ],
    ));
    let keys: Vec<_> = faults.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "memroy",
            "listen",
            "memory",
            "profile",
            "route 1.path",
            "admin_token"
        ]
    );
    let all = faults
        .iter()
        .map(|(_, text)| text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    for words in [
        "did you mean memory?",
        "such as 256MiB",
        "(from LARDER_LISTEN)",
        "such as 127.0.0.1:8000",
        "safe, rfc",
        "LARDER_ADMIN_TOKEN_FILE",
    ] {
        assert!(all.contains(words), "{words} is not in:\n{all}");
    }
}

#[test]
fn sizes_and_durations_must_carry_their_unit() {
    for (text, bytes) in [
        ("1B", 1),
        ("8MiB", 8 << 20),
        ("8 MiB", 8 << 20),
        ("2GB", 2_000_000_000),
        ("64kB", 64_000),
    ] {
        let config = from_environment(&[("LARDER_MEMORY", text)]).unwrap();
        assert_eq!(config.memory_bytes_max, bytes, "{text}");
    }
    for text in [
        "8",
        "0MiB",
        "-8MiB",
        "8mib",
        "8.5MiB",
        "MiB",
        "8  MiB",
        "8MiB8",
        "18446744073709551615GiB",
        "99999999999999999999B",
    ] {
        let fault = fault(from_environment(&[("LARDER_MEMORY", text)]));
        assert!(
            fault.starts_with("memory (from LARDER_MEMORY): "),
            "{text}: {fault}"
        );
    }
    for (text, millis) in [
        ("1ms", 1),
        ("50ms", 50),
        ("3s", 3_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
    ] {
        let config = from_environment(&[("LARDER_REDIS_TIMEOUT", text)]).unwrap();
        assert_eq!(
            config.redis_timeout,
            Duration::from_millis(millis),
            "{text}"
        );
    }
    for text in [
        "50",
        "0ms",
        "0.5s",
        "5min",
        "25h",
        "-1s",
        "18446744073709551615d",
    ] {
        let fault = fault(from_environment(&[("LARDER_REDIS_TIMEOUT", text)]));
        assert!(
            fault.starts_with("redis_timeout (from LARDER_REDIS_TIMEOUT): "),
            "{text}: {fault}"
        );
    }
}

#[test]
fn counts_stop_at_their_ends() {
    for (text, right) in [
        ("0", false),
        ("1", true),
        ("1000000", true),
        ("1000001", false),
        ("-1", false),
        ("1.0", false),
    ] {
        let loaded = from_environment(&[("LARDER_CONNECTIONS_MAX", text)]);
        assert_eq!(loaded.is_ok(), right, "{text}");
    }
}

#[test]
fn objects_default_to_no_more_than_memory_but_never_silently_when_asked_for() {
    let config = from_environment(&[("LARDER_MEMORY", "1MiB")]).unwrap();
    assert_eq!(config.object_bytes_max, 1 << 20);
    let asked = [("LARDER_MEMORY", "1MiB"), ("LARDER_OBJECT_MAX", "2MiB")];
    assert!(fault(from_environment(&asked)).starts_with("object_max (from LARDER_OBJECT_MAX)"));
}

#[test]
fn an_upstream_is_scheme_host_and_port() {
    for (url, authority, address, namespace) in [
        (
            "http://api.example",
            "api.example",
            "api.example:80",
            "api.example:80",
        ),
        (
            "https://API.example/",
            "api.example",
            "api.example:443",
            "https:api.example:443",
        ),
        (
            "https://api.example:8443",
            "api.example:8443",
            "api.example:8443",
            "https:api.example:8443",
        ),
        ("http://[::1]:9000", "[::1]:9000", "[::1]:9000", "::1:9000"),
    ] {
        let config = from_environment(&[("LARDER_UPSTREAM", url)]).unwrap();
        assert_eq!(config.upstream.authority(), authority, "{url}");
        assert_eq!(config.upstream.address(), address, "{url}");
        assert_eq!(config.namespace, namespace, "{url}");
    }
    for url in [
        "127.0.0.1:8001",
        "api.example",
        "ftp://api.example",
        "http://",
        "http://a/path",
        "http://a/?q",
        "http://a/#f",
        "http://a:0",
        "http://a:99999",
        "unix:/x",
    ] {
        let fault = fault(from_environment(&[("LARDER_UPSTREAM", url)]));
        assert!(fault.contains("write http://host:port"), "{url}: {fault}");
    }
    let fault = fault(from_environment(&[(
        "LARDER_UPSTREAM",
        "http://me:hunter2@a",
    )]));
    assert!(
        fault.starts_with("upstream") && !fault.contains("hunter2"),
        "{fault}"
    );
}

#[test]
fn the_host_that_the_api_sees_follows_the_scheme_unless_said() {
    for (upstream, said, expected) in [
        ("http://a", "", UpstreamHost::Client),
        ("https://a", "", UpstreamHost::Upstream),
        ("http://a", "upstream", UpstreamHost::Upstream),
        ("https://a", "client", UpstreamHost::Client),
        (
            "https://a",
            "API.example:8443",
            UpstreamHost::Name("api.example:8443".to_owned()),
        ),
    ] {
        let config = from_environment(&[
            ("LARDER_UPSTREAM", upstream),
            ("LARDER_UPSTREAM_HOST", said),
        ]);
        assert_eq!(config.unwrap().upstream_host, expected, "{upstream} {said}");
    }
    let fault = fault(from_environment(&[("LARDER_UPSTREAM_HOST", "http://a/")]));
    assert!(fault.starts_with("upstream_host"), "{fault}");
}

#[test]
fn further_authorities_are_a_readable_file_for_an_https_upstream() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    let text = path.display().to_string();
    let https = [
        ("LARDER_UPSTREAM", "https://a"),
        ("LARDER_UPSTREAM_CA", text.as_str()),
    ];
    assert!(fault(from_environment(&https)).contains("can't be read"));
    fs::write(&path, "").unwrap();
    assert_eq!(from_environment(&https).unwrap().upstream_ca, Some(path));
    let http = fault(from_environment(&[("LARDER_UPSTREAM_CA", &text)]));
    assert!(http.contains("of no use for an http:// upstream"), "{http}");
}

#[test]
fn long_upstreams_get_distinct_namespaces_that_fit() {
    let namespace = |letter: &str| {
        let url = format!("http://{}.{}.example", letter.repeat(60), "x".repeat(60));
        from_environment(&[("LARDER_UPSTREAM", &url)])
            .unwrap()
            .namespace
    };
    let (one, other) = (namespace("a"), namespace("b"));
    assert_eq!((one.len(), other.len()), (64, 64));
    assert_ne!(one, other);
    for (text, right) in [
        ("a", true),
        ("A.b_c:d-9", true),
        ("a b", false),
        ("ä", false),
        ("a/b", false),
    ] {
        assert_eq!(
            from_environment(&[("LARDER_NAMESPACE", text)]).is_ok(),
            right,
            "{text}"
        );
    }
    for (length, right) in [(63, true), (64, true), (65, false)] {
        let name = "n".repeat(length);
        assert_eq!(
            from_environment(&[("LARDER_NAMESPACE", &name)]).is_ok(),
            right,
            "{length}"
        );
    }
}

#[test]
fn the_admin_port_leaves_loopback_only_with_a_token() {
    for address in ["0.0.0.0:8002", "[::]:8002", "10.0.0.1:8002"] {
        let fault = fault(from_environment(&[("LARDER_ADMIN", address)]));
        assert!(fault.starts_with("admin_token: is missing"), "{fault}");
        from_environment(&[("LARDER_ADMIN", address), ("LARDER_ADMIN_TOKEN", "s3cret")]).unwrap();
    }
    from_environment(&[("LARDER_ADMIN", "[::1]:8002")]).unwrap();
    let fault = fault(from_environment(&[("LARDER_ADMIN_TOKEN", "two words")]));
    assert!(
        fault.contains("visible ASCII") && !fault.contains("two words"),
        "{fault}"
    );
}

#[test]
fn addresses_of_the_proxy_itself_can_not_clash() {
    let clash = fault(from_environment(&[("LARDER_ADMIN", "127.0.0.1:8000")]));
    assert!(clash.starts_with("admin (from LARDER_ADMIN)"), "{clash}");
    let itself = fault(from_environment(&[(
        "LARDER_UPSTREAM",
        "http://127.0.0.1:8000",
    )]));
    assert!(
        itself.starts_with("upstream (from LARDER_UPSTREAM)"),
        "{itself}"
    );
    // Port 0 is "any free one": two of them don't clash.
    from_environment(&[
        ("LARDER_ADMIN", "127.0.0.1:0"),
        ("LARDER_LISTEN", "127.0.0.1:0"),
    ])
    .unwrap();
}

#[test]
fn secrets_come_from_files_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    fs::write(&path, "from-a-file\r\n").unwrap();
    let path = path.display().to_string();
    let config = from_environment(&[("LARDER_ADMIN_TOKEN_FILE", &path)]).unwrap();
    assert_eq!(config.admin_token.unwrap().expose(), "from-a-file");
    let both = [
        ("LARDER_ADMIN_TOKEN_FILE", path.as_str()),
        ("LARDER_ADMIN_TOKEN", "x"),
    ];
    assert!(fault(from_environment(&both)).contains("set one of them"));
    let missing = fault(from_environment(&[("REDIS_URL_FILE", "/nowhere/at/all")]));
    assert!(
        missing.starts_with("redis (from REDIS_URL_FILE): the file \"/nowhere/at/all\""),
        "{missing}"
    );
    fs::write(&path, "\n").unwrap();
    assert!(fault(from_environment(&[("REDIS_URL_FILE", &path)])).contains("is empty"));
}

#[test]
fn keys_for_redis_are_long_random_text_and_never_quoted() {
    let redis = ("REDIS_URL", "redis://cache");
    let (one, two) = (
        "0123456789abcdef0123456789abcdef",
        "q2Fz8Xw/rB5kTn1mYc9sVd3hLg7jPe0u=+",
    );
    let load = |key: &str, old: &str| {
        let keys = [
            ("LARDER_REDIS_MAC_KEY", key),
            ("LARDER_REDIS_MAC_KEY_OLD", old),
        ];
        from_environment(&[&[redis], &keys[..]].concat())
    };
    let config = load(one, two).unwrap();
    assert_eq!(config.redis_mac_key.as_ref().unwrap().expose(), one);
    assert_eq!(config.redis_mac_key_old.as_ref().unwrap().expose(), two);
    let printed = format!("{config:?}{}", config.summary());
    assert!(!printed.contains(one) && !printed.contains(two));
    assert!(printed.contains("sealed with a key"));
    for bad in [one[..31].to_owned(), "a".repeat(64), "abcdefg".repeat(8)] {
        let fault = fault(load(&bad, ""));
        assert!(fault.contains("at least 32 random characters"), "{fault}");
        assert!(!fault.contains(&bad), "{fault}");
    }
    assert!(fault(load("", one)).contains("stands without redis_mac_key"));
    assert!(fault(load(one, one)).contains("is the same as redis_mac_key"));
    let alone = fault(from_environment(&[("LARDER_REDIS_MAC_KEY", one)]));
    assert!(alone.contains("of no use without redis"), "{alone}");
    // Only what is wrong with the key itself is said.
    assert!(fault(load("short", two)).contains("at least 32"));
}

#[test]
fn secrets_are_printed_by_nothing() {
    let toml = "admin_token = \"hunter2\"\nredis = \"redis://user:hunter2@cache:6379/0\"";
    let config = from_file(toml).unwrap();
    assert!(!format!("{config:?}{}", config.summary()).contains("hunter2"));
    let password = config.redis.unwrap().login.password.unwrap();
    assert_eq!(password.expose(), "hunter2");
    for url in [
        "hunter2",
        "http://user:hunter2@cache",
        "redis://:hunter2@",
        "redis:hunter2",
    ] {
        let fault = fault(from_environment(&[("REDIS_URL", url)]));
        assert!(
            fault.contains("write redis://") && !fault.contains("hunter2"),
            "{url}: {fault}"
        );
    }
    // Syntax errors quote the line in most parsers.
    let fault = fault(from_file("listen = \"127.0.0.1:1\"\nadmin_token = hunter2"));
    assert!(
        fault.contains("line 2 is not TOML") && !fault.contains("hunter2"),
        "{fault}"
    );
}

#[test]
fn keys_that_nobody_knows_are_faults_with_a_hint() {
    let toml = "lisen = \"127.0.0.1:1\"\nredis-timeout = \"1s\"\nzebra = 1\nconfig = \"x\"\n\
                [[route]]\npath = \"/a\"\nttll = \"1s\"\n[route.query]\nignor = [\"a\"]";
    let texts: Vec<_> = faults(from_file(toml))
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let all = texts.join("\n");
    assert_eq!(texts.len(), 6, "{all}");
    for words in [
        "lisen (from ",
        "did you mean listen?",
        "did you mean redis_timeout?",
        "a file can't name another file",
        "route 1.ttll (from ",
        "did you mean ttl?",
        "route 1.query.ignor (from ",
        "did you mean ignore?",
    ] {
        assert!(all.contains(words), "{words} is not in:\n{all}");
    }
    let zebra = texts.iter().find(|text| text.starts_with("zebra")).unwrap();
    assert!(zebra.ends_with("there is no such key"), "{zebra}");
}

#[test]
fn values_of_the_wrong_type_are_faults() {
    let toml = "listen = 8000\nhosts = \"a\"\norigin_concurrency = 1.5\nmemory = 256\nidentity_fields = [1]\n\
                tracking_parameters = true\nstale_if_error = 600\nroute = 1";
    let keys: Vec<_> = faults(from_file(toml))
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    let mut expected = vec![
        "listen",
        "origin_concurrency",
        "memory",
        "identity_fields",
        "tracking_parameters",
        "stale_if_error",
        "route",
    ];
    expected.sort_unstable();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let fault = fault(from_environment(&[(
        "LARDER_CONFIG",
        "/nowhere/larder.toml",
    )]));
    assert!(
        fault.starts_with("config (from /nowhere/larder.toml): the file can't be read"),
        "{fault}"
    );
}

const ROUTES: &str = r#"
tracking_parameters = ["src_*", "ref"]
[[route]]
path = "/articles*"
ttl = "5m"
override = true
stale_while_revalidate = "30s"
stale_if_error = "1h"
[[route]]
path = "/*/search"
identity = "strip"
keyed_fields = ["X-Forwarded-Proto"]
query = { sort = false, only = ["q"], ignore = ["session"] }
[[route]]
path = "/articles/special"
ttl = "1s"
"#;

#[test]
fn the_first_route_that_covers_a_path_holds() {
    let config = from_file(ROUTES).unwrap();
    let articles = config.route_for("/articles/special");
    assert_eq!(articles.ttl, Some(Duration::from_secs(300)));
    assert!(articles.override_origin);
    assert_eq!(
        articles.stale_while_revalidate,
        Some(Duration::from_secs(30))
    );
    assert_eq!(articles.stale_if_error, Some(Duration::from_secs(3600)));
    let search = config.route_for("/v1/search");
    assert_eq!(search.identity, Identity::Strip);
    assert_eq!(search.keyed_fields, ["x-forwarded-proto"]);
    assert_eq!(
        (search.query.sort, search.query.only.as_deref()),
        (false, Some(&["q".to_owned()][..]))
    );
    assert_eq!(search.query.ignore, ["session"]);
    assert_eq!(config.route_for("/other").ttl, None);
}

#[test]
fn every_route_and_the_default_know_the_tracking_parameters() {
    let config = from_file(ROUTES).unwrap();
    let expected = TrackingParameters::new(["src_*", "ref"]);
    for path in ["/articles", "/v1/search", "/other"] {
        assert_eq!(config.route_for(path).query.tracking, expected, "{path}");
    }
    let none = from_file("tracking_parameters = []").unwrap();
    assert_eq!(
        none.route_for("/").query.tracking,
        TrackingParameters::none()
    );
    let shipped = from_file("").unwrap();
    assert_eq!(
        shipped.route_for("/").query.tracking,
        TrackingParameters::default()
    );
}

#[test]
fn faults_of_routes_name_the_route() {
    let toml = "[[route]]\npath = \"articles\"\nttl = \"5\"\n[[route]]\npath = \"/b\"\noverride = true\nidentity = \"drop\"\n\
                keyed_fields = [\"a b\"]\nquery = 1";
    let keys: Vec<_> = faults(from_file(toml))
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(
        keys,
        [
            "route 1.path",
            "route 1.ttl",
            "route 2.override",
            "route 2.identity",
            "route 2.query",
            "route 2.keyed_fields"
        ]
    );
}

#[test]
fn a_star_stands_for_any_run_of_characters() {
    for (pattern, path, covered) in [
        ("/articles*", "/articles", true),
        ("/articles*", "/articles/7", true),
        ("/articles*", "/article", false),
        ("/articles", "/articles", true),
        ("/articles", "/articles/", false),
        ("*", "/", true),
        ("*.json", "/a/b.json", true),
        ("*.json", "/a/b.jsonx", false),
        ("/*/comments", "/7/comments", true),
        ("/*/comments", "/comments", false),
        ("/a*a", "/a", false),
        ("/a*a", "/aa", true),
        ("/a*b*c", "/abc", true),
        ("/a*b*c", "/axbxbxc", true),
        ("/a*b*c", "/acb", false),
        ("/a**c", "/abc", true),
        ("/a*bc*bc", "/abc", false),
        ("/a*bc*bc", "/abcbc", true),
        ("/%C3%A4*", "/%C3%A4b", true),
    ] {
        assert_eq!(
            PathPattern::new(pattern).unwrap().covers(path),
            covered,
            "{pattern} {path}"
        );
    }
    for pattern in ["", "articles", "/a?b", "/a b", "/ä", "/a#b"] {
        assert!(PathPattern::new(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn lists_of_the_file_replace_the_shipped_ones() {
    let config = from_file("identity_fields = [\"X-Tenant\"]\nunkeyed_fields = []\ntargeted_fields = [\"larder-cache-control\"]\nstale_if_error = \"0s\"").unwrap();
    assert_eq!(config.rules.identity_fields, ["x-tenant"]);
    assert!(config.rules.unkeyed_fields.is_empty());
    assert_eq!(config.rules.targeted_fields, ["larder-cache-control"]);
    assert_eq!(config.rules.stale_if_error_default, Duration::ZERO);
}

#[test]
fn hosts_are_answered_with_any_port_unless_one_is_named() {
    let config =
        from_environment(&[("LARDER_HOSTS", "API.example, b.example:8443\n[::1]")]).unwrap();
    for (authority, answered) in [
        ("api.example", true),
        ("api.example:8000", true),
        ("b.example:8443", true),
        ("b.example", false),
        ("[::1]:8000", true),
        ("evil.example", false),
        ("api.example.evil", false),
        ("", false),
    ] {
        assert_eq!(config.answers_host(authority), answered, "{authority}");
    }
    assert!(
        from_environment(&[])
            .unwrap()
            .answers_host("whoever.example")
    );
    assert!(fault(from_environment(&[("LARDER_HOSTS", "http://a/")])).starts_with("hosts"));
}

#[test]
fn a_misspelt_variable_is_warned_of_and_others_programs_are_not() {
    let config = from_environment(&[
        ("LARDER_UPSTEAM", "http://a"),
        ("LARDER_PURGE_URL", "x"),
        ("REDIS_URLS", "y"),
    ])
    .unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(
        config.warnings[0].contains("LARDER_UPSTEAM")
            && config.warnings[0].contains("LARDER_UPSTREAM?")
    );
}

/// What a pattern means, said as plainly as possible: no cleverness to share a fault with.
fn covers_plainly(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => covers_plainly(rest, path),
        (Some((b'*', rest)), Some((_, after))) => {
            covers_plainly(rest, path) || covers_plainly(pattern, after)
        }
        (Some((wanted, rest)), Some((byte, after))) => {
            wanted == byte && covers_plainly(rest, after)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn patterns_cover_what_they_plainly_mean(pattern in "/[ab*/]{0,8}", path in "/[ab/]{0,12}") {
        let covers = PathPattern::new(&pattern).unwrap().covers(&path);
        prop_assert_eq!(covers, covers_plainly(pattern.as_bytes(), path.as_bytes()));
    }

    #[test]
    fn no_text_makes_the_reading_panic(text in "\\PC{0,40}", unit in "[0-9]{0,25} ?[a-zA-Z]{0,3}") {
        for setting in SETTINGS {
            for text in [&text, &unit] {
                let _ = from_environment(&[(setting.env, text)]);
            }
        }
    }

    #[test]
    fn no_file_makes_the_reading_panic(
        key in "(route|query|ttl|path|hosts|memory|stale_if_error|tracking_parameters|[a-z_]{1,8})",
        value in "(1|1.5|true|\\[\\]|\\[1\\]|\\{\\}|\"\\PC{0,8}\"|1979-05-27|\\[\\{ path = 1 \\}\\]|\\[\\{ query = \\[\\] \\}\\]|\\PC{0,12})",
    ) {
        let _ = from_file(&format!("{key} = {value}"));
    }
}

#[test]
fn early_refresh_and_jitter_are_read_to_the_last_digit_and_no_further() {
    let read = |text: &str| {
        from_file(text).map(|config| {
            let rules = config.rules;
            (
                rules.early_refresh.beta_thousandths,
                rules.ttl_jitter_percent,
            )
        })
    };
    assert_eq!(read("").unwrap(), (1000, 0));
    for (text, beta_thousandths) in [
        ("0", 0),
        ("1", 1000),
        ("0.001", 1),
        ("2.5", 2500),
        ("\"1.25\"", 1250),
        ("100", 100_000),
    ] {
        let read = read(&format!("early_refresh = {text}")).unwrap();
        assert_eq!(read.0, beta_thousandths, "{text}");
    }
    for text in [
        "-1", "100.001", "101", "\"\"", "\"1.\"", "\".5\"", "0.0001", "nan", "true",
    ] {
        let faults = faults(from_file(&format!("early_refresh = {text}")));
        assert_eq!(faults.len(), 1, "{text}");
        assert_eq!(faults[0].0, "early_refresh", "{text}");
    }
    for (text, percent) in [("0%", 0), ("10%", 10), ("10 %", 10), ("50%", 50)] {
        assert_eq!(
            read(&format!("ttl_jitter = \"{text}\"")).unwrap().1,
            percent
        );
    }
    for text in ["51%", "10", "-1%", "%", "1.5%"] {
        assert_eq!(
            faults(from_file(&format!("ttl_jitter = \"{text}\""))).len(),
            1
        );
    }
    let route =
        from_file("[[route]]\npath = \"/a\"\nearly_refresh = 0\nttl_jitter = \"5%\"").unwrap();
    let route = route.route_for("/a");
    assert_eq!(route.early_refresh.unwrap().beta_thousandths, 0);
    assert_eq!(route.ttl_jitter_percent, Some(5));
}
