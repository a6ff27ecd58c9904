//! Larder, the proxy: an HTTP cache that stands in front of any API as a sidecar.
//!
//! A request comes in by [`front`], goes through Pingora's hooks in [`service`] to the [`engine`], which asks [`store`] and
//! `larder_policy` and, when it must, [`upstream`]; [`flight`] lets one fetch serve all who want the same. Operators see it
//! through [`admin`], [`metrics`] and [`log`].
//!
//! Only `front`, `service` and `upstream` know Pingora; only `store` knows Redis; only [`config`] reads the environment;
//! only [`clock`] reads the clock.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
mod dice;
pub mod engine;
pub mod fill;
pub mod flight;
pub mod front;
pub mod log;
pub mod metrics;
pub mod problem;
pub mod server;
pub mod service;
pub mod signals;
pub mod store;
pub mod trace;
pub mod upgrade;
pub mod upstream;
mod usual;
mod wire;
