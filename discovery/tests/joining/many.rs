//! Many who follow one registry.

use super::{Central, connected, follow, following, put, same, until};
use fourmi_discovery::join::{Joined, Settings};
use fourmi_discovery::{Registry, State};
use std::time::{Duration, Instant};

#[tokio::test]
async fn all_have_every_change() {
    let central = Central::start().await;
    let service = |n: u8| format!("s{n}");
    for n in 0..150 {
        put(&central.registry, &format!("n{}", n % 10), &service(n), &format!("i{n}"), [10, 1, 0, n], State::Passing);
    }
    let sides: Vec<(Joined, Registry)> = (0..20)
        .map(|n| {
            let mut settings = following(central.url());
            settings.node = format!("side-{n}");
            // A few of them as those of a Consul do.
            follow(Settings { stream: n % 10 > 0, ..settings })
        })
        .collect();
    for (joined, replica) in &sides {
        connected(joined).await;
        same(&central.registry, replica).await;
    }
    let mut took = Vec::new();
    for n in 0..50 {
        let began = Instant::now();
        central.registry.report(&format!("n{}", n % 10), &format!("c-i{n}"), State::Critical, "it broke");
        for (joined, replica) in
            sides.iter().filter(|(joined, _)| joined.status().mode != Some(fourmi_discovery::join::Mode::Queries))
        {
            until("all have it", || replica.snapshot().usable(&service(n)).count() == 0).await;
            assert!(joined.status().connected);
        }
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took.sort();
    println!("20 replicas: half of the changes within {:?}, all within {:?}", took[25], took[49]);
    // With more services than connections the reads take turns.
    for (_, replica) in &sides {
        same(&central.registry, replica).await;
    }
}
