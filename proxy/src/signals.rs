//! What do the signals of the system ask for?
//!
//! SIGTERM and SIGINT: end, once those are answered who have asked. SIGQUIT: offer the listening sockets to a new process, and end in
//! the same way when it has taken them; otherwise go on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::server::Stop;
use crate::upgrade::{Sockets, UpgradeSettings, offer};

/// The signals, heard from its making on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    /// From now on no signal of these ends the process by itself.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Resolves when the process shall serve no longer. `upgrade` tells what may be offered, and where.
    pub async fn stop(mut self, upgrade: Option<(UpgradeSettings, Sockets)>) -> Stop {
        loop {
            tokio::select! {
                () = ended(&mut self.terminate, &mut self.interrupt) => return Stop::Told,
                _ = self.quit.recv() => {}
            }
            let Some((settings, sockets)) = &upgrade else {
                tracing::warn!(
                    "SIGQUIT asks for an upgrade, but no upgrade_sock is set; serving on"
                );
                continue;
            };
            let (socket, seconds) = (settings.socket.display(), settings.patience.as_secs_f64());
            tracing::info!(%socket, seconds, "offering the listening sockets to a new process");
            tokio::select! {
                () = ended(&mut self.terminate, &mut self.interrupt) => return Stop::Told,
                taken = offer(sockets, settings) => match taken {
                    Ok(()) => return Stop::HandedOver,
                    Err(error) => tracing::warn!(%error, "the upgrade did not happen; serving on"),
                },
            }
        }
    }
}

async fn ended(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
