//! A scripted upstream: answers as it is told and remembers what it was asked.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;
type Answer = BoxFuture<'static, Response<Body>>;
type Script = dyn Fn(Asked) -> Answer + Send + Sync;

/// One request as it reached the upstream.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An upstream on a port of its own; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Answers every request with what `script` makes of it.
    pub(crate) async fn start<F>(script: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::start_on("127.0.0.1:0".parse().unwrap(), script).await
    }

    pub(crate) async fn start_on<F>(
        address: SocketAddr,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::listen(address, script, true).await
    }

    /// One that doesn't keep what it was asked, for loads without end.
    pub(crate) async fn start_forgetful<F>(
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::listen("127.0.0.1:0".parse().unwrap(), script, false).await
    }

    async fn listen<F>(
        address: SocketAddr,
        script: impl Fn(Asked) -> F + Send + Sync + 'static,
        remembers: bool,
    ) -> Self
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = bind(address).await;
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let script: Arc<Script> = Arc::new(move |asked| Box::pin(script(asked)));
        let log = remembers.then(|| asked.clone());
        let task = tokio::spawn(serve(listener, script, log));
        Self {
            address,
            asked,
            task,
        }
    }

    /// Everything it was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How many requests it got.
    pub(crate) fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port that was just in use may take a moment to be free again.
async fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..1000 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            return socket.listen(1024).unwrap();
        }
        tokio::task::yield_now().await;
    }
    panic!("{address} stays in use");
}

type Log = Option<Arc<Mutex<Vec<Asked>>>>;

async fn serve(listener: TcpListener, script: Arc<Script>, asked: Log) {
    // Connections end with the set, and so with the upstream: as when its process is killed.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (script, asked) = (script.clone(), asked.clone());
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                answer(request, script.clone(), asked.clone())
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Script>,
    log: Log,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let target = head
        .uri
        .path_and_query()
        .map_or("*", |target| target.as_str())
        .to_owned();
    let asked = Asked {
        method: head.method,
        target,
        headers: head.headers,
        body,
    };
    if let Some(log) = log {
        log.lock().unwrap().push(asked.clone());
    }
    Ok(script(asked).await)
}

/// A response with these fields and this body.
pub(crate) fn respond(
    status: u16,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response
        .body(
            Full::new(body.into())
                .map_err(|never| match never {})
                .boxed(),
        )
        .unwrap()
}

/// A response whose body says how often the upstream was asked, with this `Cache-Control`.
pub(crate) async fn counting(cache_control: &'static str) -> Upstream {
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Upstream::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        async move { respond(200, &[("cache-control", cache_control)], number.to_string()) }
    })
    .await
}
