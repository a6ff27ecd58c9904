//! What does it take to read a request's head? The short grammar leaves everything where it lies; the whole one makes a map of
//! fields; httparse, which most servers in Rust read with, finds the places alone.

use super::{NAMES, head};
use divan::{Bencher, black_box};
use larder_policy::Fields;
use larder_proxy::front::grammar::{self, Reader, Room, Short};

/// As much as a look-up reads of every head.
struct LooksUp;

impl Reader for LooksUp {
    fn read<F: Fields>(self, head: &Short<'_, F>) {
        black_box((head.target, head.host, head.head_bytes));
    }
}

#[divan::bench(args = NAMES)]
fn short(bencher: Bencher<'_, '_>, name: &str) {
    let (head, mut room) = (head(name), Room::default());
    bencher.bench_local(|| assert!(grammar::short(black_box(head), &mut room, LooksUp)));
}

#[divan::bench(args = NAMES)]
fn whole(bencher: Bencher<'_, '_>, name: &str) {
    let head = head(name);
    bencher.bench_local(|| {
        let head = black_box(head);
        let end = grammar::head_end(head);
        assert_eq!(grammar::framing(head), Some(grammar::Framing::None));
        (end, grammar::fields(head))
    });
}

#[divan::bench(args = NAMES)]
fn httparse(bencher: Bencher<'_, '_>, name: &str) {
    let head = head(name);
    bencher.bench_local(|| {
        let mut room = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut room);
        let parsed = request.parse(black_box(head)).unwrap();
        black_box((request.path, request.headers.len()));
        parsed
    });
}
