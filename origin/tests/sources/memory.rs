//! However a feed is written, reading it takes no more memory than it may.
//!
//! Memory is a whole process's, and tests share theirs: each document is read by a process of its own, which is this program again,
//! asked for one test alone.

use chrono::DateTime;
use larder_origin::source::feed::{self, Document};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use url::Url;

/// What reading may add to a process, whatever the document: some of each of the tags that are read, and of their bases.
const GROWTH_KIB_MAX: u64 = 100 * 1024;
const URL: &str = "https://feed.example/rss.xml";

/// Stands in the place of the process that reads.
#[test]
#[ignore = "it is the process that the others start"]
fn reads_what_it_is_given() {
    let mut given = String::new();
    let mut input = std::io::stdin();
    input.read_to_string(&mut given).expect("a document");
    let (url, body) = given.split_once('\n').expect("a URL before it");
    let url = Url::parse(url).expect("a URL");
    let document = Document {
        url: &url,
        charset: None,
    };
    let before = peak_kib();
    let read = feed::parse(body.as_bytes(), document, DateTime::UNIX_EPOCH);
    let articles = read.map_or(-1, |batch| batch.articles.len() as i64);
    println!("\nread {articles} {}", peak_kib() - before);
}

/// The most that this process has ever held.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    peak.and_then(|kib| kib.parse().ok()).expect("a figure")
}

/// Has a process of its own read the document: how many articles it found, and what it grew by.
fn read_apart(url: &str, body: &str) -> (Option<u64>, u64) {
    let program = std::env::current_exe().expect("this program");
    let arguments = [
        "memory::reads_what_it_is_given",
        "--exact",
        "--ignored",
        "--nocapture",
    ];
    let mut reader = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut input = reader.stdin.take().expect("its input");
    let given = format!("{url}\n{body}");
    input.write_all(given.as_bytes()).expect("it reads");
    drop(input);
    let output = reader.wait_with_output().expect("its end");
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = told.lines().find_map(|line| line.strip_prefix("read "));
    let (articles, grown) = line.and_then(|line| line.split_once(' ')).expect(&told);
    (articles.parse().ok(), grown.parse().expect("a figure"))
}

/// An Atom feed of one entry with so many links, all of which are resolved against the base.
fn atom(attributes: &str, links: usize) -> String {
    format!(
        r#"<feed xmlns="http://www.w3.org/2005/Atom" {attributes}><title>t</title><entry><title>x</title>{}</entry></feed>"#,
        "<link href=\"c\"/>".repeat(links)
    )
}

fn rss(members: &str) -> String {
    format!(
        "<rss version='2.0'><channel><item><title>x</title><link>c</link></item>{members}</channel></rss>"
    )
}

fn nested(tag: &str, times: usize) -> String {
    rss(&nested_in(tag, times))
}

fn nested_in(tag: &str, times: usize) -> String {
    format!("{}{}", tag.repeat(times), "</a>".repeat(times))
}

#[test]
fn a_base_that_every_link_would_repeat_takes_no_memory() {
    let base = |bytes: usize| format!("xml:base=\"http://a.example/{}/\"", "b".repeat(bytes));
    let mut longer = String::new();
    for n in 0..2_000 {
        let _ = write!(longer, "<a xml:base='{}{n}/'>", "b".repeat(1_000));
    }
    let hidden = "<!DOCTYPE feed [<!ENTITY x '<!--'>]>";
    let rows = [
        atom(&base(100_000), 5_000),
        atom(&base(1_000_000), 60_000),
        atom(&base(2_000), 60_000),
        format!("{hidden}{}<!-- -->", atom(&base(2_000), 60_000)),
        nested("<a xml:base='b/'>", 20_000),
        nested("<a xml:base='b/'>", 90_000),
        nested("<a xml:base=''>", 90_000),
        rss(&format!("{longer}{}", "</a>".repeat(2_000))),
    ];
    for body in rows {
        let (_, grown) = read_apart(URL, &body);
        let head: String = body.chars().take(100).collect();
        assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB: {head}");
    }
}

#[test]
fn bases_that_hold_for_a_few_links_each_take_no_memory_however_many_they_are() {
    let side_by_side = "<a xml:base='b/'/>".repeat(90_000);
    let long = format!("<a xml:base='{}/'><b/></a>", "b".repeat(1_900));
    let comments = "<!-- xml:base='b' -->".repeat(20_000);
    let rows = [
        side_by_side,
        long.repeat(2_500),
        format!("{comments}{}", nested_in("<a xml:base='b/'>", 2_000)),
    ];
    for members in rows {
        let (articles, grown) = read_apart(URL, &rss(&members));
        let head: String = members.chars().take(100).collect();
        assert_eq!(articles, Some(1), "{head}");
        assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB: {head}");
    }
}

#[test]
fn a_documents_own_long_url_takes_no_memory_either() {
    let url = format!("https://feed.example/{}/rss.xml", "b".repeat(60_000));
    let (articles, grown) = read_apart(&url, &atom("", 60_000));
    assert!(articles.is_some(), "it is a feed all the same");
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB");
}

#[test]
fn a_large_feed_with_a_modest_base_is_read_within_the_same_bound() {
    let item = "<entry><title>x</title><link href='c'/><summary>words and words</summary></entry>";
    let body = format!(
        "<feed xmlns='http://www.w3.org/2005/Atom' xml:base='https://blog.example/news/'>{}</feed>",
        item.repeat(20_000)
    );
    let (articles, grown) = read_apart(URL, &body);
    assert_eq!(articles, Some(1_000));
    assert!(grown <= GROWTH_KIB_MAX, "{grown} KiB");
}
