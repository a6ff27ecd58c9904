//! Sources against the simulated upstreams, over real sockets, and their parsers against damaged documents.

mod fetch;
mod simulation;
mod survive;
