//! The short grammar: what it takes, the whole one takes, too, and it means the same to every decision.

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use httparse::{EMPTY_HEADER, Status};
use larder_policy::{
    Fields, Profile, QueryRules, Route, Rules, VarySpec, canonical_authority, canonical_target,
    consider, is_canonical_target, not_modified, selecting,
};
use larder_proxy::front::grammar::{
    self, Framing, Reader, Room, Short, fields, framing, head_end, short,
};

/// Bytes of a connection: a head, and what follows it.
pub fn lines(data: &[u8]) {
    let mut room = Room::default();
    // What is left in it of another head means nothing.
    short(
        b"GET /x HTTP/1.1\r\nHost: x\r\nVia: x\r\nX: y\r\n\r\n",
        &mut room,
        Ignored,
    );
    let taken = short(data, &mut room, Judge { data });
    let Some(end) = head_end(data) else {
        assert!(!taken, "taken without an end");
        return;
    };
    let (head, _) = data.split_at(end);
    assert_eq!(
        short(head, &mut room, Judge { data: head }),
        taken,
        "by what follows"
    );
    for cut in (0..head.len()).step_by(1 + head.len() / 16) {
        assert!(
            !short(&head[..cut], &mut room, Ignored),
            "taken before its end"
        );
    }
}

struct Ignored;

impl Reader for Ignored {
    fn read<F: Fields>(self, _: &Short<'_, F>) {}
}

struct Judge<'d> {
    data: &'d [u8],
}

impl Reader for Judge<'_> {
    fn read<F: Fields>(self, taken: &Short<'_, F>) {
        let shown = || self.data.escape_ascii().to_string();
        assert_eq!(head_end(self.data), Some(taken.head_bytes), "{}", shown());
        let (head, _) = self.data.split_at(taken.head_bytes);
        let whole = fields(head).expect("the whole grammar reads it");
        assert_eq!(
            (taken.method, taken.target),
            (&whole.method, &*whole.target),
            "{}",
            shown()
        );
        same_to_a_laxer_reader(head, taken);
        same_lines(taken.fields, &whole.headers);
        same_decisions(taken.fields, &whole);
        let hosts: Vec<_> = whole.headers.get_all(header::HOST).iter().collect();
        assert_eq!(hosts, [taken.host]);
        for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
            assert!(!whole.headers.contains_key(&name), "{name} in {}", shown());
        }
        for option in whole.headers.get_all(header::CONNECTION) {
            assert!(option.as_bytes().eq_ignore_ascii_case(b"keep-alive"));
        }
        if is_looked_up(taken) {
            assert_eq!(framing(head), Some(Framing::None), "{}", shown());
        }
    }
}

/// Of what is taken the look-up leaves the rest to others.
fn is_looked_up<F>(taken: &Short<'_, F>) -> bool {
    let rules = QueryRules::default();
    let is_canonical = is_canonical_target(taken.target, &rules);
    if is_canonical {
        let canonical = canonical_target(taken.target, &rules).expect("it has a canonical form");
        assert_eq!(canonical.as_str(), taken.target);
    }
    is_canonical && canonical_authority("http", taken.host).is_ok()
}

fn same_to_a_laxer_reader<F>(head: &[u8], taken: &Short<'_, F>) {
    let mut room = [EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut room);
    assert_eq!(request.parse(head), Ok(Status::Complete(head.len())));
    assert_eq!(
        (request.method, request.path, request.version),
        (Some(taken.method.as_str()), Some(taken.target), Some(1))
    );
}

/// Names that decisions ask for, here or not.
const ASKED: [HeaderName; 16] = [
    header::HOST,
    header::VIA,
    header::RANGE,
    header::COOKIE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::PRAGMA,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::UPGRADE,
    header::EXPECT,
    header::TE,
    HeaderName::from_static("x-a"),
];

fn same_lines(short: &impl Fields, whole: &HeaderMap) {
    for name in whole.keys().chain(&ASKED) {
        let ours: Vec<_> = short.lines(name).collect();
        let theirs: Vec<_> = whole.lines(name).collect();
        assert_eq!(ours, theirs, "{name}");
        assert_eq!(short.has(name), whole.contains_key(name), "{name}");
    }
}

fn same_decisions(short: &impl Fields, whole: &grammar::Fields) {
    let method = if whole.method == Method::HEAD {
        Method::HEAD
    } else {
        Method::GET
    };
    for profile in [Profile::Safe, Profile::Rfc] {
        let rules = Rules {
            profile,
            ..Rules::default()
        };
        let route = Route::default();
        assert_eq!(
            consider(&method, short, false, &rules, &route),
            consider(&method, &whole.headers, false, &rules, &route)
        );
    }
    let spec = VarySpec::from_names(ASKED);
    assert_eq!(selecting(&spec, short), selecting(&spec, &whole.headers));
    for tag in ["\"a\"", "W/\"a\"", "\"a,b\""] {
        let mut stored = HeaderMap::new();
        stored.insert(header::ETAG, tag.parse().unwrap());
        let date = "Tue, 15 Nov 1994 12:45:26 GMT".parse().unwrap();
        stored.insert(header::LAST_MODIFIED, date);
        assert_eq!(
            not_modified(short, StatusCode::OK, &stored),
            not_modified(&whole.headers, StatusCode::OK, &stored)
        );
    }
}
