//! hyper is the oracle of our HTTP/1 codec: every input of the corpus, and generated ones, through both.

use fourmi_tests::differential::{self, Side, Split};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Pseudo-random splits of every input.
const SEEDS: std::ops::Range<u64> = 0..6;

fn corpus(kind: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(kind);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect()
}

fn splits() -> Vec<Split> {
    [Split::Whole, Split::Bytes].into_iter().chain(SEEDS.map(Split::Seeded)).collect()
}

fn replay(kind: &str, answers: bool, used: &mut BTreeMap<&'static str, usize>) {
    let files = corpus(kind);
    assert!(files.len() > 50, "the corpus of {kind} is gone");
    let mut all = Vec::new();
    for (path, input) in files {
        let Some((side, _, wire)) = differential::parse(&input, answers) else { continue };
        match differential::check(side, wire, &splits()) {
            Ok(names) => names.into_iter().for_each(|n| *used.entry(n).or_default() += 1),
            Err(difference) => all.push(format!("{}: {difference:?}", path.display())),
        }
    }
    assert!(all.is_empty(), "{} inputs:\n\n{}", all.len(), all.join("\n\n"));
}

#[test]
fn the_corpus_gives_the_same_through_both_codecs() {
    let mut used = BTreeMap::new();
    replay("request", false, &mut used);
    replay("answer", true, &mut used);
    // A rule that nothing needs is a hole that nobody sees.
    let idle: Vec<_> = differential::RULES.iter().map(|r| r.name).filter(|n| !used.contains_key(n)).collect();
    assert!(idle.is_empty(), "no input needs these rules: {idle:?}");
}

#[test]
fn the_documentation_has_every_rule() {
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fuzzing.md")).unwrap();
    let rows: Vec<_> = docs.lines().filter_map(|l| Some(l.strip_prefix("| `")?.split_once('`')?.0)).collect();
    let rules: Vec<_> = differential::RULES.iter().map(|r| r.name).collect();
    assert_eq!(rows, rules);
}

fn pick(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(str::to_owned)
}

/// Mostly the first, which is right.
fn mostly(right: &'static [&'static str], odd: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![6 => pick(right), 1 => pick(odd)]
}

fn line_end() -> impl Strategy<Value = String> {
    prop_oneof![40 => Just("\r\n".to_owned()), 1 => pick(&["\n", "\r", "\r\r\n", "\n\r\n", ""])]
}

fn header() -> impl Strategy<Value = String> {
    let line = mostly(
        &[
            "accept: */*",
            "X-Odd:  two  ",
            "cookie: a=b",
            "cookie: c",
            "x-empty:",
            "te: trailers",
            "user-agent: é",
            "x-tab:\ta",
        ],
        &[
            "x : y",
            " folded",
            "host: b",
            "connection: close",
            "connection: keep-alive, x-odd",
            "expect: 100-continue",
            "upgrade: websocket",
            "connection: upgrade",
            "content-length: 3",
            "content-length: 03",
            "content-length: +3",
            "transfer-encoding: chunked",
            "transfer-encoding: gzip",
            "Transfer-Encoding: Chunked",
            "no colon",
            ": no name",
            "x: \u{1}",
            "x: \u{7f}",
        ],
    );
    (line, line_end()).prop_map(|(l, e)| l + &e)
}

fn chunk() -> impl Strategy<Value = String> {
    let size =
        mostly(&["3", "003", "3;a=b"], &["3 ", "+3", "0x3", "", "4", "2", "3;\u{1}", "3 ;a", "00000000000000003"]);
    (size, line_end(), Just("abc"), line_end()).prop_map(|(s, a, data, b)| s + &a + data + &b)
}

/// A body with the lines that announce it.
fn body() -> impl Strategy<Value = (String, String)> {
    let last = mostly(
        &["0\r\n\r\n", "0\r\nx-t: 1\r\nX-T: 2\r\n\r\n", "000;a\r\n\r\n"],
        &["0\n\n", "0\r\n", "0\r\nx\r\n\r\n", ""],
    );
    prop_oneof![
        3 => Just((String::new(), String::new())),
        2 => Just(("content-length: 3\r\n".to_owned(), "abc".to_owned())),
        1 => pick(&["4", "2", "0", "3, 3", "", "-3", "99999999999999999999"])
            .prop_map(|n| (format!("content-length: {n}\r\n"), "abc".to_owned())),
        3 => (prop::collection::vec(chunk(), 0..4), last)
            .prop_map(|(chunks, last)| ("transfer-encoding: chunked\r\n".to_owned(), chunks.concat() + &last)),
    ]
}

fn message(first: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let headers = prop::collection::vec(header(), 0..5);
    let blank = line_end();
    (first, line_end(), mostly(&["host: a\r\n"], &["", "host: a:0\r\n", "Host: A.b:80\r\n"]), headers, body(), blank)
        .prop_map(|(first, end, host, headers, (framing, body), blank)| {
            format!("{first}{end}{host}{}{framing}{blank}{body}", headers.concat())
        })
}

/// Bytes that are shown as text.
#[derive(Clone)]
struct Wire(Vec<u8>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

fn requests() -> impl Strategy<Value = Wire> {
    let method = mostly(&["GET", "POST", "HEAD", "PUT"], &["OPTIONS", "CONNECT", "get", "G(T", ""]);
    let target = mostly(
        &["/", "/a/b?c=d", "http://b/x", "/a/../b//c", "/%41%c3"],
        &["*", "b:80", "https://b/", "/a#b", "/a b", "/%zz", "/<é>", "http://u@b/", "", "/..;/a"],
    );
    let version = mostly(&["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"], &["HTTP/2.0", "http/1.1", ""]);
    let first = (method, target, version).prop_map(|(m, t, v)| format!("{m} {t} {v}"));
    prop::collection::vec(message(first), 1..4).prop_map(|all| Wire(all.concat().into_bytes()))
}

fn answers() -> impl Strategy<Value = Wire> {
    let status = mostly(
        &["200 OK", "404 Not Found", "500"],
        &["204 No Content", "304 x", "101 x", "20 OK", "1000 x", "200\tOK"],
    );
    let version = mostly(&["HTTP/1.1", "HTTP/1.0"], &["HTTP/2", "ICY"]);
    let first = (version, status).prop_map(|(v, s)| format!("{v} {s}"));
    let before = prop_oneof![4 => Just(""), 1 => Just("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n")];
    (before, message(first)).prop_map(|(before, answer)| Wire((before.to_owned() + &answer).into_bytes()))
}

fn same_in_any_split(side: Side, wire: &[u8], seed: u64) -> Result<(), TestCaseError> {
    differential::check(side, wire, &[Split::Whole, Split::Bytes, Split::Seeded(seed)])
        .map_err(|d| TestCaseError::fail(format!("{d:?}")))?;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_split_of_requests_gives_the_same(wire in requests(), seed in any::<u64>()) {
        same_in_any_split(Side::Requests, &wire.0, seed)?;
    }

    #[test]
    fn any_split_of_an_answer_gives_the_same(wire in answers(), seed in any::<u64>(), head in any::<bool>()) {
        same_in_any_split(if head { Side::AnswerToHead } else { Side::Answer }, &wire.0, seed)?;
    }
}
