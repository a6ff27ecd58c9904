//! Pingora's hooks: the engine answers what the cache is concerned with, Pingora carries the rest. No caching rule lives here.
//!
//! A request meets the hooks in this order: `request_filter` asks the engine and writes its answer; a pass goes on through
//! `upstream_peer`, `upstream_request_filter` (Via, Host, who asks), `response_filter` (what happened; what an unsafe method
//! made stale), or through `fail_to_proxy`. `logging` comes last in every case.

mod write;

use crate::engine::{Answer, Engine, Interims, PostAnswer, Request, add_via};
use crate::log::{Access, access};
use crate::metrics::Metrics;
use crate::store::Mark;
use crate::trace::{REQUEST_ID, TRACEPARENT, TRACESTATE, Trace};
use crate::upstream::{self, Passing, Upstream};
use crate::wire::origin_form;
use crate::{clock, problem};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version, header};
use larder_policy::{Exchange, Failure, Outcome, Pass, Unkeyable};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What the hooks share with the engine.
#[derive(Debug)]
pub struct Service {
    engine: Arc<Engine>,
    upstream: Arc<Upstream>,
    metrics: Arc<Metrics>,
    client_write: Duration,
    client_idle: Duration,
}

/// One request's way through the hooks.
#[derive(Debug)]
pub struct Context {
    started: Instant,
    outcome: Outcome,
    pass: Option<Pass>,
    /// The way to the upstream.
    passing: Option<Passing>,
    /// Said by our own code when it gave up; Pingora's error carries less.
    failure: Option<Failure>,
    /// When the request went to the upstream.
    requested: Option<(SystemTime, Mark)>,
    /// A copy for later GETs, while it is being made.
    post: Option<Box<PostAnswer>>,
    trace: Trace,
}

impl Service {
    pub fn new(engine: Arc<Engine>, upstream: Arc<Upstream>, metrics: Arc<Metrics>) -> Self {
        let timeouts = engine.config.timeouts;
        Self {
            engine,
            upstream,
            metrics,
            client_write: timeouts.client_write,
            client_idle: timeouts.client_idle,
        }
    }
}

impl Service {
    /// The answer to a POST, if it is to be kept.
    fn post_answer(
        &self,
        request: &Request<'_>,
        response: &ResponseHeader,
        (request_time, asked): (SystemTime, Mark),
    ) -> Option<Box<PostAnswer>> {
        let times = Exchange {
            request_time,
            response_time: clock::now(),
        };
        let (status, headers) = (response.status, &response.headers);
        let answer = self
            .engine
            .post_answer(request, status, headers, times, asked)
            .map(Box::new)?;
        if answer.is_empty() {
            self.engine.keep_post(&answer);
            return None;
        }
        Some(answer)
    }
}

/// The engine's view of a request's head.
fn view<'a>(head: &'a RequestHeader, has_body: bool, trace: &'a Trace) -> Option<Request<'a>> {
    let target = origin_form(std::str::from_utf8(head.raw_path()).ok()?);
    let authority = match head.headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => head.uri.authority().map(http::uri::Authority::as_str),
    };
    Some(Request {
        method: &head.method,
        target,
        authority,
        headers: &head.headers,
        has_body,
        interims: None,
        trace,
    })
}

#[async_trait]
impl ProxyHttp for Service {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        // Until something better is known: a request that fails before its first hook is over.
        let outcome = Outcome::Error(Failure::Internal);
        Context {
            started: Instant::now(),
            outcome,
            pass: None,
            passing: None,
            failure: None,
            requested: None,
            post: None,
            trace: Trace::new(self.engine.config.trace),
        }
    }

    /// None: the default one would box a compression module for every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        _: &mut Context,
    ) -> pingora::Result<()> {
        session.set_write_timeout(Some(self.client_write));
        session.set_read_timeout(Some(self.client_idle));
        Ok(())
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<bool> {
        let has_body = !session.as_mut().is_body_empty();
        // The answer borrows the head while interim responses are written to the session.
        let head = session.req_header().clone();
        let Some(mut request) = view(&head, has_body, &context.trace) else {
            context.pass = Some(Pass::Target(Unkeyable::BadEncoding));
            return Ok(false);
        };
        let interims = Interims::default();
        request.interims = (head.version > Version::HTTP_10).then_some(&interims);
        let answer = self.engine.answer(&request, clock::now());
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                biased;
                head = interims.next() => write::interim(session, &head).await?,
                answer = &mut answer => break answer,
            }
        };
        while let Some(head) = interims.take() {
            write::interim(session, &head).await?;
        }
        match answer {
            Answer::Pass(pass) => {
                context.pass = Some(pass);
                context.outcome = Outcome::Bypass { pass, status: None };
                Ok(false)
            }
            Answer::Respond(mut response) => {
                response.name_failed(&context.trace, &head.headers);
                context.outcome = response.outcome;
                write::response(session, *response).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> pingora::Result<Box<HttpPeer>> {
        // Made now, so that there are some to tell of if nobody can be reached.
        context.trace.sent(&session.req_header().headers);
        let upgrade = session.is_upgrade_req();
        let target = || String::from_utf8_lossy(session.req_header().raw_path());
        let passing = context
            .passing
            .get_or_insert_with(|| self.upstream.pass(&target()));
        match self.upstream.peer(passing, upgrade).await {
            Ok(peer) => Ok(Box::new(peer)),
            Err(failure) => {
                context.failure = Some(failure);
                Err(
                    Error::explain(ErrorType::ConnectError, "the upstream's name leads nowhere")
                        .into_up(),
                )
            }
        }
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let another = context.passing.as_mut().is_some_and(Passing::not_connected);
        error.set_retry(another);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        context.requested = Some((clock::now(), self.engine.mark()));
        let client = client_address(session);
        let named = upstream
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let host = self.engine.host_upstream(&named);
        if host != named && !host.is_empty() {
            upstream.insert_header(header::HOST, host)?;
        }
        let mut via = HeaderMap::new();
        add_via(&mut via, self.engine.via());
        for value in via.values() {
            upstream.append_header(header::VIA, value)?;
        }
        if let Some(client) = client {
            upstream.append_header("X-Forwarded-For", client.to_string())?;
            upstream.append_header(header::FORWARDED, forwarded(client))?;
        }
        let asked = session.req_header();
        if let Some(sent) = context.trace.sent(&asked.headers) {
            upstream.insert_header(TRACEPARENT, sent.traceparent.clone())?;
            upstream.insert_header(REQUEST_ID, sent.request_id.clone())?;
            if !sent.keeps_state {
                upstream.remove_header(&TRACESTATE);
            }
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS
        {
            return Ok(());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS && !session.is_upgrade_req() {
            // Nobody asked for it: what follows is no HTTP.
            let error = Error::explain(ErrorType::InvalidHTTPHeader, "101 without being asked");
            return Err(error.into_up());
        }
        if let Some(passing) = &mut context.passing {
            passing.answered();
        }
        if let Some(pass) = context.pass {
            context.outcome = Outcome::Bypass {
                pass,
                status: Some(response.status.as_u16()),
            };
        }
        if let Some(request) = view(session.req_header(), true, &context.trace) {
            let requested = context.requested.filter(|(_, asked)| {
                request.method == Method::POST && !self.engine.is_outrun(&request, *asked)
            });
            self.engine
                .invalidate(&request, response.status, &response.headers)
                .await;
            context.post =
                requested.and_then(|requested| self.post_answer(&request, response, requested));
        }
        write::strip_connection_fields(response);
        write::label_passed(response, &context.outcome)?;
        write::frame_for(session, response);
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> pingora::Result<Option<Duration>> {
        if let Some(mut answer) = context.post.take() {
            let goes_on = body.as_ref().is_none_or(|chunk| answer.take(chunk));
            match (goes_on, end) {
                (true, false) => context.post = Some(answer),
                (true, true) => self.engine.keep_post(&answer),
                (false, _) => {}
            }
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        context: &mut Context,
    ) -> FailToProxy {
        let none = FailToProxy {
            error_code: 0,
            can_reuse_downstream: false,
        };
        if session.response_written().is_some() {
            return none;
        }
        let Some(failure) = context.failure.or_else(|| whose_fault(error)) else {
            return none;
        };
        if let (ErrorSource::Upstream, Some(passing)) = (error.esource(), &mut context.passing) {
            passing.failed(error);
        }
        context.outcome = Outcome::Error(failure);
        let told = context.trace.told(&session.req_header().headers);
        tracing::warn!(reason = context.outcome.reason().as_str(), error = %error.etype().as_str(), trace_id = told.trace_id.map(tracing::field::display), span_id = told.span_id.map(tracing::field::display), "a request could not be handed through");
        session.set_keepalive(None);
        let mut response = crate::engine::own(
            problem::failure(failure, problem::sentence(failure)),
            context.outcome,
        );
        response.name_failed(&context.trace, &session.req_header().headers);
        let code = response.status.as_u16();
        drop(write::response(session, response).await);
        FailToProxy {
            error_code: code,
            can_reuse_downstream: false,
        }
    }

    /// Ours says it, once, where it is handled.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, context: &mut Context) {
        let duration = context.started.elapsed();
        self.metrics.observe_request(&context.outcome, duration);
        let head = session.req_header();
        access(&Access {
            method: &head.method,
            target: &String::from_utf8_lossy(head.raw_path()),
            // Nothing was written: the client had gone.
            status: session
                .response_written()
                .map_or(0, |response| response.status.as_u16()),
            outcome: &context.outcome,
            bytes: session.body_bytes_sent() as u64,
            duration,
            client: client_address(session),
            protocol: session.req_header().version,
            trace: context.trace.told(&head.headers),
        });
    }
}

fn client_address(session: &Session) -> Option<IpAddr> {
    session
        .client_addr()
        .and_then(|address| address.as_inet())
        .map(std::net::SocketAddr::ip)
}

/// One element of `Forwarded` (RFC 7239 §6): an IPv6 address is bracketed and quoted.
fn forwarded(client: IpAddr) -> String {
    match client {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    }
}

/// What to tell the client; `None` when it has gone.
fn whose_fault(error: &Error) -> Option<Failure> {
    match error.esource() {
        ErrorSource::Upstream => Some(upstream::classify(error)),
        ErrorSource::Downstream => match error.etype() {
            ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed => None,
            _ => Some(Failure::BadRequest),
        },
        ErrorSource::Internal | ErrorSource::Unset => Some(Failure::Internal),
    }
}

/// Does this version of HTTP know chunked bodies?
fn knows_chunks(version: Version) -> bool {
    version == Version::HTTP_11
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarded_element_quotes_what_is_no_token() {
        assert_eq!(forwarded("192.0.2.1".parse().unwrap()), "for=192.0.2.1");
        assert_eq!(
            forwarded("2001:db8::1".parse().unwrap()),
            "for=\"[2001:db8::1]\""
        );
    }

    #[test]
    fn a_client_that_went_away_is_told_nothing() {
        let gone = Error::explain(ErrorType::ConnectionClosed, "gone").into_down();
        assert_eq!(whose_fault(&gone), None);
        let refused = Error::explain(ErrorType::ConnectRefused, "refused").into_up();
        assert_eq!(whose_fault(&refused), Some(Failure::ConnectFailed));
    }

    #[test]
    fn labels_go_to_the_fields_for_people_and_for_tools() {
        let mut headers = HeaderMap::new();
        crate::engine::label(&mut headers, &Outcome::Hit { ttl_s: 287 });
        assert_eq!(headers["x-cache"], "HIT");
        assert_eq!(headers["cache-status"], "larder; hit; ttl=287");
    }
}
