//! Sources against the simulated upstreams, over real sockets, and their parsers against damaged documents.

mod discipline;
mod fetch;
mod memory;
mod reddit;
mod simulation;
mod support;
mod survive;
