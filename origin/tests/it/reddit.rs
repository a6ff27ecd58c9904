//! Connecting a Reddit account, over the simulated Reddit: the four steps, and everything that can go wrong with them.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{Reply, get, get_with, post_form, send};
use crate::support::news::{Act, Script};
use crate::support::origin::TestOrigin;
use crate::support::until;
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use hyper::Method;
use larder_origin::sim::{Behaviour, Simulation, Upstream};
use std::time::{Duration, Instant};
use url::Url;

on_both_databases!(
    a_person_connects_reads_and_disconnects,
    a_state_counts_once_and_in_its_browser_alone,
    a_spent_token_is_refreshed_once_for_all_who_wait,
    a_refresh_token_that_does_not_change_is_kept,
    a_permission_that_was_taken_back_is_told_until_it_is_given_again,
    what_a_deleted_account_had_connected_is_taken_back,
    an_account_goes_though_reddit_hangs_and_its_tokens_when_reddit_is_back,
    tokens_that_reddit_never_takes_are_given_up,
    what_a_new_connection_replaces_is_taken_back,
    a_reddit_that_hangs_keeps_nobody_from_the_database,
    replicas_refresh_one_account_once,
    what_a_refresh_brings_after_the_end_is_taken_back,
);

const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const CALLBACK: &str = "http://localhost:8000/auth/reddit/callback";

struct Place {
    simulation: Simulation,
    origin: TestOrigin,
}

impl Place {
    async fn start(database: TestDatabase, secret: &str, behaviour: Behaviour) -> Self {
        Self::with(database, secret, behaviour, &[]).await
    }

    async fn with(
        database: TestDatabase,
        secret: &str,
        behaviour: Behaviour,
        further: &[(&str, &str)],
    ) -> Self {
        let listen = ([127, 0, 0, 1], 0).into();
        let simulation = Simulation::start(listen, behaviour)
            .await
            .expect("a free port");
        let origin = origin(&simulation, database, secret, further).await;
        Self { simulation, origin }
    }

    async fn usual(database: TestDatabase) -> Self {
        Self::start(database, "sim-secret", Behaviour::default()).await
    }

    async fn get(&self, target: &str, cookie: &str) -> Reply {
        get_with(self.origin.address, target, &[("cookie", cookie)]).await
    }

    /// Begins, and gives what Reddit was to be asked with, and the cookie.
    async fn begin(&self) -> (Url, String) {
        let begun = get(self.origin.address, "/auth/reddit/login").await;
        assert_eq!(begun.status, 303, "{:?}", begun.body);
        let url = Url::parse(begun.header("location")).expect("a URL");
        (url, cookies(&begun).remove(0))
    }

    /// Asks the person at Reddit, who agrees: the path that the browser is sent back to.
    async fn agree(&self, asked: &Url) -> String {
        let target = format!("{}?{}", asked.path(), asked.query().expect("a query"));
        let agreed = get(self.simulation.address(), &target).await;
        let location = agreed.header("location").to_owned();
        assert!(location.starts_with(CALLBACK), "{location}");
        // A browser keeps the fragment to itself.
        let path = location.trim_start_matches("http://localhost:8000");
        path.trim_end_matches("#_").to_owned()
    }

    /// All steps: the cookie of the connection.
    async fn connect(&self) -> String {
        let (asked, browser) = self.begin().await;
        let back = self.agree(&asked).await;
        let connected = self.get(&back, &browser).await;
        assert_eq!(connected.status, 200, "{:?}", connected.body);
        let owner = cookies(&connected).into_iter();
        owner.last().expect("the owner's cookie")
    }

    fn asked(&self, path: &str) -> u64 {
        self.simulation.counts().get(path).copied().unwrap_or(0)
    }
}

/// One that speaks to that Reddit.
async fn origin(
    simulation: &Simulation,
    database: TestDatabase,
    secret: &str,
    further: &[(&str, &str)],
) -> TestOrigin {
    let base = simulation.url("/").to_string();
    let settings = [
        ("REDDIT_CLIENT_ID", "sim"),
        ("REDDIT_CLIENT_SECRET", secret),
        ("REDDIT_URL", &base),
        ("REDDIT_API_URL", &base),
        ("ORIGIN_TOKEN_KEY", KEY),
    ];
    let sources = [Script::new("a", Act::Give(vec![]))];
    TestOrigin::with(database, &sources, &[&settings[..], further].concat()).await
}

/// The cookies an answer sets, without their attributes.
fn cookies(reply: &Reply) -> Vec<String> {
    let lines = reply.headers.get_all("set-cookie").iter();
    lines
        .map(|line| {
            let line = line.to_str().expect("text");
            for attribute in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
                assert!(line.contains(attribute), "{line}");
            }
            line.split(';').next().expect("a pair").to_owned()
        })
        .collect()
}

async fn a_person_connects_reads_and_disconnects(database: TestDatabase) {
    let place = Place::usual(database).await;
    let owner = place.connect().await;
    let status = place.get("/auth/reddit", &owner).await;
    assert_eq!(status.json()["account"]["name"], "sim_reader");
    assert_eq!(status.header("cache-control"), "private, no-store");
    let first = place.get("/me/reddit", &owner).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    assert_eq!(first.header("cache-control"), "private, no-store");
    let after = first.json()["after"]
        .as_str()
        .expect("another page")
        .to_owned();
    let second = place
        .get(&format!("/me/reddit?after={after}"), &owner)
        .await;
    assert!(second.json()["after"].is_null());
    let titles = |reply: &Reply| reply.json()["articles"][0]["title"].clone();
    assert_ne!(titles(&first), titles(&second));
    // Nobody else's.
    let stranger = get(place.origin.address, "/me/reddit").await;
    assert_eq!(stranger.code(), "reddit_not_connected");
    let target = "/auth/reddit";
    let ended = send(
        place.origin.address,
        Method::DELETE,
        target,
        &[("cookie", &owner)],
    )
    .await;
    assert_eq!(ended.expect("an answer").status, 204);
    place.until_revoked(2).await;
    assert_eq!(
        place.get("/auth/reddit", &owner).await.json()["connected"],
        false
    );
    assert_eq!(
        place.get("/me/reddit", &owner).await.code(),
        "reddit_not_connected"
    );
}

async fn a_state_counts_once_and_in_its_browser_alone(database: TestDatabase) {
    let place = Place::usual(database).await;
    let (asked, browser) = place.begin().await;
    let back = place.agree(&asked).await;
    let none = get(place.origin.address, &back).await;
    assert_eq!(
        (none.status.as_u16(), none.code().as_str()),
        (403, "reddit_other_browser")
    );
    assert_eq!(none.header("cache-control"), "no-store");
    let used = place.get(&back, &browser).await;
    assert_eq!(
        (used.status.as_u16(), used.code().as_str()),
        (400, "reddit_unknown_state")
    );
    let (asked, _) = place.begin().await;
    let back = place.agree(&asked).await;
    let other = place.get(&back, &browser).await;
    assert_eq!(other.code(), "reddit_other_browser");
    assert_eq!(place.asked("/api/v1/access_token"), 0, "no code was sent");
    let (asked, browser) = place.begin().await;
    let back = place.agree(&asked).await;
    assert_eq!(place.get(&back, &browser).await.status, 200);
    assert_eq!(
        place.get(&back, &browser).await.code(),
        "reddit_unknown_state"
    );
    assert_eq!(place.asked("/api/v1/access_token"), 1);
}

async fn a_spent_token_is_refreshed_once_for_all_who_wait(database: TestDatabase) {
    let place = Place::usual(database).await;
    let owner = place.connect().await;
    for round in 1..=3 {
        place.simulation.expire_reddit_tokens();
        let readers = (0..6).map(|_| place.get("/me/reddit", &owner));
        for reply in join_all(readers).await {
            assert_eq!(reply.status, 200, "{:?}", reply.body);
        }
        // The code's exchange, then one refresh a round: each spends the token that the one before it brought.
        assert_eq!(place.asked("/api/v1/access_token"), 1 + round);
    }
}

async fn a_refresh_token_that_does_not_change_is_kept(database: TestDatabase) {
    let behaviour = Behaviour {
        reddit_keeps_refresh_tokens: true,
        // Shorter than what is asked with: every question needs a new one.
        reddit_token_secs: Some(30),
        ..Behaviour::default()
    };
    let place = Place::start(database, "sim-secret", behaviour).await;
    let owner = place.connect().await;
    for refreshes in 1..=3 {
        assert_eq!(place.get("/me/reddit", &owner).await.status, 200);
        assert_eq!(place.asked("/api/v1/access_token"), 1 + refreshes);
    }
}

async fn a_permission_that_was_taken_back_is_told_until_it_is_given_again(database: TestDatabase) {
    let place = Place::usual(database).await;
    let owner = place.connect().await;
    place.simulation.revoke_reddit_tokens();
    for _ in 0..2 {
        let refused = place.get("/me/reddit", &owner).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code().as_str()),
            (409, "reddit_login_needed")
        );
    }
    assert_eq!(
        place.asked("/api/v1/access_token"),
        2,
        "one refresh, and no other"
    );
    let status = place.get("/auth/reddit", &owner).await.json();
    assert_eq!(status["account"]["needs_login"], true);
    let owner = place.connect().await;
    assert_eq!(place.get("/me/reddit", &owner).await.status, 200);
}

impl Place {
    /// Signs somebody up with a form: the session's cookie.
    async fn somebody(&self, name: &str) -> String {
        let form = format!("email={name}%40news.example&password=correct+horse");
        let up = post_form(self.origin.address, "/auth/register", &[], &form).await;
        assert_eq!(up.status, 303, "{:?}", up.body);
        cookies(&up).remove(0)
    }

    /// All steps, with these cookies beside those that the steps set: what the connection's answer sets.
    async fn connect_as(&self, own: &str) -> Vec<String> {
        let begun = self.get("/auth/reddit/login", own).await;
        let asked = Url::parse(begun.header("location")).expect("a URL");
        let back = self.agree(&asked).await;
        let jar = format!("{own}; {}", cookies(&begun).remove(0));
        let connected = self.get(&back, &jar).await;
        assert_eq!(connected.status, 200, "{:?}", connected.body);
        cookies(&connected)
    }

    async fn delete(&self, target: &str, cookie: &str) -> u16 {
        let fields = [("cookie", cookie)];
        let ended = send(self.origin.address, Method::DELETE, target, &fields).await;
        ended.expect("an answer").status.as_u16()
    }

    fn revoked(&self) -> u64 {
        self.asked("/api/v1/revoke_token")
    }

    /// Until Reddit has been given that many tokens back, and no more.
    async fn until_revoked(&self, tokens: u64) {
        until("Reddit has taken tokens back", || async {
            self.revoked() >= tokens
        })
        .await;
        assert_eq!(self.revoked(), tokens);
    }
}

async fn what_a_deleted_account_had_connected_is_taken_back(database: TestDatabase) {
    let place = Place::usual(database).await;
    let ada = place.somebody("ada").await;
    place.connect_as(&ada).await;
    assert_eq!(place.delete("/me", &ada).await, 204);
    place.until_revoked(2).await;
    let bob = place.somebody("bob").await;
    place.connect_as(&bob).await;
    let fields = [("cookie", bob.as_str())];
    let form = post_form(place.origin.address, "/account/delete", &fields, "sure=yes");
    assert_eq!(form.await.status, 303);
    place.until_revoked(4).await;
}

async fn an_account_goes_though_reddit_hangs_and_its_tokens_when_reddit_is_back(
    database: TestDatabase,
) {
    let rows = TestDatabase::at(database.url.clone());
    let place = Place::usual(database).await;
    let ada = place.somebody("ada").await;
    place.connect_as(&ada).await;
    place.simulation.behave(Behaviour {
        hang: [Upstream::Reddit].into(),
        ..Behaviour::default()
    });
    let begun = Instant::now();
    assert_eq!(place.delete("/me", &ada).await, 204);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "it waits for nobody"
    );
    assert_eq!(rows.count("SELECT count(*) FROM users").await, 0);
    assert_eq!(rows.count("SELECT count(*) FROM oauth_accounts").await, 0);
    let left = "SELECT count(*) FROM oauth_revocations";
    assert_eq!(rows.count(left).await, 2);
    let sealed = "SELECT count(*) FROM oauth_revocations WHERE token LIKE 'x1.%'";
    assert_eq!(rows.count(sealed).await, 2);

    // It has been given up, and is tried again when its time has come.
    let put_off = "SELECT count(*) FROM oauth_revocations WHERE tries = 1";
    until("Reddit is asked", || async {
        rows.count(put_off).await == 1
    })
    .await;
    place.simulation.behave(Behaviour::default());
    let connections = place.origin.connections.as_ref().expect("connections");
    let later = Utc::now() + TimeDelta::hours(1);
    let taken = connections.accounts.revoke_due(&connections.reddit, later);
    assert_eq!(taken.await.expect("a round"), 2);
    assert_eq!(rows.count(left).await, 0);
}

async fn tokens_that_reddit_never_takes_are_given_up(database: TestDatabase) {
    let rows = TestDatabase::at(database.url.clone());
    let place = Place::usual(database).await;
    let owner = place.connect().await;
    place.simulation.behave(Behaviour {
        fail: [Upstream::Reddit].into(),
        ..Behaviour::default()
    });
    assert_eq!(place.delete("/auth/reddit", &owner).await, 204);
    let left = "SELECT count(*) FROM oauth_revocations";
    let connections = place.origin.connections.as_ref().expect("connections");
    let round = async |days| {
        let later = Utc::now() + TimeDelta::days(days);
        let taken = connections.accounts.revoke_due(&connections.reddit, later);
        assert_eq!(taken.await.expect("a round"), 0);
        rows.count(left).await
    };
    assert_eq!((round(1).await, round(6).await, round(8).await), (2, 2, 0));
}

async fn what_a_new_connection_replaces_is_taken_back(database: TestDatabase) {
    let aged = TestDatabase::at(database.url.clone());
    let place = Place::usual(database).await;
    let ada = place.somebody("ada").await;
    place.connect_as(&ada).await;
    place.connect_as(&ada).await;
    place.until_revoked(2).await;
    assert_eq!(place.get("/me/reddit", &ada).await.status, 200);
    let first = place.connect().await;
    let second = place.connect_as(&first).await.pop().expect("a cookie");
    place.until_revoked(4).await;
    assert_eq!(place.get("/me/reddit", &second).await.status, 200);
    // Who is signed in ends the browser's with the user's.
    assert_eq!(
        place
            .delete("/auth/reddit", &format!("{ada}; {second}"))
            .await,
        204
    );
    place.until_revoked(8).await;
    let left = place.connect().await;
    aged.execute("UPDATE oauth_accounts SET updated_at = '2020-01-01T00:00:00.000000+00:00'")
        .await;
    place.connect().await;
    place.until_revoked(10).await;
    assert_eq!(
        place.get("/me/reddit", &left).await.code(),
        "reddit_not_connected"
    );
}

/// Tokens that end at once: whoever reads has to have a new one first.
fn short_lived() -> Behaviour {
    Behaviour {
        reddit_token_secs: Some(30),
        ..Behaviour::default()
    }
}

impl Place {
    /// Until Reddit has been asked for tokens that often.
    async fn until_asked(&self, times: u64) {
        until("Reddit is asked", || async {
            self.asked("/api/v1/access_token") >= times
        })
        .await;
    }
}

async fn a_reddit_that_hangs_keeps_nobody_from_the_database(database: TestDatabase) {
    let place = Place::start(database, "sim-secret", short_lived()).await;
    let owner = place.connect().await;
    place.simulation.behave(Behaviour {
        hang: [Upstream::Reddit].into(),
        ..short_lived()
    });
    let readers = join_all((0..20).map(|_| place.get("/me/reddit", &owner)));
    let others = async {
        place.until_asked(2).await;
        for _ in 0..20 {
            let counted = send(place.origin.address, Method::POST, "/views", &[]).await;
            assert_eq!(counted.expect("an answer").status, 204);
        }
    };
    let (replies, ()) = futures_util::future::join(readers, others).await;
    for reply in replies {
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (502, "reddit_unavailable")
        );
    }
    // One after the other: the next in turn tries when the first has been given up.
    assert!(place.asked("/api/v1/access_token") <= 3);
}

async fn replicas_refresh_one_account_once(database: TestDatabase) {
    let same = TestDatabase::at(database.url.clone());
    let place = Place::usual(database).await;
    let replica = origin(&place.simulation, same, "sim-secret", &[]).await;
    let owner = place.connect().await;
    for round in 1..=3 {
        place.simulation.expire_reddit_tokens();
        let fields = [("cookie", owner.as_str())];
        let readers = (0..12).map(|n| {
            let address = [place.origin.address, replica.address][n % 2];
            get_with(address, "/me/reddit", &fields)
        });
        for reply in join_all(readers).await {
            assert_eq!(reply.status, 200, "{:?}", reply.body);
        }
        assert_eq!(place.asked("/api/v1/access_token"), 1 + round);
    }
}

async fn what_a_refresh_brings_after_the_end_is_taken_back(database: TestDatabase) {
    let place = Place::start(database, "sim-secret", short_lived()).await;
    let owner = place.connect().await;
    place.simulation.behave(Behaviour {
        latency: Duration::from_secs(1),
        ..short_lived()
    });
    let ending = async {
        place.until_asked(2).await;
        assert_eq!(place.delete("/auth/reddit", &owner).await, 204);
    };
    let (reply, ()) = futures_util::future::join(place.get("/me/reddit", &owner), ending).await;
    assert_eq!(reply.code(), "reddit_not_connected");
    place.until_revoked(4).await;
}

#[tokio::test]
async fn each_failure_of_the_exchange_is_told_apart() {
    let place = Place::usual(TestDatabase::sqlite().await).await;
    let (asked, browser) = place.begin().await;
    let state = asked
        .query_pairs()
        .find(|(name, _)| name == "state")
        .expect("a state")
        .1
        .into_owned();
    let denied = place
        .get(
            &format!("/auth/reddit/callback?error=access_denied&state={state}"),
            &browser,
        )
        .await;
    assert_eq!(
        (denied.status.as_u16(), denied.code().as_str()),
        (403, "reddit_access_denied")
    );
    let again = place
        .get(
            &format!("/auth/reddit/callback?code=x&state={state}"),
            &browser,
        )
        .await;
    assert_eq!(
        again.code(),
        "reddit_unknown_state",
        "a refusal uses the state up too"
    );
    let (asked, browser) = place.begin().await;
    let state = asked
        .query_pairs()
        .find(|(name, _)| name == "state")
        .expect("a state")
        .1
        .into_owned();
    let wrong = place
        .get(
            &format!("/auth/reddit/callback?code=wrong&state={state}"),
            &browser,
        )
        .await;
    assert_eq!(
        (wrong.status.as_u16(), wrong.code().as_str()),
        (400, "reddit_invalid_code")
    );

    let troubles = [
        (
            Behaviour {
                fail: [Upstream::Reddit].into(),
                ..Behaviour::default()
            },
            502,
            "reddit_unavailable",
        ),
        (
            Behaviour {
                limit: [Upstream::Reddit].into(),
                ..Behaviour::default()
            },
            503,
            "reddit_rate_limited",
        ),
    ];
    for (behaviour, status, code) in troubles {
        let (asked, browser) = place.begin().await;
        let back = place.agree(&asked).await;
        place.simulation.behave(behaviour);
        let told = place.get(&back, &browser).await;
        place.simulation.behave(Behaviour::default());
        assert_eq!((told.status.as_u16(), told.code().as_str()), (status, code));
    }
    let wrong_secret =
        Place::start(TestDatabase::sqlite().await, "s3cr3t", Behaviour::default()).await;
    let (asked, browser) = wrong_secret.begin().await;
    let back = wrong_secret.agree(&asked).await;
    let told = wrong_secret.get(&back, &browser).await;
    assert_eq!(
        (told.status.as_u16(), told.code().as_str()),
        (502, "reddit_client_refused")
    );
}

#[tokio::test]
async fn a_browser_is_answered_with_a_page() {
    let place = Place::usual(TestDatabase::sqlite().await).await;
    let (asked, browser) = place.begin().await;
    let back = place.agree(&asked).await;
    let fields = [
        ("cookie", browser.as_str()),
        ("accept", "text/html,*/*;q=0.8"),
    ];
    let page = get_with(place.origin.address, &back, &fields).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(text.contains("Connected as sim_reader"), "{text}");
    let again = get_with(place.origin.address, &back, &fields).await;
    assert_eq!(
        (again.status.as_u16(), again.header("cache-control")),
        (400, "private, no-store")
    );
    assert!(String::from_utf8_lossy(&again.body).contains("Begin again"));
}

#[tokio::test]
async fn by_https_the_cookies_are_this_hosts_alone() {
    let secure = ("ORIGIN_PUBLIC_URL", "https://news.example");
    let database = TestDatabase::sqlite().await;
    let place = Place::with(database, "sim-secret", Behaviour::default(), &[secure]).await;
    let (asked, browser) = place.begin().await;
    assert!(browser.starts_with("__Host-larder_reddit_asking="));
    let planted = browser.trim_start_matches("__Host-");
    let back = place.agree(&asked).await;
    assert_eq!(
        place.get(&back, planted).await.code(),
        "reddit_other_browser"
    );
    let owner = place.connect().await;
    assert!(owner.starts_with("__Host-larder_reddit="));
    assert_eq!(place.get("/me/reddit", &owner).await.status, 200);
    let planted = owner.trim_start_matches("__Host-");
    assert_eq!(
        place.get("/me/reddit", planted).await.code(),
        "reddit_not_connected"
    );
}

#[tokio::test]
async fn without_a_client_or_a_key_nobody_can_connect() {
    let sources = [Script::new("a", Act::Give(vec![]))];
    for settings in [&[][..], &[("REDDIT_CLIENT_ID", "sim")]] {
        let database = TestDatabase::sqlite().await;
        let origin = TestOrigin::with(database, &sources, settings).await;
        for path in [
            "/auth/reddit/login",
            "/auth/reddit",
            "/me/reddit",
            "/auth/reddit/callback?state=a&code=b",
        ] {
            let refused = get(origin.address, path).await;
            assert_eq!(
                (refused.status.as_u16(), refused.code().as_str()),
                (404, "reddit_not_configured"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn no_token_lies_open_in_the_database() {
    let database = TestDatabase::sqlite().await;
    let file = database.url.trim_start_matches("sqlite://").to_owned();
    let place = Place::usual(database).await;
    let owner = place.connect().await;
    assert_eq!(place.get("/me/reddit", &owner).await.status, 200);
    let (_, token) = owner.split_once('=').expect("a cookie");
    let folder = std::path::Path::new(&file).parent().expect("a folder");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        seen.extend(std::fs::read(entry.expect("a file").path()).expect("its bytes"));
    }
    let holds = |text: &str| {
        seen.windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    };
    assert!(holds("sim_reader"), "the account is there");
    for secret in ["sim-access", "sim-refresh", "sim-code", token] {
        assert!(!holds(secret), "{secret}");
    }
}
