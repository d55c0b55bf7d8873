use super::*;
use crate::exchange::{Exchange, Outcome};
use crate::sink::prometheus;
use crate::sink::record::tests::{identity, sample};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

const IDLE: Duration = Duration::from_millis(40);

fn tagged(value: &str) -> Exchange {
    let mut x = sample(&identity(&[]));
    x.command.tags = vec![("shop".into(), value.into())];
    x
}

fn worker(registry: &Arc<Registry>) -> WorkerSeries {
    WorkerSeries::new(registry.clone(), registry.labels(&["shop".to_owned()]), [Sampling { sink: 1, most: 4 }].into())
}

/// The series of [`tagged`].
fn key(registry: &Registry, value: &str) -> SeriesKey {
    let x = tagged(value);
    SeriesKey {
        service: x.service.clone(),
        command: x.command.name.clone(),
        route: x.route.clone(),
        direction: x.direction,
        protocol: x.protocol,
        labels: registry.labels(&["shop".to_owned()]),
        values: [value.into()].into(),
    }
}

fn shown(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus::write(&mut text, registry, &BTreeMap::new(), 0.0);
    text
}

#[test]
fn row_54_series_are_bounded_and_the_sum_is_kept() {
    let registry = Arc::new(Registry::default());
    let mut workers: Vec<_> = (0..2).map(|_| worker(&registry)).collect();
    for n in 0..10_000 {
        workers[n % 2].record(&tagged(&format!("u{}", n % 5000)));
    }
    let all = registry.snapshot(None);
    assert_eq!(all.len(), 2001);
    assert_eq!(all.iter().map(|s| s.totals.count()).sum::<u64>(), 10_000);
    let other: Vec<_> = all.iter().filter(|s| s.key.labels().any(|(_, v)| v == "_other")).collect();
    assert_eq!((other.len(), other[0].totals.count()), (1, 6000));

    let registry = Arc::new(Registry::default());
    let mut worker = worker(&registry);
    let mut x = sample(&identity(&[]));
    for n in 0..20_000 {
        x.command.name = format!("Name{n}").into();
        worker.record(&x);
    }
    let all = registry.snapshot(None);
    assert!(all.len() <= 202, "{}", all.len());
    assert_eq!(all.iter().map(|s| s.totals.count()).sum::<u64>(), 20_000);
}

#[test]
fn row_55_a_series_that_rests_is_forgotten_everywhere_and_comes_back_at_zero() {
    let registry = Arc::new(Registry::new(IDLE));
    let mut worker = worker(&registry);
    registry.add_reader(1);
    registry.add_reader(2);
    let mut pay = tagged("7");
    let mut refund = tagged("7");
    refund.command.name = "Refund".into();
    for _ in 0..3 {
        worker.record(&pay);
    }
    worker.record(&refund);
    let first = registry.snapshot(Some(1));
    assert_eq!(first.len(), 2);
    sleep(2 * IDLE);
    assert_eq!(registry.snapshot(Some(1)).len(), 2, "the second sink was not told yet");
    worker.record(&refund);
    registry.snapshot(Some(2));
    let rest = registry.snapshot(Some(1));
    assert_eq!(rest.iter().map(|s| &*s.key.command).collect::<Vec<_>>(), ["Refund"]);
    let text = shown(&registry);
    assert!(!text.contains("command=\"CreateOrder\"") && text.contains("command=\"Refund\""), "{text}");
    assert!(text.contains("fourmi_tag_total{tag=\"shop\",value=\"7\"} 5\n"), "a counter does not go back: {text}");
    assert_eq!(worker.met(), 2);
    worker.record(&refund);
    assert_eq!(worker.met(), 1, "the worker has let go of its cells");

    worker.record(&pay);
    let back = registry.snapshot(Some(1));
    let back = back.iter().find(|s| &*s.key.command == "CreateOrder").unwrap();
    assert_eq!(back.totals.count(), 1);
    assert!(first.iter().all(|s| s.id != back.id), "what was told of the old one is not told of this one");
    // The last of a tag takes the tag along.
    registry.snapshot(Some(2));
    sleep(2 * IDLE);
    registry.snapshot(Some(2));
    registry.remove_reader(1);
    assert!(registry.snapshot(Some(2)).is_empty() && registry.forgotten_tags().is_empty());
    assert!(!shown(&registry).contains("shop"));
    pay.command.name = "Again".into();
    worker.record(&pay);
    assert!(shown(&registry).contains("fourmi_tag_total{tag=\"shop\",value=\"7\"} 1\n"));
}

#[test]
fn forgotten_series_make_room_for_others() {
    let registry = Arc::new(Registry::new(IDLE));
    let mut worker = worker(&registry);
    for n in 0..9000 {
        worker.record(&tagged(&format!("a{n}")));
    }
    // Nobody reads; a worker that asks for room makes the registry look. The first look learns what does not move.
    let key = key(&registry, "c");
    let give_up = Instant::now() + Duration::from_secs(20);
    while registry.admit(&key) != key {
        assert!(Instant::now() < give_up);
        sleep(IDLE);
    }
    worker.record(&tagged("c"));
    assert!(registry.snapshot(None).iter().any(|s| s.key == key && s.totals.count() == 1));
}

#[test]
fn nothing_is_lost_between_a_worker_that_counts_and_a_registry_that_forgets() {
    const ROUNDS: usize = 400;
    let registry = Arc::new(Registry::new(Duration::from_micros(200)));
    registry.add_reader(1);
    let counting = {
        let mut worker = worker(&registry);
        std::thread::spawn(move || {
            let all: Vec<_> = (0..7).map(|n| tagged(&format!("{n}"))).collect();
            for round in 0..ROUNDS {
                for x in all.iter().take(1 + round % 7) {
                    (0..10).for_each(|_| worker.record(x));
                }
                sleep(Duration::from_micros(50 * (round as u64 % 20)));
            }
        })
    };
    let (mut told, mut sum) = (HashMap::<u64, u64>::new(), 0);
    let mut ids = 0;
    loop {
        let ended = counting.is_finished();
        let mut now = HashMap::new();
        for s in registry.snapshot(Some(1)) {
            let before = told.get(&s.id).copied().unwrap_or(0);
            sum += s.totals.count().checked_sub(before).unwrap();
            ids = ids.max(s.id);
            now.insert(s.id, s.totals.count());
        }
        told = now;
        if ended && told.is_empty() {
            break;
        }
    }
    counting.join().unwrap();
    // What was counted late begins its series again.
    for s in registry.snapshot(Some(1)) {
        sum += s.totals.count();
    }
    assert_eq!(sum, (0..ROUNDS).map(|round| 10 * (1 + round as u64 % 7)).sum::<u64>());
    assert!(ids > 7, "series were forgotten while they were counted: {ids}");
}

#[test]
fn what_is_counted_in_closed_cells_begins_the_series_again() {
    let registry = Registry::new(IDLE);
    let x = tagged("7");
    let cells = registry.attach(&key(&registry, "7"), &[]);
    cells.record(&x);
    assert_eq!(registry.snapshot(None)[0].totals.count(), 1);
    sleep(2 * IDLE);
    assert!(registry.snapshot(None).is_empty());
    cells.record(&x);
    assert!(registry.snapshot(None).is_empty(), "a worker may still count there");
    drop(cells);
    let back = registry.snapshot(None);
    assert_eq!((back.len(), back[0].totals.count()), (1, 1));
    assert_eq!(back[0].totals.outcomes[Outcome::ALL.iter().position(|o| *o == Outcome::Success).unwrap()], 1);
    assert_eq!(back[0].totals.durations[0].count(), 1);
}

#[test]
fn labels_of_one_name_are_counted_and_the_first_stays() {
    let registry = Registry::default();
    let labels = registry.labels(&["a b".to_owned(), "a_b".to_owned(), "shop".to_owned(), "shop".to_owned()]);
    assert_eq!(labels.iter().map(|l| (&*l.tag, &*l.name)).collect::<Vec<_>>(), [("a b", "a_b"), ("shop", "shop")]);
    assert!(shown(&registry).contains("fourmi_label_collisions_total 1\n"));
}
