//! Reddit: its OAuth (permission, codes, tokens that rotate) and its listings, with the failures that each tells in its own way.
//!
//! The client is `sim` with the secret `sim-secret`, or `sim-installed` with none. Whoever is asked for permission gives it at once.
//! Of the subreddits, `private`, `quarantined`, `missing` and `broken` are what they are called.

use super::reply::{Question, Reply};
use super::{Inner, Shared};
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use url::{Url, form_urlencoded};

/// As long as the tokens of these days, which are no few random letters any more.
const TOKEN_CHARS: usize = 770;
const POSTS_PER_SUBREDDIT: usize = 30;
/// However many are asked for, so that a list has pages.
const POSTS_PER_PAGE_MAX: usize = 20;
const CREATED_UTC: f64 = 1_767_225_600.5;

/// What the simulated Reddit remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    issued: u64,
    /// Codes not used yet, with the redirect URI of each.
    codes: BTreeMap<String, String>,
    access: BTreeSet<String>,
    refresh: BTreeSet<String>,
    /// Requests that a token opened.
    asked: u64,
}

impl Memory {
    /// As if an hour had passed: no access token is good any more.
    pub(super) fn expire(&mut self) {
        self.access.clear();
    }

    /// As if everybody had taken back what they permitted.
    pub(super) fn revoke(&mut self) {
        self.access.clear();
        self.refresh.clear();
    }

    fn next(&mut self, kind: &str) -> String {
        self.issued += 1;
        format!("sim-{kind}-{}", self.issued)
    }
}

/// Where a browser asks its person: the answer sends it back.
pub(super) fn authorize(state: &Shared, question: &Question) -> Reply {
    let given = |name: &str| question.get(name).unwrap_or_default();
    let is_sound = matches!(given("client_id"), "sim" | "sim-installed")
        && given("response_type") == "code"
        && !given("state").is_empty();
    let redirect = Url::parse(given("redirect_uri")).ok().filter(|_| is_sound);
    let Some(mut redirect) = redirect else {
        let page = "<html><body>bad request (reddit.com)</body></html>";
        return Reply::new(400, "text/html", page);
    };
    let memory = &mut state.lock().reddit;
    let code = memory.next("code");
    memory.codes.insert(code.clone(), redirect.to_string());
    redirect
        .query_pairs_mut()
        .append_pair("state", given("state"))
        .append_pair("code", &code);
    Reply::new(302, "text/html", "").with(header::LOCATION, &format!("{redirect}#_"))
}

/// Tokens for codes, refresh tokens and programs.
pub(super) fn access_token(state: &Shared, headers: &HeaderMap, body: &Bytes) -> Reply {
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let Some(client) = client(headers) else {
        return unknown_client();
    };
    let mut inner = state.lock();
    let Inner {
        reddit: memory,
        behaviour,
        ..
    } = &mut *inner;
    let lifetime_secs = behaviour.reddit_token_secs.unwrap_or(86_400);
    match field("grant_type") {
        "authorization_code" => match memory.codes.remove(field("code")) {
            Some(redirect_uri) if redirect_uri == field("redirect_uri") => {
                rotated(memory, lifetime_secs)
            }
            _ => error("invalid_grant", None),
        },
        "refresh_token" if !memory.refresh.contains(field("refresh_token")) => {
            Reply::json(400, &json!({"error": 400}))
        }
        "refresh_token" if behaviour.reddit_keeps_refresh_tokens => {
            tokens(memory, lifetime_secs, None)
        }
        "refresh_token" => {
            memory.refresh.remove(field("refresh_token"));
            rotated(memory, lifetime_secs)
        }
        "client_credentials" if client == "sim-installed" => error(
            "unauthorized_client",
            Some("Only confidential clients may use this grant"),
        ),
        "client_credentials" => tokens(memory, lifetime_secs, None),
        "https://oauth.reddit.com/grants/installed_client" => match field("device_id").len() {
            20..=50 => tokens(memory, lifetime_secs, None),
            _ => error("invalid_request", Some("bad device_id")),
        },
        _ => error("unsupported_grant_type", None),
    }
}

/// Forgets a token, known or not.
pub(super) fn revoke_token(state: &Shared, headers: &HeaderMap, body: &Bytes) -> Reply {
    if client(headers).is_none() {
        return unknown_client();
    }
    let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    if let Some(token) = form.get("token") {
        let memory = &mut state.lock().reddit;
        memory.access.remove(token);
        memory.refresh.remove(token);
    }
    Reply::new(204, "application/json", "")
}

/// Who the token's owner is.
pub(super) fn me(state: &Shared, headers: &HeaderMap) -> Reply {
    match opened(state, headers) {
        Ok(left) => limited(
            Reply::json(200, &json!({"name": "sim_reader", "id": "1w72"})),
            left,
        ),
        Err(refusal) => *refusal,
    }
}

/// One page of a subreddit, or of what the token's owner has chosen.
pub(super) fn listing(state: &Shared, question: &Question, path: &str) -> Reply {
    let left = match opened(state, &question.headers) {
        Ok(left) => left,
        Err(refusal) => return *refusal,
    };
    match path.split('/').nth(2).unwrap_or("technology") {
        reason @ ("private" | "quarantined") => {
            let body = json!({"reason": reason, "message": "Forbidden", "error": 403});
            limited(Reply::json(403, &body), left)
        }
        "missing" => Reply::new(302, "text/html", "<html><h1>302 Found</h1></html>")
            .with(header::LOCATION, "/subreddits/search?q=missing"),
        "broken" => Reply::new(200, "text/html", "<html>whoa there, pardner!</html>"),
        subreddit => limited(page(subreddit, question), left),
    }
}

fn page(subreddit: &str, question: &Question) -> Reply {
    let begin = question
        .get("after")
        .and_then(|after| after.rsplit('n').next()?.parse().ok())
        .map_or(0, |index: usize| index.saturating_add(1));
    let limit = question.number("limit", 25).clamp(1, POSTS_PER_PAGE_MAX);
    let end = begin.saturating_add(limit).min(POSTS_PER_SUBREDDIT);
    let children: Vec<Value> = (begin..end).map(|index| post(subreddit, index)).collect();
    let last = children.last().map(|child| child["data"]["name"].clone());
    let after = last.filter(|_| end < POSTS_PER_SUBREDDIT);
    let body = json!({"kind": "Listing", "data": {
        "after": after, "before": null, "dist": children.len(), "modhash": null, "geo_filter": "", "children": children,
    }});
    Reply::json(200, &body)
}

/// The first is pinned; of ten, one is for adults, one says something itself and one is a picture.
fn post(subreddit: &str, index: usize) -> Value {
    let id = format!("{subreddit}n{index}");
    let url = match index % 10 {
        3 => format!("https://i.redd.it/{id}.jpg"),
        2 => format!("https://www.reddit.com/r/{subreddit}/comments/{id}/"),
        _ => format!("https://news.example/{subreddit}/{index}?utm_source=reddit&a=1"),
    };
    let is_even = index.is_multiple_of(2);
    let mut data = json!({
        "id": id, "name": format!("t3_{id}"), "title": format!("{subreddit} story number {index} & more"),
        "author": if index == 5 { "[deleted]" } else { "sim_author" },
        "subreddit": subreddit, "subreddit_name_prefixed": format!("r/{subreddit}"),
        "permalink": format!("/r/{subreddit}/comments/{id}/story/"), "url": url, "domain": "news.example",
        "created_utc": CREATED_UTC - (index as f64) * 60.0, "score": 100 - index, "ups": 100 - index, "upvote_ratio": 0.97,
        "num_comments": index, "is_self": index % 10 == 2, "over_18": index % 10 == 1, "spoiler": false,
        "stickied": index == 0, "locked": false, "thumbnail": if is_even { "default" } else { "" },
        "selftext": "", "selftext_html": null, "edited": if index == 6 { json!(CREATED_UTC) } else { json!(false) },
        "link_flair_text": null, "media": null, "removed_by_category": null, "thumbnail_width": null, "likes": null,
    });
    if is_even {
        data["url_overridden_by_dest"] = data["url"].clone();
    }
    json!({"kind": "t3", "data": data})
}

/// The client that introduces itself, by HTTP Basic.
fn client(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let pair = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    match pair.as_slice() {
        b"sim:sim-secret" => Some("sim"),
        b"sim-installed:" => Some("sim-installed"),
        _ => None,
    }
}

fn unknown_client() -> Reply {
    Reply::json(401, &json!({"message": "Unauthorized", "error": 401}))
        .with(header::WWW_AUTHENTICATE, "Basic realm=\"reddit\"")
}

/// What is left of the token's requests, or why it opens nothing.
fn opened(state: &Shared, headers: &HeaderMap) -> Result<u64, Box<Reply>> {
    let text = |name| {
        let value = headers.get::<header::HeaderName>(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    // Libraries that do not introduce themselves are not let in.
    if !text(header::USER_AGENT).contains("(by /u/") {
        let page = "<html><h1>whoa there, pardner!</h1></html>";
        return Err(Reply::new(403, "text/html", page).into());
    }
    let mut inner = state.lock();
    let token = text(header::AUTHORIZATION)
        .strip_prefix("bearer ")
        .unwrap_or_default();
    if !inner.reddit.access.contains(token) {
        let challenge = "Bearer realm=\"reddit\", error=\"invalid_token\"";
        let body = json!({"message": "Unauthorized", "error": 401});
        let refusal = Reply::json(401, &body);
        return Err(refusal.with(header::WWW_AUTHENTICATE, challenge).into());
    }
    inner.reddit.asked += 1;
    let budget = inner.behaviour.reddit_requests_max.unwrap_or(996);
    budget.checked_sub(inner.reddit.asked).ok_or_else(|| {
        let body = json!({"message": "Too Many Requests", "error": 429});
        let reset = header::HeaderName::from_static("x-ratelimit-reset");
        Reply::json(429, &body).with(reset, "300").into()
    })
}

fn limited(reply: Reply, left: u64) -> Reply {
    let name = header::HeaderName::from_static;
    reply
        .with(name("x-ratelimit-used"), "1")
        .with(name("x-ratelimit-remaining"), &format!("{left}.0"))
        .with(name("x-ratelimit-reset"), "300")
}

fn rotated(memory: &mut Memory, lifetime_secs: u64) -> Reply {
    let refresh = memory.next("refresh");
    memory.refresh.insert(refresh.clone());
    tokens(memory, lifetime_secs, Some(refresh))
}

fn tokens(memory: &mut Memory, lifetime_secs: u64, refresh: Option<String>) -> Reply {
    let access = format!("{:x<TOKEN_CHARS$}", memory.next("access"));
    memory.access.insert(access.clone());
    let mut body = json!({
        "access_token": access, "token_type": "bearer", "expires_in": lifetime_secs, "scope": "identity read",
    });
    if let Some(refresh) = refresh {
        body["refresh_token"] = refresh.into();
    }
    Reply::json(200, &body)
}

/// Most failures come with a 200.
fn error(word: &str, description: Option<&str>) -> Reply {
    let mut body = json!({"error": word});
    if let Some(description) = description {
        body["error_description"] = description.into();
    }
    Reply::json(200, &body)
}
