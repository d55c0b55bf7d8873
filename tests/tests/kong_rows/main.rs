//! Kong's behaviour, row by row: `tests/rows/kong/*.yaml` say which Kong file, which requests and which answers, and
//! here Fourmi is started with each file in front of real upstreams, is asked, and is judged.
//!
//! A row whose `differs` gives a reason expects our own answer instead of Kong's. `FOURMI_KONG_ROWS=90,187-189`
//! runs only those; `tests/rows/kong/README.md` explains the keys of a row.

mod ask;
mod judge;
mod load;
mod play;
mod sign;
mod table;
mod upstream;

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use table::{Case, Row};

/// How many rows there are of what Kong's own tests state; each must be there. Rows with higher numbers are what its
/// documentation says beyond.
const ROWS: u16 = 278;
/// Sidecars at once; most of them wait for a window to turn.
const AT_ONCE: usize = 6;

/// What came of a row: what is wrong with it, nothing if nothing is.
type Outcome = BTreeMap<u16, Vec<String>>;

#[test]
fn every_row_is_answered_as_kong_answers_it() {
    let rows = table::rows();
    let wanted = wanted();
    let of_file: Vec<Row> =
        rows.iter().filter(|r| wanted.as_ref().is_none_or(|w| w.contains(&r.id))).cloned().collect();
    let outcome = outcomes(of_file);
    let missing: Vec<u16> = match &wanted {
        Some(ids) => ids.iter().copied().filter(|id| !outcome.contains_key(id)).collect(),
        None => (1..=ROWS).filter(|id| !outcome.contains_key(id)).collect(),
    };
    let told = report(&rows, &outcome, &missing);
    // Past the capture of the test harness: whoever runs the tests wants to see it.
    let _ = std::io::stderr().lock().write_all(told.as_bytes());
    let failed = outcome.values().filter(|wrong| !wrong.is_empty()).count();
    assert!(missing.is_empty() && failed == 0, "{failed} rows do not hold, {} are not there", missing.len());
}

/// The rows that were asked for, if not all.
fn wanted() -> Option<Vec<u16>> {
    let text = std::env::var("FOURMI_KONG_ROWS").ok().filter(|t| !t.is_empty())?;
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |s: &str| s.trim().parse::<u16>().unwrap_or_else(|_| panic!("FOURMI_KONG_ROWS: {s:?}"));
        number(from)..=number(to)
    };
    Some(text.split(',').flat_map(range).collect())
}

/// Plays every row. Rows that share a file share a sidecar and are played in their order.
fn outcomes(rows: Vec<Row>) -> Outcome {
    let mut cases: VecDeque<Case> = table::cases(rows).into();
    // Those that may wait for a minute begin first.
    cases.make_contiguous().sort_by_key(|c| !c.rows.iter().any(Row::waits));
    let (queue, done) = (Mutex::new(cases), Mutex::new(Outcome::new()));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().pop_front() else { return };
                    for (id, wrong) in play(&case) {
                        done.lock().unwrap().entry(id).or_default().extend(wrong);
                    }
                }
            });
        }
    });
    std::panic::set_hook(hook);
    done.into_inner().unwrap()
}

fn play(case: &Case) -> Vec<(u16, Vec<String>)> {
    let guarded = |part: &dyn Fn() -> Vec<String>| match catch_unwind(AssertUnwindSafe(part)) {
        Ok(wrong) => wrong,
        Err(panic) => vec![words_of(&*panic)],
    };
    let checked = case.rows.iter().filter(|r| r.is_checked()).map(|r| (r.id, guarded(&|| load::check(case, r))));
    let mut all: Vec<(u16, Vec<String>)> = checked.collect();
    if case.rows.iter().all(|r| r.requests.is_empty()) {
        return all;
    }
    let stage = catch_unwind(AssertUnwindSafe(|| play::Stage::set(case)));
    let first = case.rows.iter().find(|r| !r.requests.is_empty()).map_or(0, |r| r.id);
    for row in case.rows.iter().filter(|r| !r.requests.is_empty()) {
        let wrong = match &stage {
            Ok(stage) => guarded(&|| stage.play(row)),
            Err(panic) if row.id == first => vec![format!("it does not start: {}", words_of(&**panic))],
            Err(_) => vec![format!("it does not start, see T{first}")],
        };
        all.push((row.id, wrong));
    }
    all
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
    let text = text.unwrap_or_else(|| "it panicked".to_owned());
    // Of a sidecar that ended, what it said, not its configuration.
    text.split_once("\"message\":").map_or(text.clone(), |(_, said)| said.replace("\\n", "\n"))
}

fn report(rows: &[Row], outcome: &Outcome, missing: &[u16]) -> String {
    let count = |beyond: bool| {
        let of = outcome.iter().filter(|(id, _)| (**id > ROWS) == beyond);
        let absent = missing.iter().filter(|id| (**id > ROWS) == beyond).count();
        (of.clone().filter(|(_, wrong)| wrong.is_empty()).count(), of.count() + absent)
    };
    let ((passed, total), (more, all)) = (count(false), count(true));
    let mut told = format!("\nKong rows: {passed} of {total} passed, and {more} of {all} beyond them\n");
    let title = |id: u16| rows.iter().find(|r| r.id == id).map_or("", |r| r.title.as_str());
    for row in rows {
        if let Some(reason) = row.differs.as_ref().filter(|_| outcome.contains_key(&row.id)) {
            told += &format!("  differs on purpose: T{} {}: {reason}\n", row.id, row.title);
        }
    }
    for id in missing {
        told += &format!("  not there: T{id}\n");
    }
    for (id, wrong) in outcome.iter().filter(|(_, wrong)| !wrong.is_empty()) {
        told += &format!("  FAILED: T{id} {}\n", title(*id));
        for line in wrong.iter().flat_map(|w| w.lines()) {
            told += &format!("      {line}\n");
        }
    }
    told
}
