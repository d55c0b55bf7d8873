use super::*;
use crate::Address;
use std::net::{IpAddr, Ipv4Addr};

fn at(id: &str, port: u16) -> Instance {
    Instance::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST), port).state(State::Passing)
}

#[test]
fn an_instance_comes_changes_and_goes() {
    let registry = Registry::default();
    let before = registry.snapshot();
    assert!(before.is_empty() && before.service("stock").is_none());

    assert_eq!(registry.register("Stock", at("b", 2)), Ok(true));
    assert_eq!(registry.register("stock", at("a", 1)), Ok(true));
    assert_eq!(registry.register("stock", at("a", 1)), Ok(false), "the same again is no change");
    let two = registry.snapshot();
    assert_eq!(two.changes(), 2);
    let ids: Vec<_> = two.service("STOCK").unwrap().iter().map(|i| &*i.id).collect();
    assert_eq!(ids, ["a", "b"], "sorted by id, found without case");
    assert!(before.is_empty(), "a snapshot that somebody holds does not change");

    assert!(registry.set_state("stock", "a", State::Critical));
    assert!(!registry.set_state("stock", "a", State::Critical));
    assert!(!registry.set_state("stock", "z", State::Passing));
    assert_eq!(registry.snapshot().usable("stock").map(|i| i.port).collect::<Vec<_>>(), [2]);

    assert!(registry.deregister("stock", "a") && !registry.deregister("stock", "a"));
    assert!(registry.deregister("stock", "b"));
    let end = registry.snapshot();
    assert!(end.service("stock").is_none() && end.len() == 0);
    assert_eq!(end.changes(), 5, "the counter goes on when services go");
}

#[test]
fn a_service_remembers_its_own_last_change() {
    let registry = Registry::default();
    registry.register("mail", at("m", 1)).unwrap();
    registry.register("stock", at("s", 1)).unwrap();
    registry.set_state("stock", "s", State::Warning);
    let now = registry.snapshot();
    assert_eq!((now.changed("mail"), now.changed("stock"), now.changed("bank")), (Some(1), Some(3), None));
    assert_eq!(now.names().collect::<Vec<_>>(), ["mail", "stock"]);
    assert_eq!(now.usable("stock").count(), 1, "a warning still gets commands");
}

#[test]
fn limits_refuse_and_leave_everything_as_it_was() {
    let registry = Registry::new(Limits { services: 1, instances: 2 });
    registry.register("stock", at("a", 1)).unwrap();
    registry.register("stock", at("b", 1)).unwrap();
    assert_eq!(registry.register("stock", at("c", 1)), Err(Refused::Instances(2)));
    assert_eq!(registry.register("mail", at("a", 1)), Err(Refused::Services(1)));
    assert_eq!(registry.register("stock", at("a", 9)), Ok(true), "replacing needs no room");
    let long = "x".repeat(64);
    for name in ["", "-a", "a-", "a.b", "ä", &long] {
        assert_eq!(registry.register(name, at("a", 1)), Err(Refused::Invalid(Invalid::Name)), "{name}");
    }
    assert_eq!(registry.register("stock", at("", 1)), Err(Refused::Invalid(Invalid::Id)));
    let tags = Instance { tags: vec!["t".into(); 65], ..at("a", 1) };
    assert_eq!(registry.register("stock", tags), Err(Refused::Invalid(Invalid::Tags)));
    let named = Instance { address: Address::Name("two words".into()), ..at("a", 1) };
    assert_eq!(registry.register("stock", named), Err(Refused::Invalid(Invalid::Address)));
    assert_eq!(registry.snapshot().changes(), 3);
}

#[test]
fn the_counter_never_goes_back_under_many_writers() {
    let registry = Registry::default();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..50 {
                    registry.register("stock", at(&format!("{writer}-{n}"), 1)).unwrap();
                }
            });
        }
        let mut last = 0;
        while last < 200 {
            let now = registry.snapshot();
            assert!(now.changes() >= last);
            assert_eq!(now.len() as u64, now.changes(), "a snapshot is whole");
            last = now.changes();
        }
    });
}
