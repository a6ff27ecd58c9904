//! Whose trace goes on, what goes upstream, and what the log says.

use super::*;
use http::HeaderMap;
use proptest::prelude::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn fields(lines: &[(HeaderName, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| (name.clone(), value.parse().unwrap()))
        .collect()
}

/// 1, 2, 3, ...
fn counting() -> impl FnMut() -> u64 {
    let mut last = 0;
    move || {
        last += 1;
        last
    }
}

fn sent(mode: TraceMode, lines: &[(HeaderName, &str)]) -> Sent {
    Sent::new(mode, &fields(lines), counting()).unwrap()
}

#[test]
fn a_well_formed_traceparent_is_read_and_no_other() {
    let rows = [
        (format!("00-{TRACE}-{PARENT}-01"), Some(1)),
        (format!("00-{TRACE}-{PARENT}-00"), Some(0)),
        (format!(" \t00-{TRACE}-{PARENT}-01\t "), Some(1)),
        // Level 2's flag goes on; what nobody has given a meaning to doesn't.
        (format!("00-{TRACE}-{PARENT}-03"), Some(3)),
        (format!("00-{TRACE}-{PARENT}-ff"), Some(3)),
        (format!("01-{TRACE}-{PARENT}-ff"), Some(1)),
        (format!("cc-{TRACE}-{PARENT}-01"), Some(1)),
        (format!("fe-{TRACE}-{PARENT}-00-"), Some(0)),
        (format!("cc-{TRACE}-{PARENT}-01-what-comes-then"), Some(1)),
        (format!("cc-{TRACE}-{PARENT}-01.what-never-comes"), None),
        (format!("cc-{TRACE}-{PARENT}-0101"), None),
        (format!("00-{TRACE}-{PARENT}-01-more"), None),
        (format!("00-{TRACE}-{PARENT}-01-"), None),
        (format!("ff-{TRACE}-{PARENT}-01"), None),
        (format!("ff-{TRACE}-{PARENT}-01-more"), None),
        (format!("00-{}-{PARENT}-01", "0".repeat(32)), None),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
        (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), None),
        (format!("00-{TRACE}-{}-01", PARENT.to_uppercase()), None),
        (format!("0A-{TRACE}-{PARENT}-01"), None),
        (format!("00-{TRACE}-{PARENT}-0A"), None),
        (format!("00-{TRACE}-{PARENT}-g1"), None),
        (format!("00-{TRACE}-{PARENT}-1"), None),
        (format!("00-{TRACE}-{PARENT}"), None),
        (format!("0-{TRACE}0-{PARENT}-01"), None),
        (format!("00{TRACE}-{PARENT}-01--"), None),
        (format!("00-{PARENT}-{TRACE}-01"), None),
        (format!("00_{TRACE}_{PARENT}_01"), None),
        (
            format!("00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01"),
            None,
        ),
        (String::new(), None),
        ("-".repeat(55), None),
        ("nonsense".to_owned(), None),
    ];
    for (text, flags) in rows {
        let span = Span::parse(text.as_bytes());
        let expected = flags.map(|flags| format!("00-{TRACE}-{PARENT}-{flags:02x}"));
        assert_eq!(span.map(|span| span.to_string()), expected, "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(trace_id in 1u128.., span_id in 1u64.., flags in 0u8..4) {
        let span = Span {
            trace_id: trace_id.try_into().unwrap(),
            span_id: span_id.try_into().unwrap(),
            flags,
        };
        let text = span.to_string();
        prop_assert_eq!(text.len(), TRACEPARENT_BYTES);
        prop_assert_eq!(Span::parse(text.as_bytes()), Some(span));
    }

    #[test]
    fn what_is_read_can_be_written_again_whatever_comes(value in "[0-9a-fA-F -]{50,60}|\\PC{0,60}") {
        if let Some(span) = Span::parse(value.as_bytes()) {
            prop_assert_eq!(Span::parse(span.to_string().as_bytes()), Some(span));
        }
    }

    #[test]
    fn one_wrong_byte_of_version_00_is_seen(at in 0usize..55, byte: u8) {
        let text = format!("00-{TRACE}-{PARENT}-01");
        let mut changed = text.into_bytes();
        changed[at] = byte;
        let is_dash = [2, 35, 52].contains(&at);
        let fits = match is_dash {
            true => byte == b'-',
            false => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        // A digit of the version may make it another one, of which as much is known.
        prop_assert_eq!(Span::parse(&changed).is_some(), fits);
    }

    #[test]
    fn whatever_a_client_sends_what_goes_upstream_is_well_formed(
        parents in proptest::collection::vec("[ -~]{0,60}", 0..3),
        ids in proptest::collection::vec("[ -~]{0,140}", 0..3),
    ) {
        let parents = parents.iter().map(|value| (TRACEPARENT, value.as_str()));
        let lines: Vec<_> = parents.chain(ids.iter().map(|id| (REQUEST_ID, id.as_str()))).collect();
        let sent = sent(TraceMode::Continue, &lines);
        prop_assert!(Span::parse(sent.traceparent.as_bytes()).is_some());
        let id = sent.request_id.as_bytes();
        prop_assert!((1..=REQUEST_ID_BYTES_MAX).contains(&id.len()));
        prop_assert!(id.iter().all(u8::is_ascii_graphic));
    }
}

#[test]
fn a_client_s_trace_goes_on_with_a_span_of_our_own() {
    let text = format!("00-{TRACE}-{PARENT}-00");
    let sent = sent(TraceMode::Continue, &[(TRACEPARENT, &text)]);
    assert_eq!(sent.traceparent, format!("00-{TRACE}-{:016x}-00", 1));
    assert!(sent.keeps_state);
    let told = sent.told();
    let shown = |id: Option<Hex<NonZeroU64>>| id.map(|id| id.to_string());
    assert_eq!(
        told.trace_id.map(|id| id.to_string()).as_deref(),
        Some(TRACE)
    );
    assert_eq!(shown(told.span_id), Some(format!("{:016x}", 1)));
    assert_eq!(shown(told.parent_id).as_deref(), Some(PARENT));
    assert_eq!(told.request_id, Some(&*format!("{:016x}", 1)));
}

#[test]
fn a_new_trace_begins_without_one_with_a_bad_one_and_with_two() {
    let good = format!("00-{TRACE}-{PARENT}-00");
    let lines: [&[(HeaderName, &str)]; 4] = [
        &[],
        &[(TRACEPARENT, "nonsense")],
        &[(TRACEPARENT, &good), (TRACEPARENT, &good)],
        &[(TRACESTATE, "a=b")],
    ];
    for lines in lines {
        let sent = sent(TraceMode::Continue, lines);
        assert_eq!(
            sent.traceparent,
            format!("00-{:016x}{:016x}-{:016x}-01", 1, 2, 3)
        );
        assert!(!sent.keeps_state, "{lines:?}");
        assert_eq!(sent.told().parent_id, None);
    }
}

#[test]
fn chance_that_gives_nothing_but_zeros_still_gives_identifiers() {
    let sent = Sent::new(TraceMode::Continue, &HeaderMap::new(), || 0).unwrap();
    assert!(Span::parse(sent.traceparent.as_bytes()).is_some());
}

#[test]
fn a_client_s_request_id_goes_on_unless_it_could_do_harm() {
    let long = "a".repeat(REQUEST_ID_BYTES_MAX);
    let longer = format!("{long}a");
    for (given, is_taken) in [
        ("7f3c-11.a_b:c/+=@", true),
        (long.as_str(), true),
        (longer.as_str(), false),
        ("", false),
        ("a b", false),
        ("a\tb", false),
    ] {
        let lines = [(REQUEST_ID, given)];
        let sent = sent(TraceMode::Continue, &lines);
        assert_eq!(sent.request_id == given, is_taken, "{given:?}");
        let told = fields(&lines);
        let told = Told::by_client(TraceMode::Continue, &told).request_id;
        assert_eq!(told == Some(given), is_taken, "{given:?}");
    }
    let twice = [(REQUEST_ID, "a"), (REQUEST_ID, "b")];
    assert_eq!(sent(TraceMode::Continue, &twice).request_id.len(), 16);
    let mut foreign = HeaderMap::new();
    foreign.insert(REQUEST_ID, HeaderValue::from_bytes(b"\xc3\xa4").unwrap());
    assert_eq!(request_id(&foreign), None);
}

#[test]
fn clients_that_are_not_believed_neither_lead_nor_name_anything() {
    let text = format!("00-{TRACE}-{PARENT}-01");
    let lines = [(TRACEPARENT, text.as_str()), (REQUEST_ID, "mine")];
    let client = fields(&lines);
    let sent = sent(TraceMode::Restart, &lines);
    assert!(!sent.traceparent.to_str().unwrap().contains(TRACE));
    assert!(!sent.keeps_state && sent.request_id != "mine");
    assert_eq!(sent.told().parent_id, None);
    let none = Told::default();
    assert_eq!(Told::by_client(TraceMode::Restart, &client), none);
    assert_eq!(Told::by_client(TraceMode::Off, &client), none);
    assert!(Sent::new(TraceMode::Off, &client, counting()).is_none());
}

#[test]
fn identifiers_are_made_once_and_only_for_what_goes_upstream() {
    let text = format!("00-{TRACE}-{PARENT}-01");
    let client = fields(&[(TRACEPARENT, &text), (REQUEST_ID, "mine")]);
    let trace = Trace::new(TraceMode::Continue);
    let before = trace.told(&client);
    assert_eq!((before.request_id, before.span_id), (Some("mine"), None));
    let first = trace.sent(&client).unwrap().traceparent.clone();
    assert_eq!(trace.sent(&client).unwrap().traceparent, first);
    let after = trace.told(&client);
    assert_eq!(after.trace_id, before.trace_id);
    assert!(
        first
            .to_str()
            .unwrap()
            .contains(&after.span_id.unwrap().to_string())
    );

    let nothing = HeaderMap::new();
    let hit = Trace::new(TraceMode::Continue);
    assert_eq!(hit.told(&nothing), Told::default());
    let off = Trace::new(TraceMode::Off);
    assert!(off.sent(&client).is_none());
    assert_eq!(off.told(&client), Told::default());
}
