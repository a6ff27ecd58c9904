//! A plain HTTP client: one connection a request, nothing interpreted.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }

    /// The `code` of a failure.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) async fn get(address: SocketAddr, target: &str) -> Reply {
    send(address, Method::GET, target, &[])
        .await
        .expect("an answer")
}

pub(crate) async fn get_with(address: SocketAddr, target: &str, fields: &[(&str, &str)]) -> Reply {
    send(address, Method::GET, target, fields)
        .await
        .expect("an answer")
}

pub(crate) async fn send(
    address: SocketAddr,
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
) -> anyhow::Result<Reply> {
    send_body(address, method, target, fields, "").await
}

/// With a JSON body.
pub(crate) async fn send_json(
    address: SocketAddr,
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let mut all = vec![("content-type", "application/json")];
    all.extend(fields);
    let sent = send_body(address, method, target, &all, &body.to_string()).await;
    sent.expect("an answer")
}

/// As a browser sends a form.
pub(crate) async fn post_form(
    address: SocketAddr,
    target: &str,
    fields: &[(&str, &str)],
    form: &str,
) -> Reply {
    let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
    all.extend(fields);
    let sent = send_body(address, Method::POST, target, &all, form).await;
    sent.expect("an answer")
}

pub(crate) async fn send_body(
    address: SocketAddr,
    method: Method,
    target: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Reply> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(address).await?))
            .await?;
    let connection = tokio::spawn(connection);
    let reply = read(
        sender
            .send_request(request(method, target, address, fields, body)?)
            .await?,
    )
    .await;
    connection.abort();
    reply
}

/// The same over HTTP/2 without TLS.
pub(crate) async fn get_h2c(address: SocketAddr, path: &str) -> Reply {
    let stream = TokioIo::new(TcpStream::connect(address).await.expect("a connection"));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .expect("a handshake");
    let connection = tokio::spawn(connection);
    let request = request(
        Method::GET,
        &format!("http://{address}{path}"),
        address,
        &[],
        "",
    )
    .expect("a request");
    let reply = read(sender.send_request(request).await.expect("an answer"))
        .await
        .expect("a body");
    connection.abort();
    reply
}

fn request(
    method: Method,
    target: &str,
    host: SocketAddr,
    fields: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", host.to_string());
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Ok(request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?)
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> anyhow::Result<Reply> {
    let (head, body) = response.into_parts();
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body: body.collect().await?.to_bytes(),
    })
}
