//! Signing up, in and out. A program gets a token to send as `Authorization: Bearer`; a form gets a cookie and is sent back to
//! its page. Neither tells whether an address is known when the password is wrong.

use super::body::{Fields, Format};
use super::caller::Caller;
use super::cookies::Cookie;
use super::error::ApiError;
use super::exchange::{Asker, Now};
use super::{App, back, params, private};
use crate::article::text;
use crate::users::{Email, NewUser, Token, User, check_password};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::Arc;

/// Of the name that others see.
const NAME_CHARS_MAX: usize = 40;

/// A session as its owner sees it, once.
#[derive(Serialize)]
struct Opened<'a> {
    token: &'a str,
    token_type: &'static str,
    expires_at: DateTime<Utc>,
    user: &'a User,
}

/// Signs up, and in.
pub(super) async fn register(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let format = Format::of(&fields)?;
    let mut given = Fields::read(format, &body, &["email", "password", "name", "back"])?;
    let email = given.required("email", email);
    let password = given.required("password", |text| {
        check_password(text).map_err(|fault| fault.to_string())?;
        Ok(text.to_owned())
    });
    let name = given.optional("name", name);
    let back = given.optional("back", back);
    let (email, password) = given.finish(email.zip(password))?;
    app.people.admit_registration(&asker)?;
    let password = app.people.passwords.hash(password).await?;
    let name = name.or_else(|| text::clean(email.local(), NAME_CHARS_MAX));
    let new = NewUser {
        email: &email,
        name: name.as_deref().unwrap_or("Reader"),
        password: &password,
    };
    let user = app.people.users.create(&new, now).await?;
    let user = user.ok_or(ApiError::EmailTaken)?;
    open(&app, &asker, format, back, &user, now).await
}

/// Signs in.
pub(super) async fn login(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let format = Format::of(&fields)?;
    let mut given = Fields::read(format, &body, &["email", "password", "back"])?;
    let email = given.required("email", email);
    // The bounds of new passwords are not told here: one that does not keep them is simply wrong.
    let password = given.required("password", |text| Ok(text.to_owned()));
    let back = given.optional("back", back);
    let (email, password) = given.finish(email.zip(password))?;
    app.people.admit_login(&asker)?;
    app.people.count_failure(&email, &asker)?;
    let found = app.people.users.by_email(&email).await?;
    let (user, hash) = found.unzip();
    let matches = app.people.passwords.matches(password, hash).await?;
    let user = user.filter(|_| matches).ok_or(ApiError::Credentials)?;
    app.people.forget_failure(&email, &asker);
    open(&app, &asker, format, back, &user, now).await
}

/// Signs out: the token of this request opens nothing any more. Without one, nothing is left to do.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    // Programs send nothing here.
    let format = Format::of(&fields).unwrap_or(Format::Json);
    let mut given = Fields::read(
        Format::Form,
        if format == Format::Form { &body } else { b"" },
        &["back"],
    )?;
    let back = given.optional("back", back);
    given.finish(Some(()))?;
    if let Some(caller) = caller {
        app.people.users.close_session(&caller.token).await?;
    }
    let mut answer = match format {
        Format::Json => private(StatusCode::NO_CONTENT),
        Format::Form => see_other(back.unwrap_or("/")),
    };
    let gone = Cookie::Session.set("", 0, app.people.is_https(&asker))?;
    answer.headers_mut().insert(SET_COOKIE, gone);
    Ok(answer)
}

async fn open(
    app: &App,
    asker: &Asker,
    format: Format,
    back: Option<&'static str>,
    user: &User,
    now: DateTime<Utc>,
) -> Result<Response, ApiError> {
    let token = Token::random().map_err(ApiError::Internal)?;
    let expires_at = now + app.people.session_ttl;
    let users = &app.people.users;
    users
        .open_session(user.id, &token.digest(), now, expires_at)
        .await?;
    match format {
        Format::Json => {
            let opened = Opened {
                token: token.expose(),
                token_type: "Bearer",
                expires_at,
                user,
            };
            Ok((StatusCode::CREATED, super::private_json(&opened)?).into_response())
        }
        Format::Form => {
            let mut answer = see_other(back.unwrap_or("/"));
            let seconds = app.people.session_ttl.num_seconds();
            let https = app.people.is_https(asker);
            let set = Cookie::Session.set(token.expose(), seconds, https)?;
            answer.headers_mut().insert(SET_COOKIE, set);
            Ok(answer)
        }
    }
}

/// Sends a browser to one of our own pages, with GET.
pub(super) fn see_other(page: &'static str) -> Response {
    let mut answer = private(StatusCode::SEE_OTHER);
    answer
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static(page));
    answer
}

fn email(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|fault| fault.to_string())
}

/// A name as others see it: plain text on one line.
pub(super) fn name(given: &str) -> Result<String, String> {
    let fault = || format!("must have 1 to {NAME_CHARS_MAX} characters");
    let name = text::plain_line(given).ok_or_else(fault)?;
    match name.chars().count() <= NAME_CHARS_MAX {
        true => Ok(name),
        false => Err(fault()),
    }
}
