//! Ranks, zones, what can't be picked, and the reasons.

use super::*;

/// That many near and far ones, of which so many are usable; equal weights.
fn zones(near: (usize, usize), far: (usize, usize)) -> Fakes {
    changed(&vec![100; near.0 + far.0], |i, f| {
        f.near = i < near.0;
        f.up.set(i < near.1 || (near.0..near.0 + far.1).contains(&i));
    })
}

#[test]
fn a_zone_that_is_too_empty_spills_over() {
    for (near, far, share) in [
        ((10, 10), (10, 10), 1.0),
        // 8 × 1.4 is more than 10.
        ((10, 8), (10, 10), 1.0),
        ((10, 5), (10, 10), 0.7),
        ((10, 1), (10, 10), 0.14),
        ((10, 0), (10, 10), 0.0),
        // Nobody can take the rest.
        ((10, 5), (10, 0), 1.0),
        // 0.28 and 0.14 of what would be needed.
        ((10, 2), (10, 1), 2.0 / 3.0),
        // No other zone, and none of ours.
        ((4, 1), (0, 0), 1.0),
        ((0, 0), (4, 1), 0.0),
    ] {
        let peers = zones(near, far);
        for algorithm in Algorithm::ALL {
            let b = balancer(algorithm, &peers);
            let near_picks: usize = counts(&b, &peers, 4000)[..near.0].iter().sum();
            about(near_picks, 4000, share);
            let explained = b.explain(&peers, up, None, Instant::now());
            for account in explained.peers.iter().filter(|a| a.why != Why::Unusable) {
                let want = if account.near { share } else { 1.0 - share };
                assert!((account.share - want).abs() < 1e-9, "{account}");
            }
        }
    }
}

#[test]
fn a_spilling_zone_counts_weights() {
    let peers = changed(&[700, 100, 100, 100, 500, 500], |i, f| {
        f.near = i < 4;
        f.up.set(i != 0);
    });
    let b = balancer(Algorithm::RoundRobin, &peers);
    let counts = counts(&b, &peers, 10_000);
    let near: usize = counts[..4].iter().sum();
    about(near, 10_000, 0.3 * 1.4);
    // Within a zone it is the algorithm that decides.
    assert!(counts[1..4].iter().all(|n| n.abs_diff(near / 3) <= 1), "{counts:?}");
    assert!(counts[4].abs_diff(counts[5]) <= 1, "{counts:?}");
}

#[test]
fn a_key_stays_in_its_zone() {
    let peers = zones((4, 2), (4, 4));
    let b = balancer(Algorithm::ConsistentHashing, &peers);
    let mut near = 0;
    for i in 0..4000u64 {
        let key = Some(twox_hash::XxHash64::oneshot(0, &i.to_le_bytes()));
        let first = b.pick(&peers, up, key, Instant::now()).unwrap();
        assert!((0..5).all(|_| b.pick(&peers, up, key, Instant::now()) == Some(first)));
        near += usize::from(peers[first].near);
    }
    about(near, 4000, 0.7);
}

#[test]
fn a_higher_rank_waits_until_the_lower_has_nothing_usable() {
    // Ranks 10 and 20, each with near and far ones.
    let peers = changed(&[100; 8], |i, f| {
        f.rank = if i < 4 { 20 } else { 10 };
        f.near = i % 2 == 0;
    });
    for algorithm in Algorithm::ALL {
        let b = balancer(algorithm, &peers);
        peers.iter().for_each(|p| p.up.set(true));
        let only = |picked: &[usize], left: &[usize]| {
            let counts = counts(&b, &peers, 400);
            for (i, n) in counts.iter().enumerate() {
                assert_eq!(*n > 0, picked.contains(&i), "{algorithm}: {i} in {counts:?} with {left:?} down");
            }
        };
        let down = |these: &[usize]| these.iter().for_each(|i| peers[*i].up.set(false));
        only(&[4, 6], &[]);
        down(&[4, 6]);
        only(&[5, 7], &[4, 6]);
        down(&[5, 7]);
        only(&[0, 2], &[4, 5, 6, 7]);
        peers.iter().for_each(|p| p.up.set(false));
        assert_eq!(pick(&b, &peers), None);
    }
}

#[test]
fn nothing_to_pick_from_is_none() {
    for algorithm in Algorithm::ALL {
        let none = fakes(&[]);
        assert_eq!(pick(&balancer(algorithm, &none), &none), None);
        let drained = fakes(&[0, 0]);
        assert_eq!(pick(&balancer(algorithm, &drained), &drained), None);
        let down = changed(&[100; 200], |_, f| f.up.set(false));
        let b = balancer(algorithm, &down);
        assert_eq!(pick(&b, &down), None);
        // Fewer peers than it was built for: nothing is invented.
        down.iter().for_each(|p| p.up.set(true));
        for _ in 0..50 {
            assert!(b.pick(&down[..3], up, None, Instant::now()).is_none_or(|at| at < 3));
        }
    }
}

#[test]
fn explaining_says_why_and_changes_nothing() {
    let peers = changed(&[100, 100, 0, 100, 100, 50], |i, f| {
        f.up.set(i != 3);
        f.near = i != 1;
        f.rank = u32::from(i == 4);
        f.ramp = if i == 5 { 0.5 } else { 1.0 };
        f.in_flight.set(if i == 0 { 3 } else { 0 });
    });
    let now = Instant::now();
    for algorithm in Algorithm::ALL {
        let b = balancer(algorithm, &peers);
        for key in (0..40).map(|i| (i < 20).then(|| twox_hash::XxHash64::oneshot(i, b""))) {
            let first = b.explain(&peers, up, key, now);
            assert_eq!(b.explain(&peers, up, key, now), first);
            assert_eq!(b.pick(&peers, up, key, now), first.picked, "{algorithm}");
        }
    }
    let explained = balancer(Algorithm::LeastConnections, &peers).explain(&peers, up, None, now);
    let lines: Vec<String> = explained.peers.iter().map(ToString::to_string).collect();
    // Near and usable: 150 of 250.
    for (line, says) in [
        (
            1,
            "10.0.0.1:8080: not picked: another one has fewer in flight, or as few and the turn; weight 100, rank 0, far (its",
        ),
        (2, "10.0.0.2:8080: not picked: weight 0: drained; weight 0, rank 0, near, 0 in flight, 10.0 ms"),
        (3, "not picked: not usable now"),
        (4, "not picked: only when none of rank 0 is usable"),
        (5, "weight 50 (starting, 50 % of it), rank 0, near (its zone gets 84 %)"),
        (0, "3 in flight, 10.0 ms, load 4.000e-2"),
    ] {
        assert!(lines[line].contains(says), "{line}: {lines:#?}");
    }
    peers[3].up.set(true);
    let explained = balancer(Algorithm::LeastConnections, &peers).explain(&peers, up, None, now);
    assert_eq!(explained.picked, Some(3));
    assert_eq!(explained.peers[3].why, Why::Picked(Algorithm::LeastConnections));
    assert_eq!(explained.peers[1].why, Why::Zone);
}

fn any_fakes() -> impl Strategy<Value = Fakes> {
    let one = (0u32..4, 0u32..3, any::<bool>(), any::<bool>(), 0u32..3, 0usize..4, 0usize..3);
    proptest::collection::vec(one, 0..90).prop_map(|all| {
        let weights: Vec<u32> = all.iter().map(|one| one.0 * 50).collect();
        changed(&weights, |i, f| {
            let (_, rank, near, up, in_flight, cost, ramp) = all[i];
            f.rank = rank;
            f.near = near;
            f.up.set(up);
            f.in_flight.set(in_flight);
            f.cost.set([None, Some(0.0), Some(0.5), Some(f64::NAN)][cost]);
            f.ramp = [0.0, 0.5, 1.0][ramp];
        })
    })
}

proptest! {
    #[test]
    fn only_a_usable_one_of_the_lowest_rank_is_picked(
        peers in any_fakes(), which in 0usize..4, seed: u64, key: Option<u64>, slots in 10usize..200,
    ) {
        let b = Balancer::with(Algorithm::ALL[which], slots, seed, &peers);
        let now = Instant::now();
        let may = |p: &Rc<Fake>| p.up.get() && p.weight > 0;
        let lowest = peers.iter().filter(|p| may(p)).map(|p| p.rank).min();
        let ours = |p: &Rc<Fake>| p.near && Some(p.rank) == lowest && p.weight > 0;
        let near_full = peers.iter().any(ours) && peers.iter().filter(|p| ours(p)).all(|p| p.up.get());
        for _ in 0..20 {
            let explained = b.explain(&peers, up, key, now);
            let picked = b.pick(&peers, up, key, now);
            prop_assert_eq!(explained.picked, picked);
            prop_assert_eq!(picked.is_some(), lowest.is_some());
            let Some(at) = picked else { continue };
            prop_assert!(may(&peers[at]) && Some(peers[at].rank) == lowest);
            prop_assert!(peers[at].near || !near_full);
            prop_assert!(matches!(explained.peers[at].why, Why::Picked(_)));
            prop_assert!(explained.peers[at].share > 0.0);
        }
    }
}

#[test]
fn a_pick_allocates_nothing() {
    let peers = zones((300, 150), (300, 300));
    let now = Instant::now();
    for algorithm in Algorithm::ALL {
        let b = balancer(algorithm, &peers);
        let measured = allocation_counter::measure(|| {
            for key in [None, Some(5)] {
                assert!((0..100).all(|_| b.pick(&peers, up, key, now).is_some()));
                assert!(b.pick(&peers, |_| false, key, now).is_none());
            }
        });
        assert_eq!(measured.count_total, 0, "{algorithm}");
    }
}
