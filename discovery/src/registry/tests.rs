use super::*;
use crate::{Address, Probe};
use std::net::{IpAddr, Ipv4Addr};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn with_node() -> Registry {
    let registry = Registry::default();
    registry.put_node(Node::new("n1", HERE)).unwrap();
    registry
}

fn at(id: &str, port: u16) -> Instance {
    Instance::new("stock", id, "n1", port)
}

fn add(registry: &Registry, instance: Instance) -> Result<bool, Refused> {
    registry.register(instance, Vec::new(), false)
}

fn ttl(instance: &Instance, id: &str) -> Check {
    Check::new(Definition::of(instance, id, Probe::Ttl(std::time::Duration::from_secs(10))))
}

fn ports(registry: &Registry) -> Vec<u16> {
    registry.snapshot().usable("stock").map(|member| member.instance.port).collect()
}

#[test]
fn an_instance_comes_changes_and_goes() {
    let registry = with_node();
    let before = registry.snapshot();
    let watch = registry.watch();
    assert!(before.is_empty() && before.service("stock").is_none());

    let b = Instance { service: "Stock".into(), ..at("b", 2) };
    assert_eq!(registry.register(b, Vec::new(), false), Ok(true));
    assert_eq!(registry.register(at("a", 1), vec![ttl(&at("a", 1), "c")], false), Ok(true));
    assert_eq!(ports(&registry), [2], "unknown is not healthy");
    assert!(registry.report("N1", "c", State::Warning, "slow"));
    assert!(!registry.report("n1", "c", State::Warning, "slow") && !registry.report("n1", "z", State::Passing, ""));
    assert_eq!(ports(&registry), [1, 2], "a warning still gets commands; sorted by id, found without case");
    assert_eq!(registry.register(at("a", 1), vec![ttl(&at("a", 1), "c")], false), Ok(false), "again is no change");
    assert!(before.is_empty(), "a snapshot that somebody holds does not change");

    assert!(registry.drain("n1", "b", true) && !registry.drain("n1", "b", true));
    assert_eq!(ports(&registry), [1], "an instance that drains leaves first");
    assert!(registry.snapshot().service("stock").unwrap().members.len() == 2, "and is there until it is done");
    assert_eq!(add(&registry, at("b", 2)), Ok(true), "it may come back");

    assert!(registry.deregister("n1", "a") && !registry.deregister("n1", "a"));
    assert!(registry.deregister("n1", "b"));
    let end = registry.snapshot();
    assert!(end.service("stock").is_none() && end.is_empty() && end.checks().count() == 0);
    assert_eq!(*watch.borrow(), end.changes(), "the counter goes on when services go, and is told");
}

#[test]
fn checks_of_the_node_decide_about_all_that_lives_there() {
    let registry = with_node();
    add(&registry, at("a", 1)).unwrap();
    registry.put_node(Node::new("n2", HERE)).unwrap();
    add(&registry, Instance { node: "n2".into(), ..at("a", 2) }).unwrap();
    assert_eq!(ports(&registry), [1, 2], "an id is unique on its node only");
    registry.put_check(Check::new(Definition::of_node("n1", "alive", Probe::Manual))).unwrap();
    assert_eq!(ports(&registry), [2]);
    assert!(registry.deregister_check("n1", "alive"));
    assert_eq!(ports(&registry), [1, 2]);
    assert!(registry.deregister_node("n1") && !registry.deregister_node("n1"));
    assert_eq!(ports(&registry), [2]);
    assert_eq!(add(&registry, at("a", 1)), Err(Refused::Node("n1".into())));
}

#[test]
fn checks_stay_or_make_room_when_an_instance_registers_again() {
    let registry = with_node();
    let a = at("a", 1);
    let ids = || registry.snapshot().checks().map(|check| check.definition.id.clone()).collect::<Vec<_>>();
    registry.register(a.clone(), vec![ttl(&a, "c1"), ttl(&a, "c2")], false).unwrap();
    registry.report("n1", "c1", State::Passing, "fine");
    registry.register(a.clone(), vec![ttl(&a, "c1"), ttl(&a, "c3")], false).unwrap();
    assert_eq!(ids(), ["c1", "c2", "c3"]);
    assert_eq!(registry.snapshot().checks().next().unwrap().state, State::Passing, "as it was before");
    registry.register(a.clone(), vec![ttl(&a, "c3")], true).unwrap();
    assert_eq!(ids(), ["c3"]);
    assert_eq!(
        registry.put_check(ttl(&at("z", 1), "c3")),
        Err(Refused::Instance("z".into())),
        "a check of nobody is refused"
    );
    registry.put_check(Check::new(Definition::of_node("n1", "c3", Probe::Manual))).unwrap();
    assert_eq!(ids(), ["c3"], "an id is one check of one owner");
    assert!(registry.snapshot().service("stock").unwrap().members[0].checks.is_empty());
}

#[test]
fn held_back_instances_are_better_than_none() {
    let registry = with_node();
    for (id, port) in [("a", 1), ("b", 2)] {
        registry.register(at(id, port), vec![ttl(&at(id, port), id)], false).unwrap();
    }
    registry.report("n1", "b", State::Passing, "");
    registry.report_held("n1", "a", State::Critical, "changes too often", true);
    assert_eq!(ports(&registry), [2]);
    registry.report("n1", "b", State::Critical, "");
    assert_eq!(ports(&registry), [1]);
}

#[test]
fn nodes_and_registrations_remember_their_last_change() {
    let registry = Registry::default();
    registry.put_node(Node::new("n1", HERE)).unwrap();
    registry.put_node(Node::new("n2", HERE)).unwrap();
    let instance = Instance::new("stock", "a", "n1", 80);
    let check = Check::new(Definition::of(&instance, "c", Probe::Manual));
    registry.register(instance, vec![check], false).unwrap();
    let first = registry.snapshot();
    assert_eq!((first.node_changed("N1"), first.node_changed("n2"), first.registered()), (3, 2, 3));
    registry.report("n1", "c", State::Passing, "");
    registry.put_record("a.skydns.local", Record::host("10.0.0.1", 1)).unwrap();
    let second = registry.snapshot();
    assert_eq!((second.node_changed("n1"), second.node_changed("n2")), (4, 2));
    assert_eq!((second.registered(), second.known(), second.changes()), (3, 4, 5), "a report registers nobody");
    assert_eq!(second.node_changed("never"), 0);
    assert!(registry.deregister_node("n1"));
    let third = registry.snapshot();
    assert_eq!((third.node_changed("n1"), third.registered()), (third.changes(), third.changes()));
    assert_eq!(third.node_changed("never"), 0);
}

#[test]
fn a_service_remembers_its_own_last_change() {
    let registry = with_node();
    let mail = Instance { service: "mail".into(), ..at("m", 1) };
    add(&registry, mail).unwrap();
    registry.register(at("s", 1), vec![ttl(&at("s", 1), "c")], false).unwrap();
    registry.report("n1", "c", State::Warning, "");
    let now = registry.snapshot();
    assert_eq!((now.changed("mail"), now.changed("Stock"), now.changed("bank")), (2, 4, 0));
    assert_eq!(now.services().map(|service| &*service.name).collect::<Vec<_>>(), ["mail", "stock"]);
    registry.deregister("n1", "m");
    let now = registry.snapshot();
    assert_eq!((now.changed("mail"), now.changed("stock"), now.changed("bank")), (5, 4, 0), "gone is a change");
}

#[test]
fn limits_refuse_and_leave_everything_as_it_was() {
    let registry =
        Registry::new(Limits { nodes: 1, services: 1, instances: 2, checks: 1, records: 1, ..Limits::default() });
    registry.put_node(Node::new("n1", HERE)).unwrap();
    assert_eq!(registry.put_node(Node::new("n2", HERE)), Err(Refused::Full("nodes", 1)));
    add(&registry, at("a", 1)).unwrap();
    assert_eq!(add(&registry, Instance { service: "mail".into(), ..at("m", 1) }), Err(Refused::Full("services", 1)));
    add(&registry, at("b", 1)).unwrap();
    assert_eq!(add(&registry, at("c", 1)), Err(Refused::Full("instances", 2)));
    let two = vec![ttl(&at("a", 1), "1"), ttl(&at("a", 1), "2")];
    assert_eq!(registry.register(at("a", 7), two, false), Err(Refused::Full("checks", 1)));
    assert_eq!(add(&registry, at("a", 9)), Ok(true), "replacing needs no room");
    assert_eq!(registry.register(at("a", 9), vec![ttl(&at("a", 9), "1")], false), Ok(true));
    let longer = Check::new(Definition::of(&at("a", 9), "1", Probe::Manual));
    assert_eq!(registry.register(at("a", 9), vec![longer], false), Ok(true));
    let long = "x".repeat(64);
    for name in ["", "-a", "a-", "a.b", "ä", &long] {
        let wrong = Instance { service: name.into(), ..at("a", 1) };
        assert_eq!(add(&registry, wrong), Err(Refused::Invalid(Invalid::Name)), "{name}");
    }
    assert_eq!(add(&registry, at("", 1)), Err(Refused::Invalid(Invalid::Id)));
    let tags = Instance { tags: vec!["t".into(); 65], ..at("a", 1) };
    assert_eq!(add(&registry, tags), Err(Refused::Invalid(Invalid::Tags)));
    for address in ["two words", "a..b", "0.0.0.0", "::"] {
        let named = Instance { address: Some(Address::parse(address)), ..at("a", 1) };
        assert_eq!(add(&registry, named), Err(Refused::Invalid(Invalid::Address)));
    }
    let forever = Check::new(Definition::of(&at("a", 9), "1", Probe::Ttl(std::time::Duration::MAX)));
    assert!(matches!(registry.put_check(forever), Err(Refused::Invalid(Invalid::Check(_)))));
    let keys = Node { tagged: [("x".repeat(200), Address::Ip(HERE))].into(), ..Node::new("n1", HERE) };
    assert_eq!(registry.put_node(keys), Err(Refused::Invalid(Invalid::Meta)));
    registry.put_record("a.skydns.local", Record::host("10.0.0.1", 1)).unwrap();
    assert_eq!(registry.put_record("b.skydns.local", Record::default()), Err(Refused::Full("records", 1)));
    assert_eq!(registry.put_record("*.skydns.local", Record::default()), Err(Refused::Invalid(Invalid::Record)));
    assert_eq!(registry.snapshot().changes(), 7);
    assert!(registry.report("n1", "1", State::Passing, &"ä".repeat(5000)));
    let now = registry.snapshot();
    assert_eq!(now.checks().next().unwrap().output.len(), 4096, "an output is cut");
    assert_eq!(now.records().next().unwrap().0, "a.skydns.local");
}

#[test]
fn the_counter_never_goes_back_under_many_writers() {
    let registry = with_node();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..50 {
                    add(registry, at(&format!("{writer}-{n}"), 1)).unwrap();
                }
            });
        }
        let mut last = 0;
        while last < 201 {
            let now = registry.snapshot();
            assert!(now.changes() >= last);
            assert_eq!(now.len() as u64 + 1, now.changes(), "a snapshot is whole");
            last = now.changes();
        }
    });
}
