//! Following another registry, through real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod joining;

use fourmi_discovery::join::Mode;
use fourmi_discovery::{Instance, Node, Record, State, TaggedAddress, Weights};
use joining::road::{How, Road};
use joining::{Central, Looking, connected, follow, following, put, same, until};
use std::net::IpAddr;
use std::time::Duration;

/// Something of everything.
fn fill(central: &Central) {
    let registry = &central.registry;
    let node = Node {
        id: "0-1-2".into(),
        tagged: [("wan".to_owned(), "192.0.2.1".parse::<IpAddr>().unwrap().into())].into(),
        meta: [("rack".to_owned(), "a".to_owned())].into(),
        ..Node::new("Full", "10.0.0.2".parse::<IpAddr>().unwrap())
    };
    registry.put_node(node).unwrap();
    let full = Instance {
        tags: vec!["v1".into(), "eu".into()],
        meta: [("zone".to_owned(), "z\"1".to_owned())].into(),
        tagged: [("wan".to_owned(), TaggedAddress { address: "192.0.2.9".parse::<IpAddr>().unwrap().into(), port: 8 })]
            .into(),
        weights: Weights { passing: 7, warning: 2 },
        enable_tag_override: true,
        socket: "/run/x.sock".into(),
        ..Instance::new("Stock", "stock-1", "full", 8080)
    };
    registry.register(full, Vec::new(), false).unwrap();
    put(registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    put(registry, "n1", "web", "web-2", [10, 0, 1, 2], State::Warning);
    put(registry, "n2", "web", "web-1", [10, 0, 2, 1], State::Critical);
}

#[tokio::test]
async fn stream_and_queries_make_the_same_replica() {
    let central = Central::start().await;
    fill(&central);
    let (by_stream, streamed) = follow(following(central.url()));
    let (by_queries, queried) = follow(fourmi_discovery::join::Settings { stream: false, ..following(central.url()) });
    assert_eq!(connected(&by_stream).await.mode, Some(Mode::Stream));
    assert_eq!(connected(&by_queries).await.mode, Some(Mode::Queries));
    let registry = &central.registry;
    same(registry, &streamed).await;
    same(registry, &queried).await;
    // Everything that can change.
    registry.report("n1", "c-web-1", State::Critical, "it broke");
    registry.report("n2", "c-web-1", State::Passing, "");
    put(registry, "n3", "new", "new-1", [10, 0, 3, 1], State::Passing);
    put(registry, "n1", "moved", "web-2", [10, 0, 1, 3], State::Passing);
    registry.put_node(Node::new("n2", "10.0.0.77".parse::<IpAddr>().unwrap())).unwrap();
    registry.deregister("full", "stock-1");
    same(registry, &streamed).await;
    same(registry, &queried).await;
    registry.deregister_node("n1");
    registry.deregister("n3", "new-1");
    same(registry, &streamed).await;
    same(registry, &queried).await;
    assert_eq!((by_stream.status().refused, by_queries.status().refused), (0, 0));
    // What only the stream tells.
    registry.put_record("1.orders.skydns.local", Record::host("10.0.0.9", 80)).unwrap();
    put(registry, "n2", "web", "web-3", [10, 0, 2, 3], State::Passing);
    registry.drain("n2", "web-3", true);
    same(registry, &streamed).await;
    registry.remove_record("1.orders.skydns.local");
    registry.deregister_node("full");
    same(registry, &streamed).await;
}

#[tokio::test]
async fn whoever_has_no_stream_is_asked_as_consul_is() {
    let central = Central::start().await;
    fill(&central);
    let road = Road::to(central.address).await;
    road.set(How::NoStream);
    let (joined, replica) = follow(following(road.url()));
    assert_eq!(connected(&joined).await.mode, Some(Mode::Queries));
    same(&central.registry, &replica).await;
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_and_no_more() {
    let central = Central::start().await;
    for n in 0..=200 {
        put(&central.registry, "n1", "web", &format!("web-{n}"), [10, 0, 1, n], State::Passing);
    }
    let road = Road::to(central.address).await;
    let (joined, replica) = follow(following(road.url()));
    connected(&joined).await;
    same(&central.registry, &replica).await;
    let whole = road.carried();
    let looking = Looking::at(&replica, "web", 200);
    for how in [How::Cut, How::Still] {
        road.set(how);
        if how == How::Cut {
            until("it is cut off", || !joined.status().connected).await;
            assert!(joined.status().error.is_some());
        }
        central.registry.report("n1", "c-web-0", State::Critical, "gone");
        put(&central.registry, "n2", "stock", "stock-1", [10, 0, 2, 1], State::Passing);
        tokio::time::sleep(Duration::from_millis(300)).await;
        road.set(How::Open);
        connected(&joined).await;
        same(&central.registry, &replica).await;
        central.registry.report("n1", "c-web-0", State::Passing, "back");
        central.registry.deregister_node("n2");
        same(&central.registry, &replica).await;
    }
    let rest = road.carried() - whole;
    assert!(rest < whole / 4, "{rest} bytes after {whole} for everything");
    assert!(looking.end() > 100);
}
