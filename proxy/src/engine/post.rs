//! Keeps the answer to a `POST` for later `GET`s of its target, where the answer says that it is one (RFC 9110 §9.3.3).
//!
//! A `POST` is Pingora's to carry; its answer is copied here on its way to the client and stored when it came whole. What
//! must stay true: it is stored after what the `POST` itself made void, and not when anything newer was stored or changed
//! meanwhile. Whether it may be kept is the policy's to say.

use super::fetch::selected_by;
use super::plan::SCHEME;
use super::{Engine, Request};
use crate::clock;
use crate::fill::Budget;
use crate::store::{Entry, FieldLines, Found, Kept, Mark, unix_us};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use larder_policy::{
    Exchange, Post, Storable, canonical_target, fields_to_store, insert_date, selecting,
    storable_post,
};
use std::sync::Arc;

/// An answer to a `POST` on its way to its client, of which a copy is made.
#[derive(Debug)]
pub struct PostAnswer {
    /// The response, but for its body.
    entry: Entry,
    /// The request's fields, by which the stored response is found.
    request: HeaderMap,
    mark: Mark,
    length: Option<usize>,
    body: Vec<Bytes>,
    held_bytes: usize,
    bytes_max: usize,
    budget: Arc<Budget>,
}

impl PostAnswer {
    /// Copies a chunk; false when it has become too much to be kept, and then it need not be given the rest.
    pub fn take(&mut self, chunk: &Bytes) -> bool {
        let grown = self.held_bytes + chunk.len();
        if grown > self.bytes_max || self.budget.is_spent() {
            return false;
        }
        self.held_bytes = grown;
        self.budget.take(chunk.len());
        self.body.push(chunk.clone());
        true
    }

    /// Nothing is to come.
    pub fn is_empty(&self) -> bool {
        self.length == Some(0)
    }

    fn is_whole(&self) -> bool {
        self.length.is_none_or(|length| length == self.held_bytes)
    }

    fn body(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(self.held_bytes);
        self.body
            .iter()
            .for_each(|chunk| body.extend_from_slice(chunk));
        body.freeze()
    }
}

impl Drop for PostAnswer {
    fn drop(&mut self) {
        self.budget.give_back(self.held_bytes);
    }
}

impl Engine {
    /// To be taken before a request is sent upstream.
    pub fn mark(&self) -> Mark {
        self.store.mark()
    }

    /// Was the target of a `POST` that was sent at `asked` changed by another request since? To be asked before
    /// [`Engine::invalidate`], for the `POST` itself changes it, too.
    pub fn is_outrun(&self, request: &Request<'_>, asked: Mark) -> bool {
        let Ok(authority) = self.authority(request) else {
            return true;
        };
        let route = self.route(request.target);
        canonical_target(request.target, &route.query).is_ok_and(|target| {
            let key = self.key(&authority, &target, route);
            self.store.is_removed_since(&key, asked)
        })
    }

    /// What is to be copied of the answer to what was sent at `asked`; none when it may not be kept. To be called after
    /// [`Engine::invalidate`].
    pub fn post_answer(
        &self,
        request: &Request<'_>,
        status: StatusCode,
        response: &HeaderMap,
        times: Exchange,
        asked: Mark,
    ) -> Option<PostAnswer> {
        if request.method != Method::POST {
            return None;
        }
        let mark = asked.despite_removals(self.store.mark());
        let authority = self.authority(request).ok()?;
        let route = self.route(request.target);
        let target = canonical_target(request.target, &route.query).ok()?;
        // It went upstream as it came; a GET goes in its canonical form.
        if target.as_str() != request.target {
            return None;
        }
        let post = Post {
            target: request.target,
            scheme: SCHEME,
            authority: &authority,
            headers: request.headers,
        };
        let rules = &self.config.rules;
        let decided = storable_post(&post, status, response, times, rules, route);
        let (Storable::Yes(policy), Some(length)) = (decided, framed_length(response)) else {
            return None;
        };
        let key = self.key(&authority, &target, route);
        let policy = self.jittered(policy, &key, route, response);
        let vary = selected_by(route, response).ok()?;
        let selecting = vary
            .as_ref()
            .map_or_else(Vec::new, |spec| selecting(spec, request.headers));
        let mut headers = fields_to_store(response);
        insert_date(&mut headers, times.response_time);
        Some(PostAnswer {
            entry: Entry {
                key,
                vary,
                selecting: selecting.into(),
                status,
                part: None,
                headers: FieldLines::from(&headers),
                body: Bytes::new(),
                policy,
                began_us: unix_us(times.request_time),
                born: mark.stamp(),
                fetch_ms: times.took_ms(),
                kept: Kept::default(),
            },
            request: request.headers.clone(),
            mark,
            length,
            body: Vec::new(),
            held_bytes: 0,
            bytes_max: self.config.object_bytes_max,
            budget: self.fills.clone(),
        })
    }

    /// Stores an answer that has ended as it should.
    pub fn keep_post(&self, answer: &PostAnswer) {
        let now = clock::now();
        let entry = &answer.entry;
        let stored = self.store.get_in_memory(&entry.key, &answer.request, now);
        // What was stored since the POST was answered is from after it.
        if !answer.is_whole()
            || matches!(
                stored,
                Found::Hit(_) | Found::Waived(_) | Found::Part(_) | Found::WaivedPart(_)
            )
        {
            return;
        }
        let body = answer.body();
        let mut headers = entry.headers.to_map();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let entry = Entry {
            headers: FieldLines::from(&headers),
            body,
            ..entry.clone()
        };
        self.store.put(entry, answer.mark, now);
    }
}

/// How long the body says that it is, `Some(None)` when its end is marked; none when only the connection's end ends it, for
/// then nobody can tell whether all of it came.
fn framed_length(response: &HeaderMap) -> Option<Option<usize>> {
    if let Some(coding) = response.get(header::TRANSFER_ENCODING) {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        return chunked.then_some(None);
    }
    let length = response.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_body_with_an_end_of_its_own_can_be_told_to_be_whole() {
        let framed = |name, value| {
            let fields = [(name, HeaderValue::from_static(value))];
            framed_length(&fields.into_iter().collect())
        };
        assert_eq!(framed(header::CONTENT_LENGTH, "7"), Some(Some(7)));
        assert_eq!(framed(header::TRANSFER_ENCODING, "chunked"), Some(None));
        assert_eq!(framed(header::TRANSFER_ENCODING, "gzip, chunked"), None);
        assert_eq!(framed(header::CONTENT_LENGTH, "x"), None);
        assert_eq!(framed(header::DATE, "x"), None);
    }
}
