//! A private Redis on a socket in a temporary folder, reached through a gate. To drop it is to end it.

use super::gate::{Gate, To};
use super::process::with_keeper;
use super::until;
use std::net::SocketAddr;
use std::process::{Child, Command};
use tempfile::TempDir;

pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    _gate: Gate,
    _child: Child,
    _folder: TempDir,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("redis.sock");
        let mut keeper = with_keeper(&Command::new("redis-server"), folder.path());
        keeper.args(["--port", "0", "--unixsocket"]).arg(&socket);
        keeper.args(["--save", "", "--appendonly", "no"]);
        let child = keeper.stderr(std::process::Stdio::null()).spawn();
        let child = child.expect("sh runs");
        until("Redis listens", || async {
            tokio::net::UnixStream::connect(&socket).await.is_ok()
        })
        .await;
        let gate = Gate::leading(To::Unix(socket)).await;
        Self {
            address: gate.address,
            _gate: gate,
            _child: child,
            _folder: folder,
        }
    }
}
