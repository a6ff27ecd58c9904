//! The origin from outside: both databases for real, scripted sources, and the program itself as a child process.

mod accounts;
mod answers;
mod articles;
mod board;
mod cached;
mod duplicates;
mod env_example;
mod ingest;
mod kept_apart;
mod limits;
mod outages;
mod outbox;
mod pages;
mod paging;
mod people;
mod private;
mod process;
mod quota;
mod reddit;
mod refresh;
mod schedule;
mod search;
mod sentiment;
mod simulated;
mod support;
mod user_feeds;
