//! Writes the engine's responses to a Pingora session, and frames what goes to clients that know no chunks.

use super::knows_chunks;
use crate::engine::{Body, Response, X_CACHE, label};
use crate::upstream::Interim;
use crate::wire::{has_no_content, spelled};
use http::{HeaderMap, HeaderName, Method, StatusCode, Version, header};
use larder_policy::{Failure, Outcome, strip_hop_by_hop};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

/// Writes head and body. An error here closes the connection: what was sent is incomplete, and the client must see that.
pub(super) async fn response(session: &mut Session, response: Response) -> pingora::Result<()> {
    let Response {
        status,
        headers,
        mut body,
        ..
    } = response;
    let mut head = ResponseHeader::build(status, Some(headers.len() + 2))?;
    for (name, value) in &headers {
        head.append_header(spelled(name), value.clone())?;
    }
    let bodiless = session.req_header().method == Method::HEAD || has_no_content(status);
    if !bodiless {
        frame(session, &mut head, &body);
    }
    session
        .write_response_header(Box::new(head), bodiless)
        .await?;
    if bodiless {
        return session.write_response_body(None, true).await;
    }
    loop {
        match body.next().await {
            Ok(Some(chunk)) => session.write_response_body(Some(chunk), false).await?,
            Ok(None) => return session.write_response_body(None, true).await,
            Err(failure) => return Err(broken_off(failure)),
        }
    }
}

/// Writes an interim response (RFC 9110 §15.2).
pub(super) async fn interim(session: &mut Session, interim: &Interim) -> pingora::Result<()> {
    let mut head = ResponseHeader::build(interim.status, Some(interim.headers.len()))?;
    for (name, value) in interim.headers.iter() {
        head.append_header(spelled(name), value.clone())?;
    }
    session.write_response_header(Box::new(head), false).await
}

/// Says where the body ends.
fn frame(session: &mut Session, head: &mut ResponseHeader, body: &Body) {
    let length = match body {
        Body::Empty => Some(0),
        Body::Whole(bytes) => Some(bytes.len()),
        Body::Shared(_) | Body::Own(_) => None,
    };
    if let Some(length) = length {
        drop(head.insert_header(header::CONTENT_LENGTH, length));
    } else if !head.headers.contains_key(header::CONTENT_LENGTH) {
        if knows_chunks(session.req_header().version) {
            drop(head.insert_header(header::TRANSFER_ENCODING, "chunked"));
        } else if session.req_header().version < Version::HTTP_2 {
            session.set_keepalive(None);
        }
    }
}

/// A passed response in our own version, not the upstream's (RFC 9112 §2.3). For an HTTP/1.0 client without chunks, which would
/// reach it as if they were content.
pub(super) fn frame_for(session: &mut Session, response: &mut ResponseHeader) {
    let version = session.req_header().version;
    response.set_version(version.min(Version::HTTP_11));
    if version < Version::HTTP_11 && response.headers.contains_key(header::TRANSFER_ENCODING) {
        response.remove_header(&header::TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
}

/// Removes what the upstream said of its own connection (RFC 9110 §7.6.1). The framing is Pingora's to translate, and an
/// upgrade is made of these fields.
pub(super) fn strip_connection_fields(response: &mut ResponseHeader) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let mut kept = response.headers.clone();
    strip_hop_by_hop(&mut kept);
    let is_gone =
        |name: &&HeaderName| *name != header::TRANSFER_ENCODING && !kept.contains_key(*name);
    let gone: Vec<_> = response.headers.keys().filter(is_gone).cloned().collect();
    for name in gone {
        response.remove_header(&name);
    }
}

/// Says what happened on a response that Pingora carries.
pub(super) fn label_passed(
    response: &mut ResponseHeader,
    outcome: &Outcome,
) -> pingora::Result<()> {
    let mut labels = HeaderMap::new();
    label(&mut labels, outcome);
    for (name, value) in &labels {
        if name == X_CACHE {
            response.insert_header(spelled(name), value)?;
        } else {
            response.append_header(spelled(name), value)?;
        }
    }
    Ok(())
}

fn broken_off(failure: Failure) -> Box<Error> {
    let why = Outcome::Error(failure).reason().as_str();
    Error::explain(ErrorType::ReadError, format!("the body broke off: {why}")).into_up()
}
