//! The real proxy before a scripted upstream, told as stories, and its parts against real servers.

mod admin;
mod api_outages;
mod away;
mod caching;
mod cap;
mod cli;
mod config;
mod drain;
mod early;
mod env_example;
mod failures;
mod fairness;
mod flights;
mod front;
mod groups;
mod head;
mod https;
mod leases;
#[cfg(target_os = "linux")]
mod memory_bound;
mod outages;
mod passes;
mod patience;
mod post;
mod process;
mod ranges;
mod redis_sets;
mod redis_tier;
mod redis_words;
mod rfc9111;
mod selection;
mod smuggling;
mod store;
mod support;
mod upgrade;
mod versions;
