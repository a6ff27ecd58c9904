//! The real proxy before a scripted upstream, told as stories, and its parts against real servers.

mod admin;
mod caching;
mod cli;
mod config;
mod env_example;
mod failures;
mod flights;
mod passes;
mod store;
mod support;
