//! The real proxy in this process, on ports of its own, and clients for it.

use http::HeaderMap;
use larder_proxy::config::{Config, Flags};
use larder_proxy::server::{Server, Stop};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long anything in a test may take that should take milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) clients: SocketAddr,
    pub(crate) admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) running: JoinHandle<anyhow::Result<()>>,
    pub(crate) http: reqwest::Client,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Got {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `X-Cache`.
    pub(crate) fn result(&self) -> &str {
        self.field("x-cache")
    }
}

impl Proxy {
    /// Before an upstream, with further settings by key.
    pub(crate) async fn start(upstream: SocketAddr, settings: &[(&'static str, &str)]) -> Self {
        let mut flags = Flags::from([
            ("listen", "127.0.0.1:0".to_owned()),
            ("admin", "127.0.0.1:0".to_owned()),
            ("upstream", format!("http://{upstream}")),
            // A busy machine holds a process up for longer than the two seconds that are usual.
            ("purge_lease", "20s".to_owned()),
        ]);
        flags.extend(
            settings
                .iter()
                .map(|(key, value)| (*key, (*value).to_owned())),
        );
        let config =
            Config::load(&flags, &BTreeMap::new()).unwrap_or_else(|faults| panic!("{faults}"));
        Self::start_with(config).await
    }

    /// With a configuration file.
    pub(crate) async fn start_with_file(upstream: SocketAddr, toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("larder.toml");
        std::fs::write(&path, toml).unwrap();
        Self::start(upstream, &[("config", path.to_str().unwrap())]).await
    }

    async fn start_with(config: Config) -> Self {
        let server = Server::bind(config).await.unwrap();
        let (clients, admin) = (
            server.client_address().unwrap(),
            server.admin_address().unwrap(),
        );
        let (stop, stopped) = oneshot::channel::<()>();
        server.warm_up().await;
        let running = tokio::spawn(server.run(async move {
            drop(stopped.await);
            Stop::Told
        }));
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Answers are looked at as they come, whatever reqwest is built with for other packages.
            .no_gzip()
            .no_deflate()
            .no_brotli()
            .no_zstd()
            .timeout(PATIENCE);
        Self {
            clients,
            admin,
            stop: Some(stop),
            running,
            http: http.build().unwrap(),
        }
    }

    pub(crate) fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.clients)
    }

    pub(crate) async fn get(&self, target: &str) -> Got {
        self.get_with(target, &[]).await
    }

    pub(crate) async fn get_with(&self, target: &str, fields: &[(&str, &str)]) -> Got {
        self.send(reqwest::Method::GET, target, fields, "").await
    }

    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        target: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Got {
        let mut request = self.http.request(method, self.url(target));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body.to_owned());
        }
        got(request.send().await.unwrap()).await
    }

    pub(crate) async fn admin(&self, method: reqwest::Method, target: &str) -> Got {
        got(self
            .http
            .request(method, format!("http://{}{target}", self.admin))
            .send()
            .await
            .unwrap())
        .await
    }

    /// Redis answers, and every purge in it is known.
    pub(crate) async fn uses_redis(&self) -> bool {
        let health = self.admin(reqwest::Method::GET, "/health").await;
        let health: serde_json::Value = serde_json::from_str(&health.body).unwrap();
        health["redis"] == "up" && health["purges"] == "followed"
    }

    pub(crate) async fn purge(&self, url: &str) -> Got {
        let mut target = url::Url::parse(&format!("http://{}/purge", self.admin)).unwrap();
        target.query_pairs_mut().append_pair("url", url);
        got(self.http.post(target).send().await.unwrap()).await
    }

    /// Sends bytes as they are and reads until the proxy closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.clients).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the proxy closes")
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }
}

pub(crate) async fn got(response: reqwest::Response) -> Got {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Got {
        status,
        headers,
        body: response.text().await.unwrap(),
    }
}
