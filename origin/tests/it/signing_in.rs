//! Through the real proxy: of what lies under `/auth/` nothing is ever kept, so nobody is handed another's cookie, token or state.

use crate::support::database::TestDatabase;
use crate::support::http::{Reply, get, get_with, post_form, send, send_json};
use crate::support::news::{Act, Script};
use crate::support::origin::TestOrigin;
use crate::support::proxy::Proxy;
use crate::support::until;
use futures_util::future::join_all;
use hyper::Method;
use larder_origin::sim::{Behaviour, Simulation};
use serde_json::json;
use std::collections::HashSet;
use url::Url;

const LOGIN: &str = "/auth/reddit/login";
const CALLBACK: &str = "http://localhost:8000/auth/reddit/callback";
/// Clients that ask at the same moment: whoever comes second would share the first one's answer, if any were shared.
const AT_ONCE: usize = 20;

/// The origin with a simulated Reddit, behind a proxy of this profile.
struct Place {
    simulation: Simulation,
    _origin: TestOrigin,
    proxy: Proxy,
}

impl Place {
    async fn start(profile: &str) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let simulation = Simulation::start(listen, Behaviour::default()).await;
        let simulation = simulation.expect("a free port");
        let base = simulation.url("/").to_string();
        let settings = [
            ("REDDIT_CLIENT_ID", "sim"),
            ("REDDIT_CLIENT_SECRET", "sim-secret"),
            ("REDDIT_URL", &base),
            ("REDDIT_API_URL", &base),
            (
                "ORIGIN_TOKEN_KEY",
                "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
            ),
        ];
        let sources = [Script::new("a", Act::Give(vec![]))];
        let origin = TestOrigin::with(TestDatabase::sqlite().await, &sources, &settings).await;
        let proxy = Proxy::before(origin.address, &["--profile", profile]).await;
        let place = Self {
            simulation,
            _origin: origin,
            proxy,
        };
        // Something that is kept: so it is known that it would be seen.
        get(place.proxy.address, "/status").await;
        until("the store holds one answer", || async {
            place.kept().await == 1
        })
        .await;
        place
    }

    /// How many answers the proxy keeps.
    async fn kept(&self) -> u64 {
        let stats = get(self.proxy.admin, "/cache/stats").await.json();
        stats["total_keys"].as_u64().expect("a number")
    }

    async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Reply {
        fresh(get_with(self.proxy.address, target, fields).await)
    }

    /// Asks the person at Reddit, who agrees: the path that the browser is sent back to.
    async fn agree(&self, login: &Reply) -> String {
        let asked = Url::parse(login.header("location")).expect("a URL");
        let target = format!("{}?{}", asked.path(), asked.query().expect("a query"));
        let agreed = get(self.simulation.address(), &target).await;
        let location = agreed.header("location");
        assert!(location.starts_with(CALLBACK), "{location}");
        let path = location.trim_start_matches("http://localhost:8000");
        path.trim_end_matches("#_").to_owned()
    }
}

/// An answer that came from the origin, for this client alone.
fn fresh(reply: Reply) -> Reply {
    let (result, status) = (reply.header("x-cache"), reply.header("cache-status"));
    assert!(matches!(result, "MISS" | "BYPASS"), "{result}: {status}");
    for word in ["stored", "collapsed"] {
        assert!(!status.split("; ").any(|part| part == word), "{status}");
    }
    let cached = reply.header("cache-control");
    assert!(cached.contains("no-store"), "{cached}: {:?}", reply.body);
    reply
}

/// The cookies that it sets, without those that it takes away.
fn cookies(reply: &Reply) -> Vec<String> {
    let lines = reply.headers.get_all("set-cookie").iter();
    let pairs = lines.map(|line| line.to_str().expect("text").split(';').next());
    pairs
        .map(|pair| pair.expect("a pair").to_owned())
        .filter(|pair| !pair.ends_with('='))
        .collect()
}

fn are_different(all: &[String]) {
    let different: HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
}

/// `rfc` stores all that a shared cache may, answers with cookies among it: there the origin's own word is what counts.
macro_rules! in_both_profiles {
    ($($name:ident => $case:ident),+ $(,)?) => {
        mod safe {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$case(super::Place::start("safe").await).await;
            }
        )+}
        mod rfc {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$case(super::Place::start("rfc").await).await;
            }
        )+}
    };
}

in_both_profiles!(
    each_browser_that_goes_to_reddit_has_a_cookie_and_a_state_of_its_own => going,
    nobody_gets_what_a_browser_that_comes_back_gets => coming_back,
    each_person_that_signs_in_gets_their_own_session => signing_in,
    what_is_refused_there_is_not_kept_either => refused,
);

async fn going(place: Place) {
    let mut replies = join_all((0..AT_ONCE).map(|_| place.get(LOGIN, &[]))).await;
    for _ in 0..3 {
        replies.push(place.get(LOGIN, &[]).await);
    }
    let head = send(place.proxy.address, Method::HEAD, LOGIN, &[]).await;
    replies.push(fresh(head.expect("an answer")));
    for reply in &replies {
        assert_eq!((reply.status.as_u16(), cookies(reply).len()), (303, 1));
    }
    are_different(&replies.iter().flat_map(cookies).collect::<Vec<_>>());
    let states = replies.iter().map(|reply| {
        let location = Url::parse(reply.header("location")).expect("a URL");
        let mut pairs = location.query_pairs();
        let state = pairs.find(|(name, _)| name == "state").expect("a state");
        state.1.into_owned()
    });
    are_different(&states.collect::<Vec<_>>());
    assert_eq!(place.kept().await, 1);
}

async fn coming_back(place: Place) {
    let begun = place.get(LOGIN, &[]).await;
    let asking = cookies(&begun).remove(0);
    let back = place.agree(&begun).await;
    let connected = place.get(&back, &[("cookie", &asking)]).await;
    assert_eq!(connected.status, 200, "{:?}", connected.body);
    let owner = cookies(&connected).pop().expect("the owner's cookie");
    for fields in [&[][..], &[("cookie", asking.as_str())]] {
        let again = place.get(&back, fields).await;
        assert!(again.status.is_client_error(), "{:?}", again.body);
        assert!(cookies(&again).is_empty(), "{:?}", again.headers);
    }
    for _ in 0..2 {
        let own = place.get("/auth/reddit", &[("cookie", &owner)]).await;
        assert_eq!(own.json()["account"]["name"], "sim_reader");
        let strangers = place.get("/auth/reddit", &[]).await;
        assert_eq!(strangers.json()["connected"], false);
    }
    assert_eq!(place.kept().await, 1);
}

async fn signing_in(place: Place) {
    let proxy = place.proxy.address;
    let (mut sessions, mut tokens) = (Vec::new(), Vec::new());
    for name in ["ada", "bob"] {
        let known = format!("email={name}%40example.org&password=correct+horse");
        let form = format!("{known}&name={name}");
        let body = json!({"email": format!("{name}@example.org"), "password": "correct horse"});
        sessions.push(fresh(post_form(proxy, "/auth/register", &[], &form).await));
        sessions.push(fresh(post_form(proxy, "/auth/login", &[], &known).await));
        let opened = fresh(send_json(proxy, Method::POST, "/auth/login", &[], &body).await);
        assert_eq!(opened.json()["user"]["name"], name);
        tokens.push(opened.json()["token"].to_string());
    }
    for session in &sessions {
        assert_eq!((session.status.as_u16(), cookies(session).len()), (303, 1));
    }
    are_different(&sessions.iter().flat_map(cookies).collect::<Vec<_>>());
    are_different(&tokens);
    // No answer to a POST answers a GET.
    for target in ["/auth/register", "/auth/login", "/auth/logout"] {
        let got = place.get(target, &[]).await;
        assert_eq!((got.status.as_u16(), cookies(&got).len()), (405, 0));
    }
    let own = cookies(&sessions[0]).remove(0);
    let out = fresh(post_form(proxy, "/auth/logout", &[("cookie", &own)], "").await);
    assert!(cookies(&out).is_empty(), "{:?}", out.headers);
    assert_eq!(place.kept().await, 1);
}

async fn refused(place: Place) {
    let proxy = place.proxy.address;
    let form = "email=ada%40example.org&password=wrong+horse";
    for _ in 0..2 {
        assert_eq!(
            fresh(post_form(proxy, "/auth/login", &[], form).await).status,
            401
        );
        for (target, status) in [
            ("/auth/reddit/callback?state=a&code=b", 400),
            ("/auth/reddit/callback?error=access_denied&state=a", 400),
            ("/auth/reddit/login?unknown=1", 400),
            ("/auth/nothing", 404),
        ] {
            let reply = place.get(target, &[]).await;
            assert_eq!(reply.status, status, "{target}: {:?}", reply.body);
        }
    }
    assert_eq!(place.kept().await, 1);
}
