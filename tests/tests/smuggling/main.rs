//! Ambiguous and malicious messages, with nginx, HAProxy and Envoy before Fourmi and behind it. What one hop
//! understands as one message, no other hop understands as two; and no answer reaches a request that is not its own.
//!
//! `cargo test --test smuggling -- --nocapture` prints what each chain made of each row.

mod answers;
mod chain;
mod requests;
mod strict;

use chain::{Caller, Chain, Heard, Place, marker};
use fourmi_tests::{Worker, eventually};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use strict::{Side, Strict, take};

/// Whether a status refuses a request that cannot be understood.
fn refuses(status: u16) -> bool {
    (400..500).contains(&status) || status == 501 || status == 505
}

/// The requests that a worker could read, and why it could not read others.
type Seen = Vec<Result<Strict, String>>;

/// A worker that takes only what is canonical, tells each request its target, and keeps what it saw.
fn recorder() -> (Worker, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let all = seen.clone();
    let worker = Worker::scripted(move |mut conn| {
        let mut bytes = Vec::new();
        loop {
            match take(&mut bytes, Side::Request, false) {
                Ok(Some(request)) => {
                    let (target, head) = (request.word(1).to_owned(), request.word(0) == "HEAD");
                    all.lock().unwrap().push(Ok(request));
                    let body = if head { "" } else { &target };
                    if !conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", target.len())) {
                        return;
                    }
                }
                Ok(None) => match conn.wire.some() {
                    Ok(more) if !more.is_empty() => bytes.extend(more),
                    _ => return,
                },
                Err(why) => {
                    all.lock().unwrap().push(Err(format!("{why} in {}", bytes.escape_ascii())));
                    return;
                }
            }
        }
    });
    (worker, seen)
}

/// What a chain made of a row, and what is wrong with it.
struct Cell {
    text: String,
    faults: Vec<String>,
}

/// The statuses that came, for people.
fn statuses(heard: &Heard) -> String {
    let mut all: Vec<String> = heard.answers.iter().map(|a| a.status().to_string()).collect();
    if heard.odd.is_some() {
        all.push("odd".into());
    }
    if heard.partial {
        all.push(if heard.closed { "cut" } else { "..." }.into());
    }
    if all.is_empty() { if heard.closed { "end" } else { "-" }.into() } else { all.join("+") }
}

/// Runs every row through a chain, and asks afterwards what arrived where.
fn run_requests(place: Place) -> Vec<Cell> {
    let (worker, seen) = recorder();
    let chain = Chain::of(place, &worker);
    let heard: Vec<(Heard, Heard)> = (0..requests::ROWS.len())
        .map(|n| {
            let row = &requests::ROWS[n];
            // Another proxy may wait for the rest of what it takes for half a message.
            let answers = if row.want == requests::Want::Two { 2 } else { usize::from(place.fourmi_is_first()) };
            let attack = Caller::on(chain.port()).ask(&row.bytes(n), answers);
            let victim = format!("GET /victim-{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            (attack, Caller::on(chain.port()).ask(victim.as_bytes(), 1))
        })
        .collect();
    let last = format!("victim-{}", requests::ROWS.len() - 1);
    let records = eventually("the last record", || {
        let records = chain.records.records();
        records.iter().any(|r| r["_path"].as_str().is_some_and(|p| marker(p) == last)).then_some(records)
    });
    let seen: Seen = seen.lock().unwrap().clone();
    let cell = |(n, (attack, victim)): (usize, &(Heard, Heard))| {
        let row = &requests::ROWS[n];
        let mut faults = Vec::new();
        let [case, smuggled] = ["case", "smuggled"].map(|kind| format!("{kind}-{n}"));
        let arrived = |what: &str| seen.iter().flatten().filter(|r| marker(r.word(1)) == what).count();
        let (one, two) = (arrived(&case), arrived(&smuggled));
        for odd in seen.iter().filter_map(|r| r.as_ref().err()).filter(|e| e.contains(&format!("-{n} "))) {
            faults.push(format!("not canonical at the worker: {odd}"));
        }
        for request in seen.iter().flatten().filter(|r| [&case, &smuggled].contains(&&marker(r.word(1)))) {
            // Who made two of one has not marked the second.
            if !request.all("via").iter().any(|v| v.contains("fourmi")) {
                faults.push(format!("Fourmi did not send {:?}", request.first));
            }
            let fronts: Vec<String> = request.all("x-front").into_iter().map(marker).collect();
            if place != Place::Alone && fronts != [marker(request.word(1))] {
                faults.push(format!("the other proxy did not send {:?}: {fronts:?}", request.first));
            }
            if request.all("upgrade").iter().any(|u| u.eq_ignore_ascii_case("h2c")) {
                faults.push("the upgrade to h2c was passed on".into());
            }
            let frames = |(name, _): &&(String, String)| {
                ["content-length", "transfer-encoding", "host"].contains(&name.to_ascii_lowercase().as_str())
            };
            if request.trailers.iter().any(|t| frames(&t)) {
                faults.push(format!("framing in trailers: {:?}", request.trailers));
            }
        }
        for record in records.iter().filter(|r| r["_path"].as_str().is_some_and(|p| marker(p) == smuggled)) {
            let told = record["_header_x-front"].as_str().map(marker);
            let honest = row.want == requests::Want::Two;
            if !honest && (place.fourmi_is_first() || told.as_ref() != Some(&smuggled)) {
                faults.push(format!("recorded as a command: {record}"));
            }
        }
        if place.fourmi_is_first() {
            faults.extend(attack.odd.iter().map(|why| format!("the answer is not canonical: {why}")));
            let got: Vec<u16> = attack.answers.iter().map(Strict::status).collect();
            let refused = matches!(got[..], [status] if refuses(status)) && (one, two) == (0, 0);
            let served = got.len() == 1 && (one, two) == (1, 0);
            let fine = match row.want {
                requests::Want::Refused => refused,
                // A proxy behind Fourmi may refuse what Fourmi takes.
                requests::Want::One => served || (place != Place::Alone && refused),
                requests::Want::Either => served || refused,
                requests::Want::Two => got == [200, 200] && (one, two) == (1, 1),
            };
            if !fine || attack.partial {
                faults.push(format!("wanted {:?}", row.want));
            }
        }
        if !matches!(&victim.answers[..], [a] if a.status() == 200 && a.body == format!("/victim-{n}").as_bytes()) {
            faults.push(format!("the next caller got {victim:?}"));
        }
        let bad = if faults.is_empty() { "" } else { "!" };
        Cell { text: format!("{} ({}){bad}", statuses(attack), one + two), faults }
    };
    heard.iter().enumerate().map(cell).collect()
}

/// A worker that answers `/evil-N` with row N, and everything else honestly.
fn hostile() -> Worker {
    Worker::scripted(|mut conn| {
        while let Some(request) = conn.request() {
            let marker = marker(request.target());
            let evil = marker.strip_prefix("evil-").and_then(|n| n.parse::<usize>().ok());
            match evil.and_then(|n| answers::ROWS.get(n)) {
                Some(row) => {
                    for (n, part) in row.bytes().into_iter().enumerate() {
                        std::thread::sleep(Duration::from_millis(40 * n.min(1) as u64));
                        conn.send(part);
                    }
                }
                None => drop(conn.ok(request.target())),
            }
        }
    })
}

fn run_answers(place: Place) -> Vec<Cell> {
    let worker = hostile();
    let chain = Chain::of(place, &worker);
    let cell = |(n, row): (usize, &answers::Row)| {
        let mut faults = Vec::new();
        let mut caller = Caller::on(chain.port());
        let request = format!("{} /evil-{n} HTTP/1.1\r\nHost: a\r\n\r\n", row.method);
        // Another proxy may take the worker's silence for a part of the answer.
        let evil = caller.ask(request.as_bytes(), usize::from(place == Place::Alone));
        let mut own = |caller: &mut Caller, which: &str, may_be_lost: bool| {
            let target = format!("/own-{n}-{which}");
            let request = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
            let heard = caller.ask(request.as_bytes(), 1);
            let fine = match &heard.answers[..] {
                [answer] => answer.body == target.as_bytes() || (answer.status() >= 500 && place != Place::Alone),
                [] => may_be_lost,
                _ => false,
            };
            if !fine || heard.odd.is_some() || heard.partial {
                faults.push(format!("{target} got {heard:?}"));
            }
        };
        own(&mut Caller::on(chain.port()), "other", false);
        if !evil.closed && !evil.partial {
            own(&mut caller, "same", true);
        }
        own(&mut Caller::on(chain.port()), "later", false);
        let got: Vec<u16> = evil.answers.iter().map(Strict::status).collect();
        // Whoever reads on after the answer would take the rest for the next one.
        if got.len() + usize::from(evil.partial) > 1 || evil.odd.is_some() {
            faults.push(format!("one request, and {evil:?}"));
        }
        if place == Place::Alone {
            let fine = match row.want {
                answers::Want::Bad => got == [502],
                answers::Want::Is(status) => got == [status],
                answers::Want::BadOr(status) => got == [502] || got == [status],
                answers::Want::Cut => got == [502] || (got.is_empty() && evil.closed),
            };
            if !fine {
                faults.push(format!("wanted {:?}, got {evil:?}", row.want));
            }
        }
        let bad = if faults.is_empty() { "" } else { "!" };
        Cell { text: format!("{}{bad}", statuses(&evil)), faults }
    };
    answers::ROWS.iter().enumerate().map(cell).collect()
}

/// Runs a battery through every chain at once, prints the table, and fails with all that is wrong.
fn battery(title: &str, names: &[&str], run: impl Fn(Place) -> Vec<Cell> + Sync) {
    let places = Place::all();
    let columns: Vec<Vec<Cell>> = std::thread::scope(|scope| {
        let running: Vec<_> = places.iter().map(|place| scope.spawn(|| run(*place))).collect();
        running.into_iter().map(|chain| chain.join().expect("a chain failed")).collect()
    });
    let mut faults = Vec::new();
    let rows: Vec<(String, Vec<String>)> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            for (place, column) in places.iter().zip(&columns) {
                faults.extend(column[n].faults.iter().map(|f| format!("{n} {name}, {}: {f}", place.name())));
            }
            (format!("{n:>3} {name}"), columns.iter().map(|column| column[n].text.clone()).collect())
        })
        .collect();
    chain::print(title, &places.iter().map(|p| p.name()).collect::<Vec<_>>(), &rows);
    assert!(faults.is_empty(), "{} faults in {} rows:\n{}", faults.len(), names.len(), faults.join("\n"));
}

#[test]
fn no_message_is_understood_as_two() {
    let names: Vec<&str> = requests::ROWS.iter().map(|r| r.name).collect();
    battery("the caller's statuses (requests at the worker)", &names, run_requests);
}

#[test]
fn no_answer_reaches_another_request() {
    let names: Vec<&str> = answers::ROWS.iter().map(|r| r.name).collect();
    battery("the caller's statuses", &names, run_answers);
}

#[test]
fn the_reader_of_the_battery_takes_nothing_but_the_canonical_form() {
    let fine = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\nX: y\r\n\r\nGET ";
    let mut bytes = fine.to_vec();
    let whole = take(&mut bytes, Side::Request, false).unwrap().unwrap();
    assert_eq!((whole.body.as_slice(), bytes.as_slice()), (&b"hi"[..], &b"GET "[..]));
    for row in requests::ROWS.iter().filter(|r| r.want == requests::Want::Refused) {
        let mut bytes = row.bytes(1);
        // Nothing, or the marker alone: what a strict reader makes of it is never what the row hides.
        while let Ok(Some(request)) = take(&mut bytes, Side::Request, false) {
            assert!(!marker(request.word(1)).starts_with("smuggled"), "{}: {request:?}", row.name);
        }
    }
}
