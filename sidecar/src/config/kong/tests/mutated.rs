use super::*;
use proptest::prelude::*;

/// Pieces that mean something to this reader.
const PIECES: &[&str] = &[
    "null",
    "[]",
    "{}",
    "- ",
    ": ",
    "~/(",
    "*",
    "*.a",
    "[::1]:1",
    "{vault://",
    "{vault://env/A}",
    "${{ env \"DECK_A\" }}",
    "${{",
    "}}",
    "id: x",
    "<<: *metrics",
    "&metrics",
    "-1",
    "65536",
    "1e400",
    "true",
    "\"",
    "'",
    "\u{0}",
    "\u{e9}",
    "services",
    "consumer: ",
    "url: http://[",
    "url: ://",
    "%",
    "%2",
    "/../..",
    "~",
    "!!str",
    "\t",
    "hash_on: cookie",
    "plugins:",
    "_config: a",
    "targets:",
    "5.0",
    "00000000-0000-0000-0000-000000000000",
];

fn tried(text: &str) {
    let env = [("A".to_owned(), "\u{e9}[".to_owned()), ("DECK_A".to_owned(), "}}".to_owned())];
    match check("kong.yaml", text, &env) {
        Ok(file) => drop(file.summary()),
        Err(report) => {
            assert!(!report.problems.is_empty());
            report.render(true);
            assert!(report.problems.iter().all(|p| p.message.len() < 4_000), "{report}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_file_makes_it_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..30, 0..PIECES.len()), 1..6),
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, cut, piece) in changes {
            let at = at.index(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        tried(&text.into_iter().collect::<String>());
    }

    #[test]
    fn no_value_makes_it_panic(line in 0usize..200, piece in 0..PIECES.len(), other in 0..PIECES.len()) {
        let text: Vec<String> = EXAMPLE
            .lines()
            .enumerate()
            .map(|(i, l)| match l.split_once(": ") {
                Some((key, _)) if i == line => format!("{key}: {}{}", PIECES[piece], PIECES[other]),
                _ => l.to_owned(),
            })
            .collect();
        tried(&text.join("\n"));
    }
}

/// Work grows with the file, not with the square of its mistakes: with that, this test would not end.
#[test]
fn a_file_of_mistakes_is_read_to_its_end() {
    let mut text = "_format_version: '3.0'\nconsumers:\n".to_owned();
    (0..30_000).for_each(|i| text.push_str(&format!("- {{username: u{}, custom_id: c}}\n", i / 2)));
    text.push_str("routes:\n");
    (0..30_000).for_each(|i| text.push_str(&format!("- {{name: r{i}, service: nobody{i}, paths: [/]}}\n")));
    let report = check("kong.yaml", &text, &[]).expect_err("it is full of mistakes");
    assert_eq!(report.problems.len(), 200);
}
