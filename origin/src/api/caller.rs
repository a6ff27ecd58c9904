//! Who is signed in: the extractor that every answer to one person begins with.
//!
//! A bearer token counts before a cookie; a token that opens nothing is no reason to look at the cookie. Requests that a foreign
//! page could have sent do not get here (`forgery`).

use super::App;
use super::cookies::Cookie;
use super::error::ApiError;
use super::exchange::{Asker, Now};
use crate::users::{Token, TokenDigest, User};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, request};
use std::sync::Arc;

/// The signed-in user of a request, or 401.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user: User,
    /// Of the token by which the user is known.
    pub(super) token: TokenDigest,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Self, ApiError> {
        let Some(Some(token)) = token(&parts.headers, is_https(parts, app)) else {
            return Err(ApiError::Unauthorized);
        };
        let Some(Now(now)) = parts.extensions.get::<Now>().copied() else {
            return Err(ApiError::Internal("a request without its time".to_owned()));
        };
        let token = token.digest();
        let user = app.people.users.by_token(&token, now).await?;
        let user = user.ok_or(ApiError::Unauthorized)?;
        Ok(Self { user, token })
    }
}

/// `Option<Caller>`: nobody is fine, somebody with a token that opens nothing is told so if it is a bearer token. A cookie outlives
/// its session without anybody's fault.
impl OptionalFromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut request::Parts,
        app: &Arc<App>,
    ) -> Result<Option<Self>, ApiError> {
        let by_bearer = parts.headers.contains_key(AUTHORIZATION);
        if token(&parts.headers, is_https(parts, app)).is_none() {
            return Ok(None);
        }
        match <Self as FromRequestParts<Arc<App>>>::from_request_parts(parts, app).await {
            Ok(caller) => Ok(Some(caller)),
            Err(ApiError::Unauthorized) if !by_bearer => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The token of a request; `Some(None)` when there is something in its place that is none.
fn token(fields: &HeaderMap, https: bool) -> Option<Option<Token>> {
    match fields.get(AUTHORIZATION) {
        Some(value) => Some(value.to_str().ok().and_then(bearer)),
        None => Cookie::Session.read(fields, https).map(Token::parse),
    }
}

fn bearer(value: &str) -> Option<Token> {
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Token::parse(token.trim())
}

/// Whether the request came by https, as far as it says who sent it.
fn is_https(parts: &request::Parts, app: &App) -> bool {
    let asker = parts.extensions.get::<Asker>();
    asker.is_some_and(|asker| app.people.is_https(asker))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[(&'static str, &str)]) -> Option<Option<String>> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        token(&map, false).map(|token| token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn a_bearer_token_counts_before_a_cookie() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        let bearer = format!("bearer {}", one.expose());
        let cookie = format!("a=b; larder_session={}; c=d", other.expose());
        let one = Some(Some(one.expose().to_owned()));
        let other = Some(Some(other.expose().to_owned()));
        assert_eq!(found(&[("authorization", &bearer)]), one);
        assert_eq!(
            found(&[("authorization", &bearer), ("cookie", &cookie)]),
            one
        );
        assert_eq!(found(&[("cookie", "x=y"), ("cookie", &cookie)]), other);
        assert_eq!(
            found(&[("authorization", "Basic eDp5"), ("cookie", &cookie)]),
            Some(None)
        );
    }

    #[test]
    fn nobody_is_told_from_somebody_unknown() {
        assert_eq!(found(&[]), None);
        assert_eq!(
            found(&[("cookie", "theme=dark; not_larder_session=x")]),
            None
        );
        assert_eq!(found(&[("cookie", "larder_session=stale")]), Some(None));
        assert_eq!(found(&[("authorization", "Bearer")]), Some(None));
    }
}
