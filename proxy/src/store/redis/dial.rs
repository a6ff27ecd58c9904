//! How does one connection to one server of Redis come about?
//!
//! TCP or a Unix socket, then TLS if the URL says so, then `HELLO 3` with user and password, or
//! what older servers understand where that is refused. The TLS side is prepared once, since reading
//! the system's authorities takes milliseconds of work that would hold up others. There is no retry
//! here and no deadline: who dials brings both.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::select_ok;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use crate::config::{Host, Login};

/// Questions under way on one connection before the next one waits, within its deadline.
const PIPELINE_MAX: usize = 512;

/// Why TLS can't be spoken: there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum BadAuthorities {
    /// The file can't be read.
    #[error("the file of certificate authorities for Redis can't be read: {0}")]
    File(#[from] std::io::Error),
    /// It has no certificates, or one that is none.
    #[error("the file of certificate authorities for Redis holds no certificates in PEM")]
    NoCertificates,
    /// The system has none either.
    #[error("the system has no certificate authorities to trust for Redis; set LARDER_REDIS_CA")]
    NoneInSystem,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Tcp(Host),
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host) => write!(f, "{}:{}", host.name, host.port),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Makes connections of one kind: the same user, the same authorities.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    tls: Option<Arc<ClientConfig>>,
    hello: RedisConnectionInfo,
}

/// A connection that many may ask at once. It ends with its last clone.
#[derive(Debug, Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    _driver: Arc<Driver>,
}

#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What was given up on a connection while the server had not taken it yet: the connection holds it still.
#[derive(Debug, Clone)]
pub(in crate::store) struct Late(MultiplexedConnection);

impl Late {
    /// Returns when the connection doesn't hold it any more: it has sent all that came before, or is no more.
    pub(in crate::store) async fn is_let_go(&self) {
        let _either_way = self
            .0
            .clone()
            .send_packed_command(&redis::cmd("PING"))
            .await;
    }
}

impl Wire {
    /// The way to see what is given up on this connection to its end. It does not keep the connection.
    pub(super) fn late(&self) -> Late {
        Late(self.connection.clone())
    }

    /// Sends one question and waits for its answer.
    pub(super) async fn ask(&self, cmd: &redis::Cmd) -> RedisResult<redis::Value> {
        let answer = self.connection.clone().send_packed_command(cmd).await?;
        match answer {
            redis::Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        }
    }

    /// The same at a Cluster's node that is only about to get the key.
    pub(super) async fn ask_asking(&self, cmd: &redis::Cmd) -> RedisResult<redis::Value> {
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(cmd.clone());
        let mut answers = self
            .connection
            .clone()
            .send_packed_commands(&both, 1, 1)
            .await?;
        match answers.pop() {
            Some(redis::Value::ServerError(error)) => Err(error.into()),
            value => Ok(value.unwrap_or(redis::Value::Nil)),
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Dialer {
    pub(super) fn new(tls: Option<Arc<ClientConfig>>, login: &Login, db: u16) -> Self {
        // The name of the library would be told by a command that not every ACL allows.
        let mut hello = RedisConnectionInfo::default()
            .set_db(db.into())
            .set_skip_set_lib_name();
        if let Some(user) = &login.user {
            hello = hello.set_username(user);
        }
        if let Some(password) = &login.password {
            hello = hello.set_password(password.expose());
        }
        Self { tls, hello }
    }

    /// One for questions and answers.
    pub(super) async fn wire(&self, place: &Place) -> RedisResult<Wire> {
        match self.wire_with(place, ProtocolVersion::RESP3).await {
            Err(error) if refuses_hello(&error) => {
                self.wire_with(place, ProtocolVersion::RESP2).await
            }
            made => made,
        }
    }

    /// One for a channel's messages. It needs nothing that came with the newer protocol.
    pub(super) async fn pubsub(&self, place: &Place) -> RedisResult<PubSub> {
        let hello = self.hello.clone().set_protocol(ProtocolVersion::RESP2);
        PubSub::new(&hello, self.stream(place).await?).await
    }

    async fn wire_with(&self, place: &Place, protocol: ProtocolVersion) -> RedisResult<Wire> {
        let config = AsyncConnectionConfig::new()
            // Each question brings its own deadline.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_MAX);
        let hello = self.hello.clone().set_protocol(protocol);
        let stream = self.stream(place).await?;
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&hello, stream, config).await?;
        let driver = Driver(tokio::spawn(driver).abort_handle());
        Ok(Wire {
            connection,
            _driver: Arc::new(driver),
        })
    }

    async fn stream(&self, place: &Place) -> RedisResult<Box<dyn Io>> {
        let host = match place {
            Place::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Place::Tcp(host) => host,
        };
        let stream = tcp(host).await?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host.name.clone())
            .map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "no name for TLS")))?;
        let connector = TlsConnector::from(Arc::clone(tls));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

/// To whichever of a name's addresses answers first: one that is dead must not use up the time.
async fn tcp(host: &Host) -> std::io::Result<TcpStream> {
    let addresses = tokio::net::lookup_host((host.name.as_str(), host.port)).await?;
    let attempts: Vec<_> = addresses
        .map(|address| Box::pin(TcpStream::connect(address)))
        .collect();
    if attempts.is_empty() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let (stream, _others) = select_ok(attempts).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Does the server not know the newer protocol, rather than us?
fn refuses_hello(error: &RedisError) -> bool {
    let from_server = matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension);
    error.kind() == ErrorKind::RESP3NotSupported
        || (from_server && !super::node::turns_us_away(error))
}

/// The TLS side of all connections: verified by the authorities in a file, else by the system's.
pub(super) fn tls(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, BadAuthorities> {
    let roots = match authorities {
        Some(path) => roots_in(&std::fs::read(path)?)?,
        None => roots_of_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| BadAuthorities::NoneInSystem)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots_in(pem: &[u8]) -> Result<RootCertStore, BadAuthorities> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| BadAuthorities::NoCertificates)?;
        let added = roots.add(certificate);
        added.map_err(|_| BadAuthorities::NoCertificates)?;
    }
    if roots.is_empty() {
        return Err(BadAuthorities::NoCertificates);
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, BadAuthorities> {
    let mut roots = RootCertStore::empty();
    // Some certificate of a system's bundle is always odd; the others serve.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(BadAuthorities::NoneInSystem);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_no_authority() {
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(matches!(
                roots_in(text.as_bytes()),
                Err(BadAuthorities::NoCertificates)
            ));
        }
    }

    #[test]
    fn what_a_dialer_shows_has_no_password() {
        let login = Login {
            user: Some("larder".to_owned()),
            password: Some(crate::config::Secret::new("hunter2")),
        };
        assert!(!format!("{:?}", Dialer::new(None, &login, 0)).contains("hunter2"));
    }
}
