//! An upstream behind TLS: the name in the handshake, the `Host`, and certificates that are not to be trusted.

use crate::support::proxy::Proxy;
use crate::support::upstream::respond;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A TLS server that answers with the `Host` it was asked for, and the file with the authority that vouches for it.
struct Tls {
    address: SocketAddr,
    ca: PathBuf,
    _folder: tempfile::TempDir,
}

async fn tls(name: &str) -> Tls {
    let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certified.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certified.cert.der().clone()], key)
    .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(async |request: Request<Incoming>| {
                    let host = request.headers()["host"].to_str().unwrap().to_owned();
                    Ok::<_, Infallible>(respond(200, &[("cache-control", "max-age=60")], host))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Tls {
        address,
        ca,
        _folder: folder,
    }
}

async fn proxy(upstream: &Tls, name: &str, settings: &[(&'static str, &str)]) -> Proxy {
    let upstream_url = format!("https://{name}:{}", upstream.address.port());
    let mut all = vec![("upstream", upstream_url.as_str())];
    all.extend(settings);
    Proxy::start(upstream.address, &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_upstream_is_asked_by_its_own_name() {
    let upstream = tls("localhost").await;
    let ca = upstream.ca.to_str().unwrap();
    let proxy = proxy(&upstream, "localhost", &[("upstream_ca", ca)]).await;
    let own = format!("localhost:{}", upstream.address.port());
    let miss = proxy.get("/a").await;
    assert_eq!(
        (miss.status, miss.result(), miss.body.as_str()),
        (200, "MISS", own.as_str())
    );
    assert_eq!(
        proxy
            .get_with("/a", &[("host", "other.example")])
            .await
            .result(),
        "HIT",
        "the client's Host is not keyed"
    );
    assert_eq!(
        proxy.send(reqwest::Method::POST, "/a", &[], "x").await.body,
        own,
        "nor is it passed on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_host_says_which_host_the_upstream_sees() {
    let upstream = tls("localhost").await;
    let ca = upstream.ca.to_str().unwrap();
    for (setting, seen) in [("api.example", "api.example"), ("client", "asked.example")] {
        let proxy = proxy(
            &upstream,
            "localhost",
            &[("upstream_ca", ca), ("upstream_host", setting)],
        )
        .await;
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            assert_eq!(
                proxy
                    .send(method, "/a", &[("host", "asked.example")], "")
                    .await
                    .body,
                seen
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_or_for_another_name_is_a_502() {
    let untrusted = tls("localhost").await;
    let other_name = tls("other.example").await;
    let own_ca = other_name.ca.to_str().unwrap();
    let wrong_ca = untrusted.ca.to_str().unwrap();
    for (upstream, name, ca) in [
        (&other_name, "localhost", own_ca),
        (&other_name, "127.0.0.1", own_ca),
        (&other_name, "localhost", wrong_ca),
    ] {
        let proxy = proxy(upstream, name, &[("upstream_ca", ca)]).await;
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let answer = proxy.send(method, "/a", &[], "").await;
            assert_eq!(
                (answer.status, answer.result()),
                (502, "ERROR"),
                "{answer:?}"
            );
            assert!(answer.body.contains("upstream-tls"), "{answer:?}");
        }
    }
}
