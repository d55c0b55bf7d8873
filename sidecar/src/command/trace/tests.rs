//! Trace headers, as tables; the numbers are those of the rows of the telemetry reference.

use super::*;
use crate::command::testing::exchange;
use crate::command::{Rules, from_head, give};
use crate::exchange::Exchange;
use proptest::prelude::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";
const HALF: &str = "8448eb211c80319c";
const TRACE_ID: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
const SPAN_ID: u64 = 0xb7ad_6b71_6920_3331;

fn none() -> Sampler {
    Sampling { ratio: 0.0 }.sampler()
}

/// What a trusted command with these headers becomes, and what the next hop is told.
fn hop(sampler: Sampler, lines: &[(&'static str, &str)]) -> (Exchange, Headers) {
    let mut ex = exchange("GET", "/", lines);
    from_head(&Rules::default(), sampler, &mut ex);
    give(&mut ex);
    let headers = ex.request.headers.clone();
    (ex, headers)
}

fn all<'a>(headers: &'a Headers, name: &'a str) -> Vec<&'a str> {
    headers.get_all(name).map(|v| std::str::from_utf8(v).unwrap()).collect()
}

fn hexed(id: impl Into<u128>) -> String {
    format!("{:016x}", id.into())
}

#[test]
fn row_63_a_valid_traceparent_is_continued() {
    for flags in ["00", "01", "02", "03"] {
        let (ex, headers) = hop(none(), &[("traceparent", &format!("00-{TRACE}-{SPAN}-{flags}"))]);
        assert_eq!((ex.trace.trace_id, ex.trace.parent_span), (TRACE_ID, SPAN_ID));
        assert!(ex.trace.span_id != SPAN_ID && ex.trace.span_id != 0);
        assert_eq!(ex.trace.sampled(), flags.ends_with(['1', '3']), "the parent decides");
        assert_eq!(all(&headers, "traceparent"), [format!("00-{TRACE}-{}-{flags}", hexed(ex.trace.span_id))]);
        assert!(!headers.contains("b3") && !headers.contains("x-b3-traceid"));
    }
    // A later version may have more to say and more flags; what goes on is what we can speak.
    let (ex, headers) = hop(none(), &[("traceparent", &format!(" cc-{TRACE}-{SPAN}-ff-what-comes "))]);
    assert_eq!(all(&headers, "traceparent"), [format!("00-{TRACE}-{}-03", hexed(ex.trace.span_id))]);
}

#[test]
fn row_64_an_invalid_traceparent_begins_a_trace() {
    for bad in [
        String::new(),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-1"),
        format!("00-{TRACE}-{SPAN}-01-x"),
        format!("01-{TRACE}-{SPAN}-01x"),
        format!("00_{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!("00-{TRACE}-{SPAN}-0A"),
    ] {
        // Nor does a valid b3 make up for it.
        let lines = [("traceparent", bad.as_str()), ("tracestate", "a=b"), ("b3", &format!("{TRACE}-{SPAN}-0"))];
        let (ex, headers) = hop(Sampler::ALL, &lines);
        assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        assert!(ex.trace.trace_id != TRACE_ID && ex.trace.trace_id != 0, "{bad}");
        assert_eq!((ex.trace.parent_span, ex.trace.sampled()), (0, true), "{bad}");
        assert!(!headers.contains("tracestate"), "{bad}");
    }
}

#[test]
fn row_65_two_traceparents_begin_a_trace() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    let (ex, headers) = hop(
        Sampler::ALL,
        &[("traceparent", &good), ("traceparent", &good), ("tracestate", "a=b"), ("x-b3-sampled", "0")],
    );
    assert_ne!(ex.trace.trace_id, TRACE_ID);
    assert_eq!((ex.trace.parent_span, ex.trace.sampled()), (0, true));
    assert_eq!((all(&headers, "traceparent").len(), headers.contains("tracestate")), (1, false));
}

#[test]
fn row_66_tracestate_has_at_most_32_members() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let passed = |lines: &[&str]| {
        let state = lines.iter().map(|l| ("tracestate", *l));
        let all_lines: Vec<_> = [("traceparent", parent.as_str())].into_iter().chain(state).collect();
        all(&hop(Sampler::ALL, &all_lines).1, "tracestate").join("|")
    };
    let members = |n: usize| (1..=n).map(|i| format!("v{i}=x")).collect::<Vec<_>>().join(",");
    for unchanged in
        ["a=1", " a=1 , b=2,,", "not a state", &members(32), &format!("{}=1,b={}", "k".repeat(256), "v".repeat(256))]
    {
        assert_eq!(passed(&[unchanged]), unchanged);
    }
    assert_eq!(passed(&[&members(33)]), members(32));
    assert_eq!(passed(&["a=1", "", "b=2 ,c=3"]), "a=1,b=2,c=3", "several lines are one list");
    assert_eq!(passed(&[&members(32), "last=1"]), members(32));

    let (_, headers) = hop(Sampler::ALL, &[("tracestate", "a=b"), ("b3", &format!("{TRACE}-{SPAN}-1"))]);
    assert!(!headers.contains("tracestate"), "it belongs to a traceparent");
}

#[test]
fn row_67_baggage_loses_whole_members_from_its_end() {
    let passed = |lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|l| ("baggage", *l)).collect();
        let (ex, headers) = hop(Sampler::ALL, &lines);
        (all(&headers, "baggage").join("|"), ex.baggage_dropped)
    };
    let members =
        |n: usize, value: usize| (0..n).map(|i| format!("k{i:02}={}", "v".repeat(value))).collect::<Vec<_>>().join(",");
    assert_eq!(passed(&[]), (String::new(), 0));
    assert_eq!(passed(&["a=1;p=2 , b=2", "c=3"]), ("a=1;p=2 , b=2|c=3".to_owned(), 0), "untouched");
    // 64 members of 127 bytes and 63 commas are 8191 bytes.
    let most = members(64, 123);
    assert_eq!(passed(&[&most]), (most.clone(), 0));
    assert_eq!(passed(&[&format!("{most}v")]), (format!("{most}v"), 0), "exactly 8192");
    assert_eq!(passed(&[&format!("{most}vv")]), (members(63, 123), 1));
    assert_eq!(passed(&[&most, "z=1"]), (most.clone(), 1));
    assert_eq!(passed(&[&members(70, 1)]), (members(64, 1), 6));
    let huge = "x".repeat(8192);
    assert_eq!(passed(&[&format!("a=1,b={huge},c=3")]), ("a=1".to_owned(), 2), "what follows goes too");
    assert_eq!(passed(&[&format!("b={huge}"), "c=3"]), (String::new(), 2));
}

#[test]
fn row_68_b3_in_one_line() {
    let full = format!("{TRACE}-{SPAN}");
    let half = format!("{HALF}-{SPAN}");
    let parent = "00f067aa0ba902b7";
    // What came; who decides when it says nothing; whether sampled; what goes out instead of our span and after it.
    for (came, sampler, sampled, ids, decision) in [
        (format!("{full}-1"), none(), true, TRACE, "1"),
        (format!("{full}-0"), Sampler::ALL, false, TRACE, "0"),
        (format!("{full}-d"), none(), true, TRACE, "d"),
        (format!("{full}-1-{parent}"), none(), true, TRACE, "1"),
        (full.clone(), Sampler::ALL, true, TRACE, "1"),
        (full.clone(), none(), false, TRACE, "0"),
        (format!("{full}-{parent}"), none(), false, TRACE, "0"),
        (format!("{half}-1"), none(), true, HALF, "1"),
    ] {
        let (ex, headers) = hop(sampler, &[("b3", &came)]);
        let span = hexed(ex.trace.span_id);
        assert_eq!((ex.trace.parent_span, ex.trace.sampled()), (SPAN_ID, sampled), "{came}");
        assert_eq!(all(&headers, "b3"), [format!("{ids}-{span}-{decision}-{SPAN}")], "{came}");
        let flag = u8::from(sampled);
        assert_eq!(all(&headers, "traceparent"), [format!("00-{ids:0>32}-{span}-0{flag}")], "{came}");
        assert!(!headers.contains("x-b3-traceid") && !headers.contains("x-b3-sampled"), "{came}");
    }
    // A decision alone.
    let (ex, headers) = hop(Sampler::ALL, &[("b3", "0")]);
    assert_eq!((ex.trace.parent_span, ex.trace.flags), (0, 0));
    assert_eq!((all(&headers, "b3"), headers.get("traceparent").unwrap().ends_with("-00")), (vec!["0"], true));
    for decision in ["1", "d"] {
        let (ex, headers) = hop(none(), &[("b3", decision)]);
        let ids = format!("{:032x}-{}", ex.trace.trace_id, hexed(ex.trace.span_id));
        assert_eq!((ex.trace.parent_span, ex.trace.flags), (0, 1));
        assert_eq!(all(&headers, "b3"), [format!("{ids}-{decision}")]);
    }
    // What is malformed begins a trace, which the next hop is told instead.
    for bad in [
        String::new(),
        "2".to_owned(),
        format!("{}-1", full.to_uppercase()),
        format!("{}-{SPAN}-1", "0".repeat(32)),
        format!("{TRACE}-{}-1", "0".repeat(16)),
        format!("{TRACE}0-{SPAN}-1"),
        format!("{full}-x"),
        format!("{full}-1-{SPAN}-1"),
        format!("{full}-1-00"),
        format!("{full}-"),
    ] {
        let (ex, headers) = hop(Sampler::ALL, &[("b3", &bad)]);
        assert_eq!((ex.trace.parent_span, ex.trace.sampled()), (0, true), "{bad}");
        assert_eq!(all(&headers, "b3"), [format!("{:032x}-{}-1", ex.trace.trace_id, hexed(ex.trace.span_id))], "{bad}");
    }
    let (ex, headers) = hop(none(), &[("b3", &format!("{full}-1")), ("b3", &format!("{half}-1"))]);
    assert_eq!((ex.trace.parent_span, all(&headers, "b3")), (0, vec!["0"]), "two are none");
}

#[test]
fn row_68_b3_in_many_lines() {
    let (trace, span) = (("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN));
    let older = ("x-b3-parentspanid", "00f067aa0ba902b7");
    for (decision, sampler, sampled, sent, flags) in [
        (Some(("x-b3-sampled", "1")), none(), true, Some("1"), None),
        (Some(("x-b3-sampled", "True")), none(), true, Some("1"), None),
        (Some(("x-b3-sampled", "0")), Sampler::ALL, false, Some("0"), None),
        (Some(("x-b3-sampled", "false")), Sampler::ALL, false, Some("0"), None),
        (Some(("x-b3-flags", "1")), none(), true, None, Some("1")),
        (Some(("x-b3-flags", "0")), none(), false, Some("0"), None),
        (None, Sampler::ALL, true, Some("1"), None),
    ] {
        let lines: Vec<_> = [trace, span, older].into_iter().chain(decision).collect();
        let (ex, headers) = hop(sampler, &lines);
        assert_eq!((ex.trace.trace_id, ex.trace.parent_span), (TRACE_ID, SPAN_ID), "{decision:?}");
        assert_eq!(ex.trace.sampled(), sampled, "{decision:?}");
        assert_eq!(all(&headers, "x-b3-traceid"), [TRACE]);
        assert_eq!(all(&headers, "x-b3-spanid"), [hexed(ex.trace.span_id)]);
        assert_eq!(all(&headers, "x-b3-parentspanid"), [SPAN]);
        assert_eq!((headers.get("x-b3-sampled"), headers.get("x-b3-flags")), (sent, flags), "{decision:?}");
        assert!(!headers.contains("b3"));
    }
    let (ex, headers) = hop(Sampler::ALL, &[("x-b3-sampled", "0"), older]);
    assert_eq!((ex.trace.parent_span, ex.trace.flags), (0, 0));
    assert_eq!(headers.iter().filter(|(n, _)| n.starts_with("x-b3-")).count(), 1, "no ids");
    assert_eq!(headers.get("x-b3-sampled"), Some("0"));

    for bad in [
        &[trace][..],
        &[span],
        &[("x-b3-traceid", "12"), span],
        &[trace, span, ("x-b3-sampled", "yes")],
        &[trace, trace, span],
        &[trace, span, ("x-b3-sampled", "0"), ("x-b3-sampled", "0")],
    ] {
        let (ex, headers) = hop(Sampler::ALL, bad);
        assert_eq!((ex.trace.parent_span, ex.trace.sampled()), (0, true), "{bad:?}");
        assert_eq!(all(&headers, "x-b3-traceid"), [format!("{:032x}", ex.trace.trace_id)], "{bad:?}");
    }
    // The one line is read first; what is told is told in both forms.
    let (ex, headers) =
        hop(none(), &[trace, ("x-b3-spanid", "00f067aa0ba902b7"), ("b3", &format!("{TRACE}-{SPAN}-d"))]);
    assert_eq!(ex.trace.parent_span, SPAN_ID);
    assert_eq!((headers.get("x-b3-flags"), headers.get("x-b3-parentspanid")), (Some("1"), Some(SPAN)));
    assert_eq!(all(&headers, "b3"), [format!("{TRACE}-{}-d-{SPAN}", hexed(ex.trace.span_id))]);
}

#[test]
fn traceparent_is_read_before_b3_which_is_told_too() {
    let other = format!("{}-00f067aa0ba902b7-d", "1".repeat(32));
    for flags in ["00", "01"] {
        let parent = format!("00-{TRACE}-{SPAN}-{flags}");
        let (ex, headers) = hop(Sampler::ALL, &[("b3", &other), ("traceparent", &parent), ("tracestate", "a=b")]);
        let decision = if flags == "01" { "d" } else { "0" };
        assert_eq!((ex.trace.trace_id, ex.trace.parent_span), (TRACE_ID, SPAN_ID));
        assert_eq!(all(&headers, "b3"), [format!("{TRACE}-{}-{decision}-{SPAN}", hexed(ex.trace.span_id))]);
        assert_eq!(headers.get("tracestate"), Some("a=b"));
    }
}

#[test]
fn strangers_begin_a_trace_and_their_b3_goes() {
    let lines = [
        ("b3", format!("{TRACE}-{SPAN}-d")),
        ("x-b3-traceid", TRACE.to_owned()),
        ("x-b3-flags", "1".to_owned()),
        ("x-b3-anything", "1".to_owned()),
        ("baggage", "a=1".to_owned()),
    ];
    let lines: Vec<_> = lines.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let mut ex = exchange("GET", "/", &lines);
    ex.trusted = false;
    from_head(&Rules::default(), none(), &mut ex);
    assert!(ex.trace.trace_id != TRACE_ID && ex.trace.parent_span == 0 && !ex.trace.sampled());
    give(&mut ex);
    let headers = ex.request.headers.clone();
    assert!(!headers.iter().any(|(n, _)| n == "b3" || n.starts_with("x-b3-")));
    assert_eq!(headers.get("baggage"), Some("a=1"), "the applications' own");
}

#[test]
fn a_share_of_the_traces_by_their_ids() {
    let takes = |ratio: f64, id: u128| Sampling { ratio }.sampler().takes(id);
    for id in [0, 1, TRACE_ID, u128::MAX, u128::from(u64::MAX), 1 << 64] {
        assert!(takes(1.0, id) && takes(7.0, id) && Sampling::default().sampler() == Sampler::ALL);
        assert!(!takes(0.0, id) && !takes(-1.0, id) && !takes(f64::NAN, id));
    }
    // The threshold lies at ratio times 2^63 of the lower half without its last bit; the upper half is not asked.
    for (ratio, below) in
        [(0.5, 0x7fff_ffff_ffff_ffff_u128), (0.25, 0x3fff_ffff_ffff_ffff), (0.75, 0xbfff_ffff_ffff_ffff)]
    {
        for upper in [0, u128::from(u64::MAX) << 64] {
            assert!(takes(ratio, upper | below) && !takes(ratio, upper | (below + 1)), "{ratio}");
        }
    }
    let begun = (0..20_000).filter(|_| begin(Sampling { ratio: 0.1 }.sampler()).sampled()).count();
    assert!((1_000..3_500).contains(&begun), "{begun} of 20,000 at 0.1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_in_a_header_breaks_it(value in "[ -~]{0,80}", b3 in "[0-9a-fd-]{0,70}", many in "[a-c=, ]{0,300}") {
        parse(value.as_bytes());
        let lines = [("b3", b3.as_str()), ("x-b3-traceid", &value), ("x-b3-spanid", &b3), ("tracestate", &many), ("baggage", &many)];
        let (ex, headers) = hop(Sampler::ALL, &lines);
        prop_assert!(ex.trace.trace_id != 0 && ex.trace.span_id != 0);
        let told = b3::read(&headers);
        // A caller that says no more than "not sampled" is passed on as that, without ids.
        prop_assume!(b3 != "0");
        prop_assert_eq!(told.ids, Some((ex.trace.trace_id, ex.trace.span_id)));
    }
}
