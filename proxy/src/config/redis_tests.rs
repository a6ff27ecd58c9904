use super::*;

fn parsed(text: &str) -> RedisUrl {
    RedisUrl::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn host(name: &str, port: u16) -> Host {
    let name = name.to_owned();
    Host { name, port }
}

fn login(user: &str, password: &str) -> Login {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Login {
        user: some(user),
        password: some(password).map(Secret::new),
    }
}

#[test]
fn a_single_server_has_a_port_and_a_database_unless_they_go_without_saying() {
    let url = parsed("redis://cache");
    assert_eq!(url.topology, Topology::Single(host("cache", 6379)));
    assert_eq!((url.tls, url.db, url.login), (false, 0, Login::default()));
    let url = parsed("rediss://larder:p%40ss@[::1]:7000/3");
    assert_eq!(url.topology, Topology::Single(host("::1", 7000)));
    assert_eq!((url.tls, url.db), (true, 3));
    assert_eq!(url.login, login("larder", "p@ss"));
    assert_eq!(parsed("redis://:pass@h/").login, login("", "pass"));
    assert_eq!(parsed("redis://u:a@b@h").login, login("u", "a@b"));
}

#[test]
fn sentinels_know_a_master_by_name_and_may_have_a_login_of_their_own() {
    let url = parsed(
        "redis+sentinel://u:p@s1,s2:7,[::2]:8/mymaster/2?sentinel_password=x%26y&sentinel_user=s",
    );
    let sentinels = vec![host("s1", 26379), host("s2", 7), host("::2", 8)];
    let topology = Topology::Sentinel {
        sentinels,
        master: "mymaster".to_owned(),
        login: login("s", "x&y"),
    };
    assert_eq!((url.topology, url.db), (topology, 2));
    assert_eq!((url.login, url.tls), (login("u", "p"), false));
    assert!(parsed("rediss+sentinel://s1/m").tls);
}

#[test]
fn a_cluster_is_known_by_some_of_its_nodes() {
    let url = parsed("rediss+cluster://u:p@a,b:1");
    assert_eq!(
        url.topology,
        Topology::Cluster(vec![host("a", 6379), host("b", 1)])
    );
    assert_eq!((url.tls, url.login), (true, login("u", "p")));
    assert_eq!(parsed("redis+cluster://a/0").db, 0);
}

#[test]
fn a_unix_socket_takes_the_rest_as_parameters() {
    let url = parsed("redis+unix:///run/redis.sock?db=1&user=u&pass=p");
    assert_eq!(url.topology, Topology::Unix("/run/redis.sock".into()));
    assert_eq!((url.db, url.login), (1, login("u", "p")));
    assert_eq!(
        parsed("unix:///a%20b").topology,
        Topology::Unix("/a b".into())
    );
}

#[test]
fn faults_name_what_is_wrong_and_never_the_secret() {
    for (text, part) in [
        ("hunter2", "is not a URL"),
        ("http://:hunter2@h", "scheme"),
        ("redis+sentinels://:hunter2@h/m", "scheme"),
        ("redis://:hunter2@", "no host"),
        ("redis://:hunter2@a,b", "several hosts"),
        ("redis://:hunter2@h:0", "port"),
        ("redis://:hunter2@h:+5", "port"),
        ("redis://:hunter2/x@h", "%2F"),
        ("redis://:hunter2?x@h", "%3F"),
        ("redis://:hunter2#x@h", "%23"),
        ("redis://:hunter2%zz@h", "escape"),
        ("redis://:hunter2%ff@h", "UTF-8"),
        ("redis://hunter2@h", "user without a password"),
        ("redis://:hunter2@h/x", "database"),
        ("redis://:hunter2@h/+1", "database"),
        ("redis://:hunter2@h?protcol=3", "parameter"),
        ("redis://:hunter2@a b", "no name"),
        ("redis://:hunter2@[a]", "no name"),
        ("redis://:hunter2@[::1", "without its ]"),
        ("redis://:hunter2@[::1]x", "after a ]"),
        ("redis+sentinel://:hunter2@h", "master's name"),
        ("redis+sentinel://:hunter2@h//1", "master's name"),
        ("redis+sentinel://h/m?sentinel_user=hunter2", "user without"),
        ("redis+cluster://:hunter2@h/1", "only 0"),
        ("redis+cluster://:hunter2@h,,i", "no host"),
        ("redis+unix://hunter2", "absolute path"),
    ] {
        let fault = RedisUrl::parse(text).expect_err(text).to_string();
        assert!(fault.contains(part), "{text}: {fault}");
        assert!(fault.contains("write redis://") && !fault.contains("hunter2"));
    }
}

#[test]
fn a_url_shows_no_password() {
    let url = parsed("redis+sentinel://u:hunter2@h/m?sentinel_password=hunter2");
    assert!(!format!("{url:?}").contains("hunter2"));
}
