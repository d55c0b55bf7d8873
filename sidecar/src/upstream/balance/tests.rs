use super::*;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

mod keys;
mod order;

/// An instance whose figures a test sets.
#[derive(Debug, Clone)]
struct Fake {
    name: String,
    weight: u32,
    rank: u32,
    near: bool,
    ramp: f64,
    up: Cell<bool>,
    in_flight: Cell<u32>,
    cost: Cell<Option<f64>>,
}

impl Peer for Fake {
    fn name(&self) -> &str {
        &self.name
    }
    fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }
    fn cost(&self, _now: Instant) -> Option<f64> {
        self.cost.get()
    }
    fn weight(&self) -> u32 {
        self.weight
    }
    fn ramp(&self, _now: Instant) -> f64 {
        self.ramp
    }
    fn rank(&self) -> u32 {
        self.rank
    }
    fn near(&self) -> bool {
        self.near
    }
}

type Fakes = Vec<Rc<Fake>>;

fn fakes(weights: &[u32]) -> Fakes {
    changed(weights, |_, _| {})
}

fn changed(weights: &[u32], change: impl Fn(usize, &mut Fake)) -> Fakes {
    let fake = |(i, weight): (usize, &u32)| {
        let mut fake = Fake {
            name: format!("10.0.{}.{}:8080", i / 250, i % 250),
            weight: *weight,
            rank: 0,
            near: true,
            ramp: 1.0,
            up: Cell::new(true),
            in_flight: Cell::new(0),
            cost: Cell::new(Some(0.010)),
        };
        change(i, &mut fake);
        Rc::new(fake)
    };
    weights.iter().enumerate().map(fake).collect()
}

fn balancer(algorithm: Algorithm, peers: &Fakes) -> Balancer {
    Balancer::with(algorithm, SLOTS, 7, peers)
}

fn up(peer: &Rc<Fake>) -> bool {
    peer.up.get()
}

fn pick(balancer: &Balancer, peers: &Fakes) -> Option<usize> {
    balancer.pick(peers, up, None, Instant::now())
}

/// How often each is picked.
fn counts(balancer: &Balancer, peers: &Fakes, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; peers.len()];
    (0..picks).for_each(|_| counts[pick(balancer, peers).unwrap()] += 1);
    counts
}

/// Five standard deviations of that many draws with this chance.
fn about(count: usize, picks: usize, chance: f64) {
    let expected = picks as f64 * chance;
    let bound = 5.0 * (expected * (1.0 - chance)).sqrt() + 1.0;
    let away = (count as f64 - expected).abs();
    assert!(away <= bound, "{count} of {picks}, expected {expected:.0} ± {bound:.0}");
}

#[test]
fn algorithms_have_the_names_of_kong() {
    let names = ["round-robin", "least-connections", "latency", "consistent-hashing"];
    assert_eq!(Algorithm::ALL.map(|a| a.to_string()), names);
    for name in names {
        assert_eq!(name.parse::<Algorithm>().unwrap().as_str(), name);
    }
    assert!("Round-Robin".parse::<Algorithm>().is_err());
}

#[test]
fn round_robin_follows_the_weights_and_spreads_them() {
    let peers = fakes(&[50, 30, 20, 0]);
    let b = balancer(Algorithm::RoundRobin, &peers);
    assert_eq!(counts(&b, &peers, 1000), [500, 300, 200, 0]);
    let row: Vec<usize> = (0..100).map(|_| pick(&b, &peers).unwrap()).collect();
    assert!(row.windows(3).all(|w| w[0] != w[1] || w[1] != w[2]), "never three times in a row: {row:?}");
    // Those that are left share the turns of the one that is not usable.
    peers[0].up.set(false);
    assert_eq!(counts(&b, &peers, 500), [0, 300, 200, 0]);

    let equal = fakes(&[100; 7]);
    let b = balancer(Algorithm::RoundRobin, &equal);
    let row: Vec<usize> = (0..70).map(|_| pick(&b, &equal).unwrap()).collect();
    for window in row.windows(7) {
        let mut seen = window.to_vec();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn threads_begin_with_different_instances() {
    let peers = fakes(&[100; 8]);
    let first = |seed| pick(&Balancer::with(Algorithm::RoundRobin, SLOTS, seed, &peers), &peers).unwrap();
    let firsts = (0..800).fold([0; 8], |mut all, seed| {
        all[first(seed)] += 1;
        all
    });
    firsts.iter().for_each(|n| about(*n, 800, 1.0 / 8.0));
}

#[test]
fn a_wheel_is_bounded_and_nobody_falls_off() {
    let mut weights = vec![1, 65_535];
    weights.extend((0..50).map(|i| 60_000 + i));
    let peers = fakes(&weights);
    for (slots, expected) in [(SLOTS, SLOTS), (10, 52), (usize::MAX, SLOTS_MAX)] {
        let b = Balancer::with(Algorithm::RoundRobin, slots, 1, &peers);
        let wheel = b.ranks()[0].near.prepared_len();
        assert!(wheel.abs_diff(expected) <= 52, "{wheel} slots");
        let counts = counts(&b, &peers, wheel);
        assert_eq!(counts[0], 1, "the lightest has one slot");
        let usual = expected / 51;
        assert!(counts[1..].iter().all(|n| n.abs_diff(usual) <= 1 + usual / 10), "{counts:?}");
    }
}

#[test]
fn a_long_way_to_the_next_usable_one_keeps_the_weights() {
    let mut weights = vec![100; 997];
    weights.extend([100, 200, 300]);
    let peers = changed(&weights, |i, f| f.up.set(i >= 997));
    let b = balancer(Algorithm::RoundRobin, &peers);
    let counts = counts(&b, &peers, 6000);
    for (i, share) in [(997, 1.0), (998, 2.0), (999, 3.0)] {
        about(counts[i], 6000, share / 6.0);
    }
}

#[test]
fn a_starting_instance_gets_its_part() {
    let peers = changed(&[100, 100, 100], |i, f| f.ramp = if i == 0 { 0.25 } else { 1.0 });
    let b = balancer(Algorithm::RoundRobin, &peers);
    about(counts(&b, &peers, 9000)[0], 9000, 0.25 / 2.25);
    // When all of them start, they are equals.
    let peers = changed(&[100, 100], |_, f| f.ramp = 0.1);
    about(counts(&balancer(Algorithm::RoundRobin, &peers), &peers, 1000)[0], 1000, 0.5);
    // A fifth of the weight: a fifth of the commands in flight.
    let peers = changed(&[100, 100], |i, f| f.ramp = if i == 0 { 0.2 } else { 1.0 });
    let b = balancer(Algorithm::LeastConnections, &peers);
    for _ in 0..120 {
        let chosen = &peers[pick(&b, &peers).unwrap()];
        chosen.in_flight.set(chosen.in_flight.get() + 1);
    }
    assert!((19..=21).contains(&peers[0].in_flight.get()), "{peers:?}");
}

#[test]
fn least_connections_fills_by_weight() {
    let peers = fakes(&[100, 200, 300]);
    let b = balancer(Algorithm::LeastConnections, &peers);
    for _ in 0..600 {
        let chosen = &peers[pick(&b, &peers).unwrap()];
        chosen.in_flight.set(chosen.in_flight.get() + 1);
    }
    let held: Vec<u32> = peers.iter().map(|p| p.in_flight.get()).collect();
    assert_eq!(held, [100, 200, 300]);
    peers[1].in_flight.set(3);
    assert_eq!(pick(&b, &peers), Some(1));
}

#[test]
fn least_connections_goes_round_among_equals() {
    let peers = changed(&[100; 5], |i, f| f.up.set(i != 1));
    let b = balancer(Algorithm::LeastConnections, &peers);
    // The one after a hole has no more turns than the others.
    assert_eq!(counts(&b, &peers, 400), [100, 0, 100, 100, 100]);
    peers[3].in_flight.set(1);
    assert_eq!(counts(&b, &peers, 300), [100, 0, 100, 0, 100]);
}

#[test]
fn of_two_drawn_ones_the_better_is_chosen_whatever_its_place() {
    let peers = fakes(&[100; 10]);
    let b = balancer(Algorithm::Latency, &peers);
    counts(&b, &peers, 20_000).iter().for_each(|n| about(*n, 20_000, 0.1));
    // The slow one loses against every other.
    peers[4].cost.set(Some(1.0));
    let all = counts(&b, &peers, 9000);
    assert_eq!(all[4], 0);
    all.iter().enumerate().filter(|(i, _)| *i != 4).for_each(|(_, n)| about(*n, 9000, 1.0 / 9.0));
    // Until the others hold so many that it would be done first, and are no longer so much faster.
    for peer in peers.iter().enumerate().filter(|(i, _)| *i != 4).map(|(_, p)| p) {
        peer.in_flight.set(4);
        peer.cost.set(Some(0.3));
    }
    about(counts(&b, &peers, 9000)[4], 9000, 0.2);
}

#[test]
fn few_usable_ones_are_all_looked_at() {
    let peers = changed(&[100; 50], |i, f| f.up.set([3, 20, 44].contains(&i)));
    let b = balancer(Algorithm::Latency, &peers);
    let three = counts(&b, &peers, 9000);
    for i in [3, 20, 44] {
        about(three[i], 9000, 1.0 / 3.0);
    }
    peers[20].cost.set(Some(0.020));
    let two_quick = counts(&b, &peers, 9000);
    assert_eq!(two_quick[20], 0);
    peers[3].up.set(false);
    assert_eq!(counts(&b, &peers, 500)[44], 500, "the better of two, always");
    peers[44].up.set(false);
    assert_eq!(counts(&b, &peers, 500)[20], 500);
    peers[20].up.set(false);
    assert_eq!(pick(&b, &peers), None);
}

#[test]
fn an_unknown_instance_is_tried_once_and_not_flooded() {
    let peers = changed(&[100; 2], |i, f| f.cost.set((i == 0).then_some(0.010)));
    let b = balancer(Algorithm::Latency, &peers);
    assert_eq!(pick(&b, &peers), Some(1));
    peers[1].in_flight.set(1);
    assert_eq!(pick(&b, &peers), Some(0), "as long as it has not answered");
    peers[0].in_flight.set(250);
    assert_eq!(pick(&b, &peers), Some(1), "unless the other has too much to do");
    // All unknown: the fewest in flight. Neither nonsense nor nothing wins everything.
    for cost in [None, Some(0.0), Some(f64::NAN), Some(f64::INFINITY)] {
        peers.iter().for_each(|p| p.cost.set(cost));
        assert_eq!(pick(&b, &peers), Some(1), "{cost:?}");
    }
}

#[test]
fn the_estimate_jumps_to_a_peak_and_forgets_it_slowly() {
    let ewma = Ewma::new();
    let t = Instant::now();
    let at = |seconds| t + Duration::from_secs_f64(seconds);
    let near = |got: Option<f64>, want: f64| assert!((got.unwrap() - want).abs() < 1e-6, "{got:?} for {want}");
    assert_eq!(ewma.get(t), None);
    ewma.observe(Duration::from_millis(10), t);
    near(ewma.get(t), 0.010);
    ewma.observe(Duration::from_millis(500), at(1.0));
    near(ewma.get(at(1.0)), 0.500);
    // One fast answer does not wash it away; the time constant is 10 s.
    ewma.observe(Duration::from_millis(10), at(2.0));
    let kept = (-0.1f64).exp();
    let average = 0.5 * kept + 0.010 * (1.0 - kept);
    near(ewma.get(at(2.0)), average);
    near(ewma.get(at(12.0)), average / std::f64::consts::E);
    // Clocks read in another order: it counts as one of now.
    ewma.observe(Duration::from_millis(10), t);
    let average = average * 63.0 / 64.0 + 0.010 / 64.0;
    near(ewma.get(at(2.0)), average);
    near(ewma.get(t), average);
    ewma.observe(Duration::ZERO, at(1000.0));
    assert!(ewma.get(at(1000.0)).unwrap() < 1e-6);
}

#[test]
fn many_answers_outweigh_a_moment_and_a_few_do_not() {
    let (ewma, t) = (Ewma::new(), Instant::now());
    let fast = |n: u32| {
        (0..n).for_each(|_| {
            let _ = ewma.observe(Duration::from_millis(10), t);
        })
    };
    ewma.observe(Duration::from_millis(500), t);
    fast(20);
    assert!(ewma.get(t).unwrap() > 0.3);
    fast(400);
    assert!(ewma.get(t).unwrap() < 0.015);
    // Who is slow once in fifty answers is not fast.
    for _ in 0..10 {
        ewma.observe(Duration::from_millis(500), t);
        fast(49);
        assert!(ewma.get(t).unwrap() > 0.2);
    }
}

#[test]
fn a_sluggish_one_waits_until_the_other_is_slow_itself() {
    let peers = fakes(&[100, 100]);
    let b = balancer(Algorithm::Latency, &peers);
    for (cost, held, other, picked) in [
        (0.020, 50, 0.200, 0),
        (0.020, 1000, 0.200, 0),
        // It has as many as it can take, and its latency says so.
        (0.060, 50, 0.200, 1),
        // Not so much slower: commands in flight count.
        (0.020, 1, 0.050, 0),
        (0.020, 3, 0.050, 1),
        // What is that fast is not told apart by peaks.
        (0.0002, 50, 0.004, 1),
    ] {
        peers[0].cost.set(Some(cost));
        peers[0].in_flight.set(held);
        peers[1].cost.set(Some(other));
        for _ in 0..20 {
            assert_eq!(pick(&b, &peers), Some(picked), "{cost} with {held} beside {other}");
        }
    }
}

#[test]
fn slow_start_rises_in_a_straight_line() {
    let slow = SlowStart { window: Duration::from_secs(10) };
    let t = Instant::now();
    for (seconds, factor) in [(0, 0.1), (5, 0.55), (10, 1.0), (100, 1.0)] {
        let got = slow.factor(t, t + Duration::from_secs(seconds));
        assert!((got - factor).abs() < 1e-9, "{seconds}: {got}");
    }
    assert_eq!(slow.factor(t + Duration::from_secs(5), t), 0.1);
    assert_eq!(SlowStart::default().factor(t, t), 1.0);
}

/// The owner of each of many keys, by name.
fn owners(peers: &Fakes, keys: u64) -> BTreeMap<u64, String> {
    let b = balancer(Algorithm::ConsistentHashing, peers);
    let key = |i: u64| twox_hash::XxHash64::oneshot(0, &i.to_le_bytes());
    let owner = |i| b.pick(peers, up, Some(key(i)), Instant::now()).unwrap();
    (0..keys).map(|i| (i, peers[owner(i)].name.clone())).collect()
}

#[test]
fn an_instance_that_leaves_the_ring_moves_its_own_keys_only() {
    const KEYS: u64 = 20_000;
    for weights in [[100; 10], [1; 10], [100, 50, 100, 50, 100, 50, 200, 100, 50, 10]] {
        let peers = fakes(&weights);
        let before = owners(&peers, KEYS);
        let total: u32 = weights.iter().sum();
        for gone in 0..peers.len() {
            let mut rest = peers.clone();
            rest.remove(gone);
            let after = owners(&rest, KEYS);
            let moved: Vec<u64> = (0..KEYS).filter(|k| before[k] != after[k]).collect();
            assert!(moved.iter().all(|k| before[k] == peers[gone].name), "{weights:?}: only keys of {gone}");
            let share = f64::from(weights[gone]) / f64::from(total);
            let got = moved.len() as f64 / KEYS as f64;
            // Each point has a random stretch: the spread falls with the root of their number.
            let points = 160.0 * f64::from(weights[gone]) / 100f64.min(f64::from(weights[0]));
            assert!(
                (got / share - 1.0).abs() < 4.0 / points.sqrt(),
                "{weights:?}: {gone} had {got:.3}, not {share:.3}"
            );
            // Not usable is the same as gone: its keys go where they would go without it.
            peers[gone].up.set(false);
            assert_eq!(owners(&peers, KEYS / 10), after.into_iter().take(KEYS as usize / 10).collect());
            peers[gone].up.set(true);
        }
        let mut turned = peers.clone();
        turned.reverse();
        assert_eq!(owners(&turned, KEYS), before, "whatever their order");
    }
}

#[test]
fn a_ring_has_points_by_weight_and_within_its_size() {
    let len = |weights: &[u32], slots: usize| {
        let b = Balancer::with(Algorithm::ConsistentHashing, slots, 0, &fakes(weights));
        b.ranks()[0].near.prepared_len()
    };
    assert_eq!(len(&[100; 10], SLOTS), 1600);
    assert_eq!(len(&[100, 50, 200], SLOTS), 160 + 80 + 320);
    assert_eq!(len(&[100, 0], SLOTS), 160);
    for weight in [1, 2, 5, 10, 20, 50, 200, 255, 1000, 65_535] {
        let points = len(&[weight; 8], SLOTS);
        assert!((8 * 59..8 * 947).contains(&points), "{weight}: {points}");
    }
    assert!(len(&[100; 100], SLOTS) <= SLOTS);
    assert_eq!(len(&[100; 100], 10), 100, "one each");
    assert!(len(&[65_535, 1, 1, 1], SLOTS) <= SLOTS + 4);
}
