//! `larder-proxy purge`, the real program, against a running proxy.

use super::*;
use std::process::{Command, Output};

const TOKEN: &str = "a-token-that-is-long-enough-for-anybody";

fn command(proxy: &Proxy, args: &[&str], token: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-proxy"));
    command.args(["purge", "--admin", &proxy.admin.to_string()]);
    command.args(args).env_clear();
    if let Some(token) = token {
        command.env("LARDER_ADMIN_TOKEN", token);
    }
    command.output().expect("the program can be started")
}

fn said(output: &Output) -> (Option<i32>, String) {
    let words = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_on_the_command_line_says_what_it_did_and_ends_with_0() {
    let api = Api::start().await;
    for token in [None, Some(TOKEN)] {
        let settings: Vec<_> = token.iter().map(|token| ("admin_token", *token)).collect();
        let proxy = Proxy::start(api.upstream.address, &settings).await;
        for (args, target) in [
            (&["--tag", "one"][..], "/tagged/1"),
            (&["--tag", "unused", "--url", "/a/1"], "/a/1"),
            (&["--prefix", "/a"], "/a/1"),
            (&["--all"], "/b/1"),
        ] {
            proxy.get(target).await;
            assert_eq!(proxy.get(target).await.result(), "HIT");
            let (code, words) = said(&command(&proxy, args, token));
            assert_eq!(code, Some(0), "{args:?}: {words}");
            assert!(
                words.contains("\"applied\":1") && words.contains("sequence"),
                "{words}"
            );
            assert_eq!(proxy.get(target).await.result(), "MISS", "{args:?}");
        }
        proxy.get("/a/1").await;
        let (code, words) = said(&command(&proxy, &["--url", "/a/1", "--soft"], token));
        assert_eq!(code, Some(0), "{words}");
        assert_eq!(proxy.get("/a/1").await.result(), "REVALIDATED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_on_the_command_line_that_is_not_made_says_why_and_ends_with_1() {
    let api = Api::start().await;
    let proxy = Proxy::start(api.upstream.address, &[("admin_token", TOKEN)]).await;
    proxy.get("/a/1").await;
    for (args, token, says) in [
        (&["--all"][..], None, "token"),
        (
            &["--all"],
            Some("another-token-that-is-long-enough-too"),
            "token",
        ),
        (&[], Some(TOKEN), "nothing is named"),
        (&["--url", "no url"], Some(TOKEN), "not a URL"),
    ] {
        let (code, words) = said(&command(&proxy, args, token));
        assert_eq!(code, Some(1), "{args:?}: {words}");
        assert!(words.contains(says), "{args:?}: {words}");
    }
    assert_eq!(proxy.get("/a/1").await.result(), "HIT");
    let away = PrivateRedis::absent_on_unix();
    let url = away.url();
    let proxy = Proxy::start(api.upstream.address, &[("redis", url.as_str())]).await;
    let (code, words) = said(&command(&proxy, &["--all"], None));
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("Redis"), "{words}");
}
