//! Larder's origin: a news aggregator that fetches from outside sources, keeps articles in a database and answers from it.
//!
//! Arrows point one way: `main -> run -> api, ingest -> articles, source -> database, article`. Only `config` reads the environment, only
//! `articles` knows SQL (and `database` the two databases), only `http` talks to the outside, only `api::error` gives failures their status codes.

pub mod api;
pub mod article;
pub mod articles;
pub mod board;
pub mod config;
pub mod database;
pub mod discipline;
mod duplicates;
pub mod health;
pub mod http;
pub mod ingest;
pub mod keys;
pub mod log;
pub mod outbox;
pub mod personal;
pub mod preferences;
pub mod reddit;
pub mod refreshes;
pub mod run;
pub mod schedule;
pub mod search;
pub mod secret;
pub mod sentiment;
pub mod serve;
pub mod sim;
pub mod source;
pub mod subscriptions;
pub mod tag;
pub mod turn;
pub mod users;
pub mod vault;
pub mod views;
