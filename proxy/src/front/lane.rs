//! Requests that never see Pingora: every body-less `GET` and `HEAD` of HTTP/1.x that the cache is concerned with.
//!
//! The engine answers, the lane frames and writes: interim responses as they come, then the final one, in the order of the
//! requests. The origin's fields go out as they are. Left out: what the engine passes, which goes to Pingora with its bytes
//! untouched, and reading requests.

use super::parse::Parsed;
use super::write::{self, BrokenOff, Framing, Out};
use crate::clock;
use crate::engine::{self, Answer, Engine, Interims, Request, Response};
use crate::log::{Access, access};
use crate::metrics::Metrics;
use crate::problem;
use crate::trace::{Told, Trace};
use crate::wire::origin_form;
use http::{Method, Version, header};
use larder_policy::Outcome;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::AsyncWrite;

/// What the lane needs of the rest.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) engine: Arc<Engine>,
    pub(super) metrics: Arc<Metrics>,
    /// How long a client may take nothing of what is written to it.
    pub(super) client_write: Duration,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// Answered; the connection is good for another request.
    Persists,
    /// Answered, or broken off; the connection ends.
    Closes,
    /// Nothing was written: Pingora's business.
    Passes,
}

/// What the log says of a response.
#[derive(Debug, Clone, Copy)]
struct Sent {
    status: u16,
    outcome: Outcome,
}

impl Sent {
    fn of(response: &Response) -> Self {
        Self {
            status: response.status.as_u16(),
            outcome: response.outcome,
        }
    }
}

impl Lane {
    /// Answers one request. `last` says, when the answer is there, that no other may follow, because the process is ending.
    pub(super) async fn serve<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        parsed: &Parsed,
        client: IpAddr,
        last: impl Fn() -> bool,
    ) -> Served {
        let started = Instant::now();
        let now = clock::now();
        let trace = Trace::new(self.engine.config.trace);
        let mut out = Out::new(stream, self.client_write);
        let mut response = match self.answer(&mut out, parsed, &trace, now).await {
            Ok(Answer::Respond(response)) => response,
            Ok(Answer::Pass(_)) => return Served::Passes,
            // The client went away while interim responses were written to it.
            Err(_) => return Served::Closes,
        };
        response.name_failed(&trace, &parsed.headers);
        let mut sent = Sent::of(&response);
        let persists = parsed.persists() && !last();
        let mut written = respond(&mut out, parsed, *response, persists, now).await;
        if let Err(BrokenOff::Upstream(failure)) = written
            && out.take_back()
        {
            // Nobody has seen anything of it, so it need not look like a broken connection.
            let outcome = Outcome::Error(failure);
            let problem = problem::failure(failure, problem::sentence(failure));
            let mut instead = engine::own(problem, outcome);
            instead.name_failed(&trace, &parsed.headers);
            sent = Sent::of(&instead);
            written = respond(&mut out, parsed, instead, persists, now).await;
        }
        let told = trace.told(&parsed.headers);
        self.log(parsed, client, sent, out.content_bytes(), started, told);
        match written {
            Ok(Framing::UntilClose) | Err(_) => Served::Closes,
            Ok(_) if persists => Served::Persists,
            Ok(_) => Served::Closes,
        }
    }

    /// Asks the engine, and meanwhile writes the interim responses that come.
    async fn answer<S: AsyncWrite + Unpin>(
        &self,
        out: &mut Out<'_, S>,
        parsed: &Parsed,
        trace: &Trace,
        now: SystemTime,
    ) -> io::Result<Answer> {
        let interims = Interims::default();
        let request = Request {
            method: &parsed.method,
            target: origin_form(&parsed.target),
            authority: parsed
                .headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok()),
            headers: &parsed.headers,
            has_body: false,
            // RFC 9110 §15.2: HTTP/1.0 knows no interim responses.
            interims: (parsed.version == Version::HTTP_11).then_some(&interims),
            trace,
        };
        let answer = self.engine.answer(&request, now);
        tokio::pin!(answer);
        let answer = loop {
            tokio::select! {
                biased;
                interim = interims.next() => {
                    write::head(out, parsed.version, interim.status, &interim.headers, Framing::None, None);
                    out.flush().await?;
                }
                answer = &mut answer => break answer,
            }
        };
        // Sent before the final head, and perhaps not seen yet.
        while let Some(interim) = interims.take() {
            write::head(
                out,
                parsed.version,
                interim.status,
                &interim.headers,
                Framing::None,
                None,
            );
            out.flush().await?;
        }
        out.begin();
        Ok(answer)
    }

    fn log(
        &self,
        parsed: &Parsed,
        client: IpAddr,
        sent: Sent,
        bytes: u64,
        started: Instant,
        trace: Told<'_>,
    ) {
        let duration = started.elapsed();
        self.metrics.observe_request(&sent.outcome, duration);
        access(&Access {
            method: &parsed.method,
            target: &parsed.target,
            status: sent.status,
            outcome: &sent.outcome,
            bytes,
            duration,
            client: Some(client),
            protocol: parsed.version,
            trace,
        });
    }
}

/// Writes head and body. An error means that the connection must end: what was sent is incomplete, and the client must see that.
async fn respond<S: AsyncWrite + Unpin>(
    out: &mut Out<'_, S>,
    parsed: &Parsed,
    response: Response,
    persists: bool,
    now: SystemTime,
) -> Result<Framing, BrokenOff> {
    let Response {
        status,
        mut headers,
        mut body,
        ..
    } = response;
    // RFC 9110 §6.6.1: whoever has a clock dates what has no date, so also what we say ourselves.
    larder_policy::insert_date(&mut headers, now);
    let framing = write::framing(
        parsed.method == Method::HEAD,
        parsed.version,
        status,
        &headers,
        &body,
    );
    let persists = persists && framing != Framing::UntilClose;
    let connection = match (persists, parsed.version) {
        (false, _) => Some("close"),
        (true, Version::HTTP_11) => None,
        (true, _) => Some("keep-alive"),
    };
    write::head(out, parsed.version, status, &headers, framing, connection);
    if framing != Framing::None {
        write::body(out, &mut body, framing).await?;
    }
    out.flush().await?;
    Ok(framing)
}
