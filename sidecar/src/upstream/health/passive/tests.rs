use super::*;
use crate::upstream::health::State;
use std::sync::Arc;

const START: u64 = 1_000_000;

/// An instance among others, at a time that only the test moves.
struct Desk {
    one: Arc<Standing>,
    floor: Arc<Floor>,
    passive: Passive,
    now: u64,
}

impl Desk {
    fn new(passive: Passive, others: usize) -> Desk {
        let one = Standing::new(false);
        one.set_reached(true);
        let others = (0..others).map(|_| Standing::new(false));
        let floor = Floor::new([one.clone()].into_iter().chain(others).collect());
        Desk { one, floor, passive, now: START }
    }

    fn report(&self, report: Report) -> Change {
        self.one.report_when(&self.passive, report, &self.floor, || self.now)
    }

    /// `s` 200, `n` 404, `f` 500, `g` 503, `t` timeout, `4` 504, `c` failed connection, `r` nothing learnt, `a` let in,
    /// `x` not let in, `+N` seconds pass. Then the state's word and, while ejected, the seconds left.
    fn play(&mut self, script: &str) -> String {
        for step in script.split_whitespace() {
            if let Some(seconds) = step.strip_prefix('+') {
                self.now += seconds.parse::<u64>().unwrap() * 1000;
                continue;
            }
            for letter in step.chars() {
                let report = match letter {
                    's' => Report::Status(200),
                    'n' => Report::Status(404),
                    'f' => Report::Status(500),
                    'g' => Report::Status(503),
                    '4' => Report::Status(504),
                    't' => Report::Timeout,
                    'c' => Report::TcpFailure,
                    'r' => Report::Nothing,
                    'a' | 'x' => {
                        assert_eq!(self.one.usable_at(self.now), letter == 'a', "{script} at {letter}");
                        assert_eq!(self.one.admit_at(self.now).is_some(), letter == 'a', "{script} at {letter}");
                        continue;
                    }
                    _ => panic!("{letter}"),
                };
                self.report(report);
            }
        }
        let shown = self.one.shown_at(self.now);
        let left = shown.ejected_for.map(|d| format!(" {}", d.as_secs_f64())).unwrap_or_default();
        format!("{}{left}", shown.state.as_str())
    }
}

fn kong(http_failures: u8, tcp_failures: u8, timeouts: u8, successes: u8) -> Passive {
    let mut passive = Passive::kong();
    let limits = &mut passive.limits;
    (limits.http_failures, limits.tcp_failures, limits.timeouts) = (http_failures, tcp_failures, timeouts);
    limits.successes = successes;
    passive
}

#[test]
fn reports_in_a_row_eject_and_bring_back() {
    let ours = Passive::default();
    for (passive, script, state) in [
        // Nothing counts by Kong's defaults.
        (Passive::kong(), "ffffffffcccccccctttttttt", "healthy"),
        // Each kind has its counter; a success clears them all.
        (kong(3, 2, 2, 0), "ff", "healthy"),
        (kong(3, 2, 2, 0), "fff", "ejected 10"),
        (kong(3, 2, 2, 0), "ffct", "healthy"),
        (kong(3, 2, 2, 0), "ffctt", "ejected 10"),
        (kong(3, 2, 2, 0), "ffs ffs ffs", "healthy"),
        (kong(3, 2, 2, 5), "ffs fcts cts ff", "healthy"),
        (kong(3, 2, 2, 0), "fft sfc sffc", "healthy"),
        // A status in neither list neither counts nor clears.
        (kong(3, 2, 2, 0), "ff n n n", "healthy"),
        (kong(3, 2, 2, 0), "ff n r f", "ejected 10"),
        // A 504 is a timeout, in no list.
        (kong(1, 0, 0, 0), "4444", "healthy"),
        (kong(0, 0, 2, 0), "4t", "ejected 10"),
        (kong(1, 0, 0, 0), "cccttt", "healthy"),
        // Stragglers prove nothing.
        (kong(1, 1, 1, 1), "f ssss", "ejected 10"),
        (kong(1, 1, 1, 1), "f ffff +4 cc", "ejected 6"),
        // One command at a time, as many successes as asked.
        (kong(1, 1, 1, 0), "f x +9 x +1 a x s", "healthy"),
        (kong(1, 1, 1, 0), "f +10", "half-open"),
        (kong(1, 1, 1, 0), "f +10 a x", "half-open"),
        (kong(1, 1, 1, 3), "f +10 as a x", "half-open"),
        (kong(1, 1, 1, 3), "f +10 as as", "half-open"),
        (kong(1, 1, 1, 3), "f +10 as as as aaa", "healthy"),
        // One that proves nothing makes way for the next; so does one that never ends.
        (kong(1, 1, 1, 1), "f +10 an ar ax +9 x +1 a", "half-open"),
        (kong(1, 0, 1, 1), "f +10 ac a s", "healthy"),
        // Failures make it longer, up to the most.
        (kong(1, 1, 1, 1), "f +10 af", "ejected 20"),
        (kong(1, 1, 1, 1), "f +10 af +20 at +30 ac", "ejected 40"),
        (kong(1, 1, 1, 1), "f +10 af +20 as f", "ejected 30"),
        // A failure on the way back costs the successes too.
        (kong(1, 1, 1, 2), "f +10 as af +20 as", "half-open"),
        // Calm shortens it again, a minute for each; the ejection itself is no calm.
        (kong(1, 1, 1, 1), "f +10 af +20 as +59 f", "ejected 30"),
        (kong(1, 1, 1, 1), "f +10 af +20 as +60 f", "ejected 20"),
        (kong(1, 1, 1, 1), "f +10 af +20 as +999 f", "ejected 10"),
        (kong(1, 1, 1, 1), "f +10 af +999 af", "ejected 30"),
        // Ours.
        (ours, "ffffffff gggggggg", "healthy"),
        (ours, "cccc tt", "healthy"),
        (ours, "ccccc", "ejected 10"),
        (ours, "cccc f c", "healthy"),
        (ours, "tt4", "ejected 10"),
        (ours, "ttt +10 ag an a", "healthy"),
    ] {
        let mut desk = Desk::new(passive, 3);
        assert_eq!(desk.play(script), state, "{script}");
    }
}

#[test]
fn the_longest_ejection_is_the_most() {
    let mut desk = Desk::new(kong(1, 1, 1, 1), 3);
    assert_eq!(desk.play("f"), "ejected 10");
    for _ in 0..300 {
        desk.play("+300 af");
    }
    assert_eq!(desk.play(""), "ejected 300");
    let shown = desk.one.shown_at(desk.now);
    assert_eq!((shown.ejections, shown.ejected_total), (255, 301));
    assert_eq!(shown.last_failure.as_deref(), Some("status 500"));
    // However often, calm ends it.
    assert_eq!(desk.play("+300 as +20000 f"), "ejected 10");
}

#[test]
fn what_is_told_of_changes() {
    let mut desk = Desk::new(kong(2, 1, 1, 1), 3);
    assert_eq!(desk.report(Report::Status(500)), Change::None);
    assert_eq!(desk.one.shown_at(desk.now).passive.http_failures, 1);
    assert_eq!(desk.report(Report::Status(500)), Change::Ejected(Duration::from_secs(10)));
    let shown = desk.one.shown_at(desk.now);
    assert_eq!(shown.last_failure.as_deref(), Some("status 500, 2 in a row"));
    assert_eq!((shown.usable_for, shown.passive), (None, Default::default()));
    assert!(desk.one.next_try().is_some());
    assert_eq!(desk.report(Report::Status(200)), Change::None);
    desk.now += 10_000;
    assert!(desk.one.admit_at(desk.now).is_some());
    desk.now += 500;
    assert_eq!(desk.report(Report::Timeout), Change::Ejected(Duration::from_secs(20)));
    assert_eq!(desk.one.shown_at(desk.now).last_failure.as_deref(), Some("a timeout"));
    desk.now += 20_000;
    assert!(desk.one.admit_at(desk.now).is_some());
    assert_eq!(desk.report(Report::Status(204)), Change::Back);
    // A slow start counts from here.
    desk.now += 3_000;
    let shown = desk.one.shown_at(desk.now);
    assert_eq!(shown.usable_for, Some(Duration::from_secs(3)));
    assert_eq!((shown.state, shown.ejections, shown.ejected_total), (State::Healthy, 2, 2));
    assert_eq!(desk.one.next_try(), None);
}

#[test]
fn the_last_ones_stay() {
    for (instances, share, gone) in [
        (1, 0.5, 0),
        (1, 1.0, 0),
        (2, 0.5, 1),
        (2, 1.0, 1),
        (3, 0.5, 1),
        (3, 1.0, 2),
        (4, 0.5, 2),
        (10, 0.1, 1),
        (10, 0.3, 3),
        (4, 0.01, 1),
        (4, 0.0, 0),
    ] {
        let all: Vec<_> = (0..instances).map(|_| Standing::new(false)).collect();
        let floor = Floor::new(all.clone());
        let mut passive = kong(2, 2, 2, 1);
        passive.ejection.share = share;
        let mut changes = Vec::new();
        for one in &all {
            assert_eq!(one.report_when(&passive, Report::TcpFailure, &floor, || START), Change::None);
            changes.push(one.report_when(&passive, Report::TcpFailure, &floor, || START));
        }
        let ejected = changes.iter().filter(|c| matches!(c, Change::Ejected(_))).count();
        let spared = changes.iter().filter(|c| **c == Change::Spared).count();
        assert_eq!((ejected, spared), (gone, instances - gone), "{share} of {instances}");
        assert_eq!(floor.spared(), spared as u64);
        let open = all.iter().filter(|s| s.usable_at(START)).count();
        assert_eq!(open, instances - gone);
        // Who was spared has to fail as often again.
        if let Some(last) = all.last() {
            assert_eq!(last.report_when(&passive, Report::TcpFailure, &floor, || START), Change::None);
        }
    }
}

#[test]
fn the_floor_knows_who_is_out_for_other_reasons() {
    let all: Vec<_> = (0..4).map(|_| Standing::new(false)).collect();
    let floor = Floor::new(all.clone());
    let passive = kong(1, 1, 1, 1);
    all[1].force(Some(false));
    all[2].force(Some(false));
    all[3].force(Some(false));
    let fail = |i: usize| all[i].report_when(&passive, Report::TcpFailure, &floor, || START);
    assert_eq!(fail(0), Change::Spared);
    all[1].force(None);
    assert!(matches!(fail(0), Change::Ejected(_)));
    assert_eq!(fail(1), Change::Spared);
    // The service shrinks and grows; nothing was counted along.
    floor.set(vec![all[1].clone()]);
    assert_eq!(fail(1), Change::Spared);
    floor.set(vec![all[1].clone(), Standing::new(false)]);
    assert!(matches!(fail(1), Change::Ejected(_)));
    // Somebody who is of no service stays.
    let stranger = Standing::new(false);
    assert_eq!(stranger.report_when(&passive, Report::TcpFailure, &Floor::default(), || START), Change::Spared);
}

#[test]
fn by_hand_comes_first() {
    let mut desk = Desk::new(kong(1, 1, 1, 1), 3);
    desk.one.force(Some(false));
    assert_eq!(desk.play("x sss"), "forced-down");
    desk.one.force(Some(true));
    assert_eq!(desk.play("aaa ffff cccc a"), "forced-up");
    desk.one.force(None);
    assert_eq!(desk.play("f x"), "ejected 10");
    // Over an ejection too, which goes on below.
    desk.one.force(Some(true));
    assert_eq!(desk.play("aaa f s a"), "forced-up 10");
    desk.one.force(Some(false));
    assert_eq!(desk.play("+10 x"), "forced-down");
    desk.one.force(None);
    assert_eq!(desk.play("ax"), "half-open");
    // Healthy as of now, and nothing remembered.
    desk.one.heal();
    assert_eq!(desk.play("aa"), "healthy");
    assert_eq!(desk.one.shown_at(desk.now).ejections, 0);
    assert_eq!(desk.play("f"), "ejected 10");
}

#[test]
fn a_gate_opens_once() {
    let one = Standing::new(true);
    assert!(!one.usable() && one.admit().is_none());
    assert_eq!(one.state(), State::Unknown);
    one.force(Some(true));
    assert!(one.usable() && one.admit().is_some());
    one.force(None);
    assert!(!one.usable());
    one.heal();
    assert!(one.usable());
    assert_eq!(one.state(), State::Unknown);
    one.set_reached(true);
    assert_eq!(one.state(), State::Healthy);
}

/// Threads that fail together eject once, and of those that come when the time is over one is let in.
#[test]
fn who_leaves_without_a_proof_leaves_it_to_the_next() {
    let mut desk = Desk::new(kong(1, 1, 1, 1), 3);
    assert!(matches!(desk.report(Report::TcpFailure), Change::Ejected(_)));
    desk.now += 10_000;
    let trial = desk.one.admit_at(desk.now).unwrap();
    assert_eq!(desk.one.admit_at(desk.now), None);
    desk.now += 5;
    desk.one.give_up_at(trial, desk.now);
    let next = desk.one.admit_at(desk.now).unwrap();
    // The first one takes nothing from the second, nor from a proof.
    desk.one.give_up_at(trial, desk.now);
    assert_eq!(desk.one.admit_at(desk.now), None);
    assert_eq!(desk.report(Report::Status(200)), Change::Back);
    desk.one.give_up_at(next, desk.now);
    assert_eq!(desk.one.state_at(desk.now), State::Healthy);
}

#[test]
fn threads_agree() {
    let passive =
        Passive { ejection: Ejection { base: Duration::from_millis(1), ..Ejection::default() }, ..kong(1, 1, 1, 1) };
    for _ in 0..200 {
        let desk = Desk::new(passive, 3);
        let together = |what: &(dyn Fn() -> bool + Sync)| {
            let barrier = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let run = || {
                    barrier.wait();
                    what()
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
                threads.into_iter().filter_map(|t| t.join().ok()).filter(|yes| *yes).count()
            })
        };
        let fail =
            || matches!(desk.one.report_when(&passive, Report::Timeout, &desk.floor, || START), Change::Ejected(_));
        assert_eq!(together(&fail), 1);
        assert_eq!(together(&|| desk.one.admit_at(START).is_some()), 0);
        assert_eq!(together(&|| desk.one.admit_at(START + 1).is_some()), 1);
        assert_eq!(desk.one.shown_at(START).ejected_total, 1);
    }
}
