//! Asks the upstream: addresses, pooled connections, deadlines, one more try where nothing can have happened twice.
//!
//! Only requests without a body and with a safe method (`GET`, `HEAD`) come this way, so a request that a stale pooled
//! connection swallowed may be sent again (RFC 9110 §9.2.2). At most `origin_concurrency` fetches are under way at once:
//! an outage of the store must not move to the upstream. A body that goes at its client's pace doesn't count: see
//! [`UpstreamBody::leave_turn`]. While it does not answer, fetches fail at once, but for one trial now and then. Knows Pingora;
//! no caching rule lives here.

mod breaker;
mod failover;
mod framing;
mod interim;
mod pass;
mod pool;
mod replay;
mod resolve;
mod send;
mod standing;
mod whole;

use crate::config::{Config, Timeouts};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
pub use interim::{Interim, Interims};
use larder_policy::Failure;
pub use pass::Passing;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use pool::Pool;
use replay::Replay;
use resolve::Resolver;
pub use standing::{Answered, Outage};
use standing::{NoAnswer, Standing, Ticket};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use whole::Whole;

/// Dead pooled connections that one request may run into before it gives up: an upstream's restart kills them all at once.
const STALE_CONNECTIONS_MAX: usize = 16;
/// How long a fetch waits for its turn when `origin_concurrency` fetches are under way.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);
/// Interim responses to one request: an upstream that sends no end of them would keep a processor busy until the deadline.
const INTERIM_COUNT_MAX: usize = 100;
/// How long an upgraded connection (a WebSocket, say) may be silent.
const UPGRADED_IDLE_MAX: Duration = Duration::from_secs(3600);

/// What is asked: without a body.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    pub method: Method,
    /// Origin-form, sent as it stands.
    pub target: String,
    /// All fields, `Host` included.
    pub headers: HeaderMap,
}

/// The head of a final response, with its body still to come.
#[derive(Debug)]
pub struct UpstreamResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: UpstreamBody,
    /// When its request had its turn: until then the upstream knew nothing of it.
    pub began: Instant,
}

/// The upstream with its connections.
pub struct Upstream {
    connector: TransportConnector,
    pool: Arc<Pool>,
    resolver: Resolver,
    tls: bool,
    /// The name in the TLS handshake; never empty, for without one Pingora would not verify the certificate.
    server_name: String,
    timeouts: Timeouts,
    turns: Arc<Semaphore>,
    standing: Arc<Standing>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("resolver", &self.resolver)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

enum Attempt {
    /// The upstream saw nothing of the request: another address may be tried.
    NotConnected(Failure),
    Broken(Failure),
}

impl Upstream {
    /// An upstream as the configuration names it. Nothing is resolved or connected yet.
    pub fn new(config: &Config) -> Arc<Self> {
        let mut options = ConnectorOptions::new(0);
        options.ca_file = config
            .upstream_ca
            .as_ref()
            .map(|path| path.display().to_string());
        Arc::new(Self {
            connector: TransportConnector::new(Some(options)),
            pool: Pool::new(config.timeouts.upstream_idle),
            resolver: Resolver::new(&config.upstream.host, config.upstream.port),
            tls: config.upstream.https,
            server_name: config.upstream.host.clone(),
            timeouts: config.timeouts,
            turns: Arc::new(Semaphore::new(config.origin_concurrency)),
            standing: Standing::new(),
        })
    }

    /// Whether it answered when last asked.
    pub fn answered(&self) -> Answered {
        self.standing.answered()
    }

    /// It has not answered lately, and most fetches are refused.
    pub fn is_away(&self) -> bool {
        self.standing.is_away()
    }

    /// Whether it is away as far as fetches of this target are concerned.
    pub fn outage(&self, target: &str) -> Option<Outage> {
        self.standing.outage(target)
    }

    fn peer_at(&self, address: SocketAddr) -> HttpPeer {
        let mut peer = HttpPeer::new(address, self.tls, self.server_name.clone());
        peer.options.connection_timeout = Some(self.timeouts.upstream_connect);
        peer.options.total_connection_timeout = Some(self.timeouts.upstream_connect);
        peer.options.read_timeout = Some(self.timeouts.upstream_read);
        peer.options.write_timeout = Some(self.timeouts.upstream_read);
        peer.options.idle_timeout = Some(self.timeouts.upstream_idle);
        peer
    }

    /// Sends the request and reads the head of the final response; interim responses go to `interims` on the way.
    pub async fn fetch(
        self: &Arc<Self>,
        request: &UpstreamRequest,
        interims: Option<&Interims>,
    ) -> Result<UpstreamResponse, Failure> {
        if let Some(outage) = self.outage(&request.target)
            && !outage.trial_due
        {
            return Err(outage.failure);
        }
        let turn = match self.turns.clone().try_acquire_owned() {
            Ok(turn) => turn,
            Err(_) => timeout(TURN_WAIT_MAX, self.turns.clone().acquire_owned())
                .await
                .map_err(|_| Failure::Overloaded)?
                .map_err(|_| Failure::Overloaded)?,
        };
        // Much may have become known while it waited for its turn.
        let ticket = self.standing.admit(&request.target)?;
        let began = Instant::now();
        let addresses = self.resolver.addresses().await;
        let count = addresses.as_ref().map_or(0, |addresses| addresses.len());
        let found = match addresses {
            Ok(addresses) => self.ask(&addresses, &ticket, request, interims).await,
            Err(failure) => Err((NoAnswer::unasked(failure), None)),
        };
        match found {
            Ok((said, address, place)) => {
                ticket.answered(place);
                let mut response = match said {
                    Said::Whole(whole, stream) => {
                        // Nothing of it is in the connection any more.
                        self.pool.put(address, stream, Instant::now());
                        UpstreamResponse::whole(whole, address, self.clone(), turn, began)
                    }
                    Said::Begun(session) => {
                        UpstreamResponse::new(session, address, self.clone(), turn, began)
                    }
                };
                response.body.release_if_done().await;
                Ok(response)
            }
            Err((why, place)) => {
                ticket.failed(why, place, count);
                Err(why.failure)
            }
        }
    }

    /// Asks the first address that can be connected to; tells which one it was.
    async fn ask(
        &self,
        addresses: &[SocketAddr],
        ticket: &Ticket,
        request: &UpstreamRequest,
        interims: Option<&Interims>,
    ) -> Result<(Said, SocketAddr, usize), (NoAnswer, Option<usize>)> {
        let mut failure = Failure::ConnectFailed;
        for attempt in 0..addresses.len() {
            let place = ticket.place(attempt, addresses.len());
            let Some(address) = addresses.get(place) else {
                continue;
            };
            match self.attempt(*address, request, interims).await {
                Ok(said) => return Ok((said, *address, place)),
                Err(Attempt::NotConnected(why)) => {
                    ticket.not_connected(place, addresses.len());
                    failure = why;
                }
                Err(Attempt::Broken(failure)) => {
                    let why = NoAnswer {
                        failure,
                        unasked: false,
                    };
                    return Err((why, Some(place)));
                }
            }
        }
        self.resolver.forget();
        Err((NoAnswer::unasked(failure), None))
    }

    /// A connection that waits for a request, or a new one; tells whether it has been used before.
    async fn connection(&self, address: SocketAddr) -> pingora::Result<(Stream, bool)> {
        let pooled = self.pool.take(address, Instant::now());
        let reused = pooled.is_some();
        let stream = match pooled {
            Some(stream) => stream,
            None => {
                let peer = self.peer_at(address);
                // Boxed: rare, and larger than all the rest of a fetch.
                Box::pin(self.connector.new_stream(&peer)).await?
            }
        };
        Ok((stream, reused))
    }

    async fn attempt(
        &self,
        address: SocketAddr,
        request: &UpstreamRequest,
        interims: Option<&Interims>,
    ) -> Result<Said, Attempt> {
        for _ in 0..STALE_CONNECTIONS_MAX {
            let (stream, reused) = self
                .connection(address)
                .await
                .map_err(|error| Attempt::NotConnected(classify(&error)))?;
            let Silence {
                mut error,
                nothing_came,
            } = match self.exchange(stream, request, interims).await {
                Ok(said) => return Ok(said),
                Err(silence) => silence,
            };
            error.retry.decide_reuse(reused);
            // A pooled connection that the upstream had already closed: it answered nothing, and the method is safe.
            let swallowed = reused
                && nothing_came
                && !matches!(
                    error.etype(),
                    ErrorType::ReadTimedout | ErrorType::InvalidHTTPHeader
                );
            if !swallowed {
                return Err(Attempt::Broken(classify(&error)));
            }
        }
        Err(Attempt::Broken(Failure::UpstreamBroken))
    }

    /// Writes the request and reads heads until a final one, all within the read deadline.
    async fn exchange(
        &self,
        mut stream: Stream,
        request: &UpstreamRequest,
        interims: Option<&Interims>,
    ) -> Result<Said, Silence> {
        let mut nothing_came = true;
        let exchange = async {
            send::send(&mut stream, request).await?;
            let read = send::receive(&mut stream).await?;
            if let Some(whole) = Whole::read(&read, &request.method) {
                return Ok(Said::Whole(whole, stream));
            }
            // Boxed: rarer, and larger than all the rest.
            let heads = self.heads(
                Replay::new(stream, read),
                request,
                interims,
                &mut nothing_came,
            );
            Box::pin(heads).await.map(Said::Begun)
        };
        let late = |_| Error::explain(ErrorType::ReadTimedout, "no head within the deadline");
        let result = timeout(self.timeouts.upstream_read, exchange)
            .await
            .map_err(late)
            .flatten();
        result.map_err(|error| Silence {
            error,
            nothing_came,
        })
    }

    /// Reads heads until a final one, with Pingora.
    async fn heads(
        &self,
        replay: Replay,
        request: &UpstreamRequest,
        interims: Option<&Interims>,
        nothing_came: &mut bool,
    ) -> pingora::Result<Box<HttpSession>> {
        let mut session = Box::new(HttpSession::new(Box::new(replay)));
        // Which tells it what was asked.
        let head = Box::new(request.to_pingora()?);
        session.write_request_header(head).await?;
        session.finish_body().await?;
        let mut interim_count = 0;
        loop {
            session.read_response().await?;
            *nothing_came = false;
            let Some(head) = session.resp_header() else {
                continue;
            };
            if !head.status.is_informational() {
                framing::check(&head.headers)?;
                // From here on each piece has its own deadline.
                session.read_timeout = Some(self.timeouts.upstream_read);
                return Ok(session);
            }
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                // Nobody asked for it: what follows is no HTTP.
                return Err(framing::broken("101 without being asked"));
            }
            interim_count += 1;
            if interim_count > INTERIM_COUNT_MAX {
                return Err(framing::broken("no end of interim responses"));
            }
            if let Some(interims) = interims {
                interims.push(Interim::new(head.status, &head.headers));
            }
        }
    }
}

/// What came of an attempt.
enum Said {
    /// All of the answer.
    Whole(Whole, Stream),
    /// The head, with content perhaps to come.
    Begun(Box<HttpSession>),
}

/// Why no final head came.
struct Silence {
    error: Box<Error>,
    /// No byte of any answer.
    nothing_came: bool,
}

impl UpstreamRequest {
    fn to_pingora(&self) -> pingora::Result<RequestHeader> {
        if let Some(uri) = self.uri() {
            let (mut parts, ()) = http::Request::new(()).into_parts();
            (parts.method, parts.uri) = (self.method.clone(), uri);
            parts.headers = self.headers.clone();
            return Ok(parts.into());
        }
        let mut head = RequestHeader::build(
            self.method.clone(),
            self.target.as_bytes(),
            Some(self.headers.len()),
        )?;
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        Ok(head)
    }

    /// The target, when it is spelt the same as a URI.
    fn uri(&self) -> Option<Uri> {
        let uri = Uri::try_from(self.target.as_str()).ok()?;
        let is_same = uri.path_and_query()?.as_str() == self.target && uri.authority().is_none();
        is_same.then_some(uri)
    }
}

/// Whose fault a Pingora error is, in our words.
pub fn classify(error: &Error) -> Failure {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => Failure::UpstreamTimeout,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert => Failure::UpstreamTls,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError
        | ErrorType::BindError => Failure::ConnectFailed,
        _ => Failure::UpstreamBroken,
    }
}

/// A response body, read from the connection chunk by chunk. Read to its end, the connection goes back to the pool;
/// dropped before, the connection is closed, so that no rest of it can reach the next answer.
pub struct UpstreamBody {
    content: Content,
    address: SocketAddr,
    upstream: Arc<Upstream>,
    turn: Option<OwnedSemaphorePermit>,
}

/// Where the content of a response is.
enum Content {
    /// Here, all of it.
    Whole(Bytes),
    /// Still coming on the connection.
    Coming(Box<HttpSession>),
    /// Read to its end, or given up.
    Over,
}

impl std::fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamBody")
            .field("open", &!matches!(self.content, Content::Over))
            .finish_non_exhaustive()
    }
}

impl UpstreamResponse {
    fn new(
        session: Box<HttpSession>,
        address: SocketAddr,
        upstream: Arc<Upstream>,
        turn: OwnedSemaphorePermit,
        began: Instant,
    ) -> Self {
        let head = session.resp_header();
        let status = head.map_or(StatusCode::BAD_GATEWAY, |head| head.status);
        let headers = head.map(|head| head.headers.clone()).unwrap_or_default();
        Self {
            status,
            headers,
            body: UpstreamBody {
                content: Content::Coming(session),
                address,
                upstream,
                turn: Some(turn),
            },
            began,
        }
    }
}

impl UpstreamResponse {
    fn whole(
        whole: Whole,
        address: SocketAddr,
        upstream: Arc<Upstream>,
        turn: OwnedSemaphorePermit,
        began: Instant,
    ) -> Self {
        Self {
            status: whole.status,
            headers: whole.headers,
            body: UpstreamBody {
                content: Content::Whole(whole.content),
                address,
                upstream,
                turn: Some(turn),
            },
            began,
        }
    }
}

impl UpstreamBody {
    /// The next chunk; `None` at the end. An early end of the connection is a failure, not an end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let session = match &mut self.content {
            Content::Coming(session) => session,
            Content::Over => return Ok(None),
            Content::Whole(content) => {
                let content = std::mem::take(content);
                self.content = Content::Over;
                return Ok((!content.is_empty()).then_some(content));
            }
        };
        match session.read_body_bytes().await {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => {
                self.release().await;
                Ok(None)
            }
            Err(error) => {
                self.content = Content::Over;
                Err(classify(&error))
            }
        }
    }

    /// Lets another fetch begin although this body is still coming. For one that a single client reads at its own pace:
    /// some event streams or slow readers would otherwise keep every other fetch waiting for ever.
    pub fn leave_turn(&mut self) {
        self.turn = None;
    }

    /// Gives the connection back at once, when the head was all: nobody need read a body that can't come.
    async fn release_if_done(&mut self) {
        if let Content::Coming(session) = &mut self.content
            && session.is_body_done()
        {
            self.release().await;
        }
    }

    /// Gives the connection back, if the whole response has been read.
    pub async fn release(&mut self) {
        let content = std::mem::replace(&mut self.content, Content::Over);
        let Content::Coming(mut session) = content else {
            return;
        };
        if !session.is_body_done() {
            return;
        }
        // Unless one of the two has said that it is the last.
        session.respect_keepalive();
        // Boxed: rarer than a whole answer, and larger than all the rest of a body.
        if let Some(stream) = Box::pin(session.reuse()).await.and_then(Replay::undo) {
            self.upstream.pool.put(self.address, stream, Instant::now());
        }
    }
}
