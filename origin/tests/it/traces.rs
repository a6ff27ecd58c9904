//! Proxy and origin as programs: one request is found in both logs by the same names.

use crate::support::http::{Reply, get_with, post_form};
use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::until;
use serde_json::Value;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
/// Has the sources asked, so that others than the access line are logged, too.
const TARGET: &str = "/articles?category=health&live=true";

struct Both {
    origin: Process,
    proxy: Proxy,
}

impl Both {
    async fn start() -> Self {
        let origin = Process::start(&[]);
        let proxy = Proxy::before(origin.address, &["--log-format", "json"]).await;
        until("it is ready", || async {
            get_with(origin.address, "/health/ready", &[]).await.status == 200
        })
        .await;
        Self { origin, proxy }
    }

    async fn get(&self, fields: &[(&str, &str)]) -> Reply {
        let reply = get_with(self.proxy.address, TARGET, fields).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply
    }

    /// The proxy's access line of the request that the API knew by this name.
    async fn line_of(&self, request_id: &str) -> Value {
        let find = || {
            let lines = json_lines(&self.proxy.log());
            let mut lines = lines.into_iter();
            lines.find(|line| line["message"] == "request" && line["request_id"] == request_id)
        };
        until("the proxy has logged it", || async { find().is_some() }).await;
        find().expect("a line")
    }

    /// What each of the origin's lines of this request says of it, once there is an access line among them.
    async fn spans_of(&self, request_id: &str) -> Vec<(String, Value)> {
        let find = || {
            let lines = json_lines(&self.origin.log()).into_iter();
            lines
                .filter(|line| line["span"]["request_id"] == request_id)
                .map(|line| {
                    let message = line["message"].as_str().unwrap_or_default();
                    (message.to_owned(), line["span"].clone())
                })
                .collect::<Vec<_>>()
        };
        until("the origin has logged it", || async {
            find().iter().any(|(message, _)| message == "answered")
        })
        .await;
        find()
    }

    /// Both logs tell of one request the same; gives the proxy's line.
    async fn agree_on(&self, request_id: &str) -> Value {
        let line = self.line_of(request_id).await;
        for (message, span) in self.spans_of(request_id).await {
            assert_eq!(span["trace_id"], line["trace_id"], "{message}");
            assert_eq!(span["parent_id"], line["span_id"], "{message}");
        }
        assert!(line["span_id"].is_string(), "{line}");
        line
    }
}

fn json_lines(log: &str) -> Vec<Value> {
    let lines = log.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_name_in_the_logs_of_both() {
    let both = Both::start().await;
    let reply = both.get(&[]).await;
    assert_eq!(reply.header("x-cache"), "MISS");
    let request_id = reply.header("x-request-id");
    let line = both.agree_on(request_id).await;
    assert_eq!(line.get("parent_id"), None, "the client has no span");
    let spans = both.spans_of(request_id).await;
    let asked = spans.iter().any(|(message, _)| message == "source asked");
    assert!(asked, "{spans:?}");

    // What passes does so under a name, too.
    let form = "email=ada%40example.org&password=correct+horse";
    let passed = post_form(both.proxy.address, "/auth/register", &[], form).await;
    assert_eq!(passed.header("x-cache"), "BYPASS");
    let line = both.agree_on(passed.header("x-request-id")).await;
    assert_eq!(line["method"], "POST");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_trace_leads_through_both_and_a_malformed_one_does_not() {
    let both = Both::start().await;
    let own = format!("00-{TRACE}-{PARENT}-01");
    let fields = [
        ("traceparent", own.as_str()),
        ("x-request-id", "the-client-s"),
    ];
    let reply = both.get(&fields).await;
    assert_eq!(reply.header("x-request-id"), "the-client-s");
    let line = both.agree_on("the-client-s").await;
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["parent_id"], PARENT);
    assert_ne!(line["span_id"], PARENT);

    let odd = format!("\"{}+/=\\", "x".repeat(123));
    let reply = get_with(both.proxy.address, "/me", &[("x-request-id", &odd)]).await;
    assert_eq!(reply.header("x-request-id"), odd);
    let spans = both.spans_of(&odd).await;
    until("the proxy has logged the same trace", || async {
        let lines = json_lines(&both.proxy.log()).into_iter();
        let of_trace = |line: &Value| line["trace_id"] == spans[0].1["trace_id"];
        lines.filter(of_trace).count() == 1
    })
    .await;

    for (name, malformed) in [
        ("forbidden", own.replacen("00", "ff", 1)),
        ("capital", own.replace("4bf9", "4BF9")),
        ("long", format!("{own}-more")),
    ] {
        let fields = [("traceparent", malformed.as_str()), ("x-request-id", name)];
        // A person's own answer isn't stored, so each of these goes to the origin.
        let reply = get_with(both.proxy.address, "/me", &fields).await;
        assert_eq!(reply.status, 401);
        let line = both.agree_on(name).await;
        assert_ne!(line["trace_id"], TRACE, "{malformed}");
        assert_eq!(line.get("parent_id"), None, "{malformed}");
    }
}
