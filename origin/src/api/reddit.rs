//! `/auth/reddit` and `/me/reddit`: connecting a Reddit account in four steps, seeing it, reading what it has chosen, and letting it
//! go. None of these answers is ever kept by a cache.
//!
//! Must stay true: a permission counts only in the browser in which it was asked for, once, within ten minutes. Without a
//! signed-in user a connection belongs to the browser that made it.

use super::caller::Caller;
use super::cookies::Cookie;
use super::error::ApiError;
use super::exchange::{Asker, Now};
use super::params::{self, ParameterFault};
use super::{App, private, private_json};
use crate::discipline::{Ask, Purpose};
use crate::http::Answer;
use crate::reddit::{Account, Connections, OauthFault, Owner, Pending, Permission};
use crate::secret::Secret;
use crate::source::SourceError;
use crate::source::reddit::{Page, parse, refusal};
use crate::users::Token;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Of the cookie that binds a permission that is asked for to the browser.
const ASKING_SECS: i64 = 600;
/// Of the cookie that says whose connection it is, when nobody is signed in.
const OWNER_SECS: i64 = 30 * 24 * 3600;
const PAGE_SIZE: &str = "50";
/// Of a fullname, as `t3_1abcde`.
const AFTER_CHARS_MAX: usize = 60;

#[derive(Serialize)]
struct Connection {
    connected: bool,
    account: Option<Account>,
}

#[derive(Serialize)]
struct Post {
    title: String,
    url: String,
    outlet: Option<String>,
    author: Option<String>,
    image_url: Option<String>,
    published_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Posts {
    articles: Vec<Post>,
    /// What to ask for the next page with.
    after: Option<String>,
}

/// Step 1: sends the browser to Reddit, and remembers that it was this one.
pub(super) async fn login(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let connections = connections(&app)?;
    let state = Token::random().map_err(ApiError::Internal)?;
    // Of two tabs, both may come back.
    let https = app.people.is_https(&asker);
    let browser = match Cookie::RedditAsking
        .read(&fields, https)
        .and_then(Token::parse)
    {
        Some(browser) => browser,
        None => Token::random().map_err(ApiError::Internal)?,
    };
    let pending = Pending {
        browser_hash: browser.digest().as_str().to_owned(),
        user_id: caller.map(|caller| caller.user.id),
    };
    let hash = state.digest();
    connections
        .accounts
        .begin(hash.as_str(), &pending, now)
        .await?;
    let url = connections.reddit.authorize_url(state.expose());
    let location = HeaderValue::from_str(url.as_str())
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    let mut answer = private(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(LOCATION, location);
    let asking = Cookie::RedditAsking.set(browser.expose(), ASKING_SECS, https)?;
    answer.headers_mut().insert(SET_COOKIE, asking);
    Ok(answer)
}

/// Steps 2 to 4: the browser comes back; its code becomes tokens, and these tell whose they are.
pub(super) async fn callback(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
) -> Response {
    let query = query.unwrap_or_default();
    let connected = connect(&app, now, &asker, &query, caller, &fields).await;
    let wants_page = fields
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let answer = match connected {
        Ok((account, owner)) => connected_answer(&app, &asker, account, owner, wants_page),
        Err(error @ ApiError::Oauth(_)) if wants_page => {
            error.log();
            let (status, sentence) = (error.status(), error.detail());
            Ok(page(status, "Not connected", &sentence))
        }
        Err(error) => Err(error),
    };
    answer.into_response()
}

async fn connect(
    app: &App,
    now: DateTime<Utc>,
    asker: &Asker,
    query: &str,
    caller: Option<Caller>,
    fields: &HeaderMap,
) -> Result<(Account, Option<Token>), ApiError> {
    let connections = connections(app)?;
    let (state, code) = Permission::read(query)?;
    // Used up before anything else is looked at.
    let state = Token::parse(&state).ok_or(OauthFault::UnknownState)?;
    let hash = state.digest();
    let pending = connections.accounts.take(hash.as_str(), now).await?;
    let pending = pending.ok_or(OauthFault::UnknownState)?;
    let https = app.people.is_https(asker);
    let browser = Cookie::RedditAsking
        .read(fields, https)
        .and_then(Token::parse);
    let browser = browser.ok_or(OauthFault::OtherBrowser)?.digest();
    let is_same = browser
        .as_str()
        .as_bytes()
        .ct_eq(pending.browser_hash.as_bytes());
    let user_id = caller.map(|caller| caller.user.id);
    if !bool::from(is_same) || pending.user_id.is_some_and(|id| user_id != Some(id)) {
        return Err(OauthFault::OtherBrowser.into());
    }
    let grant = connections.reddit.exchange(&code?, now).await?;
    let name = connections.name(&grant.access_token, now).await;
    let (owner, token) = match pending.user_id {
        Some(id) => (Owner::User(id), None),
        None => {
            let token = Token::random().map_err(ApiError::Internal)?;
            (
                Owner::Browser(token.digest().as_str().to_owned()),
                Some(token),
            )
        }
    };
    let scope = grant.scope.clone();
    connections
        .connect(&owner, grant, name.as_deref(), now)
        .await?;
    tracing::info!(scope, "a Reddit account was connected");
    // The browser's cookie is about to be replaced: what hangs on the old one would be out of everybody's reach.
    if let (Owner::Browser(_), Some(old)) = (&owner, browser_owner(app, asker, fields))
        && let Err(error) = connections.disconnect(&old, now).await
    {
        tracing::warn!(%error, "a replaced connection was not ended");
    }
    let account = connections.accounts.of(&owner).await?;
    Ok((account.ok_or(OauthFault::NotConnected)?, token))
}

fn connected_answer(
    app: &App,
    asker: &Asker,
    account: Account,
    owner: Option<Token>,
    wants_page: bool,
) -> Result<Response, ApiError> {
    let mut answer = if wants_page {
        let name = account.name.as_deref().unwrap_or("your account");
        let sentence = format!("Connected as {name}.");
        page(StatusCode::OK, "Connected", &sentence)
    } else {
        private_json(&Connection {
            connected: true,
            account: Some(account),
        })?
    };
    let https = app.people.is_https(asker);
    let fields = answer.headers_mut();
    fields.append(SET_COOKIE, Cookie::RedditAsking.set("", 0, https)?);
    if let Some(owner) = owner {
        let owner = Cookie::RedditOwner.set(owner.expose(), OWNER_SECS, https)?;
        fields.append(SET_COOKIE, owner);
    }
    Ok(answer)
}

/// Whether an account is connected, and which.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let connections = connections(&app)?;
    let account = match owner(&app, &asker, caller, &fields) {
        Some(owner) => connections.accounts.of(&owner).await?,
        None => None,
    };
    private_json(&Connection {
        connected: account.is_some(),
        account,
    })
}

/// Ends the connection, here and at Reddit; of a signed-in user's browser too. Nothing to end is fine.
pub(super) async fn disconnect(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let connections = connections(&app)?;
    let user = caller.map(|caller| Owner::User(caller.user.id));
    for owner in user.iter().chain(&browser_owner(&app, &asker, &fields)) {
        connections.disconnect(owner, now).await?;
    }
    let mut answer = private(StatusCode::NO_CONTENT);
    let gone = Cookie::RedditOwner.set("", 0, app.people.is_https(&asker))?;
    answer.headers_mut().insert(SET_COOKIE, gone);
    Ok(answer)
}

/// What the connected account has chosen to read, a page at a time.
pub(super) async fn posts(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    let after = after(query.as_deref().unwrap_or_default())?;
    let connections = connections(&app)?;
    let owner = owner(&app, &asker, caller, &fields).ok_or(OauthFault::NotConnected)?;
    let page = chosen(connections, &owner, after.as_deref(), now).await?;
    let articles = page.batch.articles.into_iter().map(|article| Post {
        title: article.title,
        url: article.url,
        outlet: article.outlet,
        author: article.author,
        image_url: article.image_url,
        published_at: article.published_at,
    });
    private_json(&Posts {
        articles: articles.collect(),
        after: page.after,
    })
}

/// A refused token is replaced once, and the question put once more.
async fn chosen(
    connections: &Connections,
    owner: &Owner,
    after: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Page, ApiError> {
    let token = connections.token(owner, None, now).await?;
    if let Some(page) = best(connections, &token, after, now).await? {
        return Ok(page);
    }
    let token = connections.token(owner, Some(token), now).await?;
    let page = best(connections, &token, after, now).await?;
    Ok(page.ok_or(OauthFault::BadToken)?)
}

/// `None` when the token is refused.
async fn best(
    connections: &Connections,
    token: &Secret,
    after: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<Page>, OauthFault> {
    let mut query = vec![("limit", PAGE_SIZE)];
    query.extend(after.map(|after| ("after", after)));
    let request = connections.reddit.request("best", &query, token);
    let ask = Ask {
        purpose: Purpose::Live,
        now,
    };
    // A person's refusal is no failure of the source: it must not keep it from being asked for others.
    let judge = |answer: &Answer, now| match answer.status {
        401 => Ok(Ok(None)),
        403 => Ok(Err(OauthFault::of(answer, now))),
        200..=299 => parse(&answer.body, now).map(|page| Ok(Some(page))),
        _ => Err(refusal(answer, now)),
    };
    let asked = connections.gate.ask(&request, ask, judge).await;
    asked.map_err(|error| match error {
        SourceError::Refused { wait, .. } | SourceError::Open { wait } => OauthFault::RateLimited {
            retry_after: Some(wait),
        },
        error => error.into(),
    })?
}

fn connections(app: &App) -> Result<&Connections, OauthFault> {
    app.connections.as_deref().ok_or(OauthFault::NotConfigured)
}

fn owner(app: &App, asker: &Asker, caller: Option<Caller>, fields: &HeaderMap) -> Option<Owner> {
    if let Some(caller) = caller {
        return Some(Owner::User(caller.user.id));
    }
    browser_owner(app, asker, fields)
}

/// Whoever holds the browser's cookie.
fn browser_owner(app: &App, asker: &Asker, fields: &HeaderMap) -> Option<Owner> {
    let https = app.people.is_https(asker);
    let token = Token::parse(Cookie::RedditOwner.read(fields, https)?)?;
    Some(Owner::Browser(token.digest().as_str().to_owned()))
}

fn after(query: &str) -> Result<Option<String>, ApiError> {
    let fault = |name: &str, detail: &str| {
        ApiError::Parameters(vec![ParameterFault {
            name: name.to_owned(),
            detail: detail.to_owned(),
        }])
    };
    let mut after = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let is_fullname = value.len() <= AFTER_CHARS_MAX
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && value.starts_with('t');
        if name != "after" {
            return Err(fault(&name, "is unknown here"));
        }
        if !is_fullname || after.replace(value.into_owned()).is_some() {
            return Err(fault("after", "must be the `after` of a page, once"));
        }
    }
    Ok(after)
}

/// A page of one sentence, for the browser in which somebody waits.
fn page(status: StatusCode, title: &str, sentence: &str) -> Response {
    let (title, sentence) = (
        html_escape::encode_text(title),
        html_escape::encode_text(sentence),
    );
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title></head><body><main><h1>{title}</h1><p>{sentence}</p><p><a href=\"/\">Back to the news</a></p></main></body></html>"
    );
    let fields = [
        (
            CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'"),
        ),
    ];
    let mut answer = private(status);
    *answer.body_mut() = html.into();
    answer.headers_mut().extend(fields);
    answer
}
