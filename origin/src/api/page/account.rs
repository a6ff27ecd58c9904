//! The page of one person: signing in and up, the feed, leaving. Its answers are `private, no-store`.

use super::super::auth::see_other;
use super::super::body::Format;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::exchange::Now;
use super::super::params::{self, ParameterFault};
use super::super::{App, PRIVATE, feed, messages};
use super::assets::{ASSETS, Assets};
use super::html;
use super::view::Shown;
use crate::article::Category;
use crate::preferences::{Set, VALUE_BYTES_MAX, Wishes};
use crate::users::User;
use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use std::sync::Arc;

const ARTICLES: u16 = 20;

#[derive(Template)]
#[template(path = "account.html")]
struct Account<'a> {
    assets: &'a Assets,
    user: Option<User>,
    muted_words: String,
    categories: Vec<(&'static str, bool)>,
    articles: Vec<Shown>,
}

#[derive(Template)]
#[template(
    source = r#"<a href="/account">{% if let Some(user) = user %}{{ user.name }}{% else %}Sign in{% endif %}</a>"#,
    ext = "html"
)]
struct Menu {
    user: Option<User>,
}

/// Forms to sign in and up, or the account and its feed.
pub(in crate::api) async fn page(
    State(app): State<Arc<App>>,
    caller: Option<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let mut page = Account {
        assets: &ASSETS,
        user: None,
        muted_words: String::new(),
        categories: Vec::new(),
        articles: Vec::new(),
    };
    if let Some(caller) = caller {
        let preferences = app.people.preferences.all(caller.user.id).await?;
        let wishes = Wishes::new(&preferences);
        let (articles, _) = feed::page(&app, caller.user.id, &wishes, None, ARTICLES).await?;
        let shown = serde_json::to_value(&articles).and_then(serde_json::from_value);
        page.articles = shown.map_err(|error| ApiError::Internal(error.to_string()))?;
        let chosen = |category| {
            (
                Category::as_str(category),
                wishes.categories.contains(&category),
            )
        };
        page.categories = Category::ALL.into_iter().map(chosen).collect();
        page.muted_words = wishes.muted_words.join("\n");
        page.user = Some(caller.user);
    }
    private(html(StatusCode::OK, &page)?)
}

/// The entry of the menu that differs from person to person.
pub(in crate::api) async fn menu(
    caller: Option<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let user = caller.map(|caller| caller.user);
    private(html(StatusCode::OK, &Menu { user })?)
}

/// Saves the form of the feed as preferences.
pub(in crate::api) async fn save_feed(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    caller: Caller,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let given = form(&fields, &body)?;
    let mut categories = Vec::new();
    let mut words = Vec::new();
    for (name, value) in &given {
        match name.as_str() {
            "category" => categories.push(value.as_str()),
            "muted_words" => words.extend(value.lines().map(str::trim)),
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    save(&app, &caller, "feed.categories", json!(categories), now).await?;
    save(&app, &caller, "feed.muted_words", json!(words), now).await?;
    Ok(see_other("/account"))
}

/// Deletes the account, from a form: those know no method but GET and POST.
pub(in crate::api) async fn delete(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    caller: Caller,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let is_sure = form(&fields, &body)?
        .iter()
        .any(|(name, value)| name == "sure" && value == "yes");
    if !is_sure {
        let detail = "must be yes".to_owned();
        return Err(ApiError::Fields(vec![ParameterFault {
            name: "sure".to_owned(),
            detail,
        }]));
    }
    let deleted = app.delete_user(caller.user.id, now).await?;
    Ok(messages::voiding_after(deleted, see_other("/")))
}

fn form(fields: &HeaderMap, body: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    match Format::of(fields)? {
        Format::Form => Ok(url::form_urlencoded::parse(body).into_owned().collect()),
        Format::Json => Err(ApiError::MediaType),
    }
}

async fn save(
    app: &App,
    caller: &Caller,
    key: &str,
    value: Value,
    now: DateTime<Utc>,
) -> Result<(), ApiError> {
    Wishes::check(key, &value).map_err(|detail| {
        ApiError::Fields(vec![ParameterFault {
            name: key.to_owned(),
            detail,
        }])
    })?;
    if value.to_string().len() > VALUE_BYTES_MAX {
        return Err(ApiError::BodyTooLarge {
            bytes_max: VALUE_BYTES_MAX,
        });
    }
    match app
        .people
        .preferences
        .set(caller.user.id, key, &value, now)
        .await?
    {
        Set::Created | Set::Replaced => Ok(()),
        Set::Full => Err(ApiError::TooManyPreferences),
        Set::NoUser => Err(ApiError::Unauthorized),
    }
}

fn private(mut page: Response) -> Result<Response, ApiError> {
    page.headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static(PRIVATE));
    Ok(page)
}
