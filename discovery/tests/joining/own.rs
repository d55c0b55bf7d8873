//! Registering our own instances at another registry, and living through its end.

use super::road::{How, Road};
use super::{Central, HERE, Looking, connected, follow, following, put, same, settings, until};
use fourmi_discovery::http::{Access, Resource, Right, Rule, Token};
use fourmi_discovery::join::{Joined, Mode, Settings};
use fourmi_discovery::{Check, Definition, Instance, Limits, Probe, Registry, State, Store};
use std::time::Duration;

/// An instance of ours with a check that we say the state of.
fn own(service: &str, id: &str) -> (Instance, Vec<Check>) {
    let made = Instance::new(service, id, "", 25001);
    let check = Check::new(Definition::of(&made, format!("check-{id}"), Probe::Manual)).state(State::Passing);
    (made, vec![check])
}

fn registering(url: &str, own: Vec<(Instance, Vec<Check>)>) -> Settings {
    Settings { register: own, ttl: Duration::from_secs(1), ..following(url) }
}

async fn registered(joined: &Joined, count: usize) {
    until("all are registered", || joined.status().registered == count && joined.status().registering.is_none()).await;
}

fn states(registry: &Registry, service: &str) -> Vec<(String, State, String)> {
    let snapshot = registry.snapshot();
    let members = snapshot.service(service).map(|service| &*service.members).unwrap_or_default();
    members.iter().map(|m| (m.instance.id.clone(), m.state, m.address().to_string())).collect()
}

#[tokio::test]
async fn our_own_are_there_as_they_are_here() {
    let central = Central::start().await;
    for stream in [true, false] {
        let settings = registering(&central.url(), vec![own("pay", "pay"), own("pay", "given")]);
        let (joined, replica) = follow(Settings { stream, ..settings });
        // From the first moment on, though nobody has answered yet.
        assert_eq!(replica.snapshot().usable("pay").count(), 2);
        let looking = Looking::at(&replica, "pay", 2);
        registered(&joined, 2).await;
        connected(&joined).await;
        let ours = |state| {
            let one = |id: &str, state| (id.to_owned(), state, "10.9.9.9".to_owned());
            vec![one("given", State::Passing), one("side-pay", state)]
        };
        let central_has = || states(&central.registry, "pay");
        until("they are registered", || central_has() == ours(State::Passing)).await;
        until("and each is here once", || states(&replica, "pay") == ours(State::Passing)).await;
        looking.end();
        let node = replica.snapshot().service("pay").unwrap().members[0].node.name.clone();
        assert_eq!(node, "central", "as the other side has them");
        // A check that fails, warns, and passes again.
        for state in [State::Critical, State::Warning, State::Passing] {
            assert!(joined.own().report("side", "check-pay", state, "as it is"));
            until("it is so there", || central_has() == ours(state)).await;
            until("and here again", || states(&replica, "pay") == ours(state)).await;
        }
        // Nobody is sent to one that drains, and again when it does not.
        assert!(joined.own().drain("side", "pay", true));
        until("it is out there", || central.registry.snapshot().usable("pay").count() == 1).await;
        until("and here", || replica.snapshot().usable("pay").count() == 1).await;
        assert!(joined.own().drain("side", "pay", false));
        until("it is back", || replica.snapshot().usable("pay").count() == 2).await;
        // It says that it is there for longer than it would last otherwise.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(central_has(), ours(State::Passing));
        // The other side forgets one.
        central.registry.deregister("central", "side-pay");
        until("it comes again", || central_has() == ours(State::Passing)).await;
        // One goes, one comes, one is otherwise.
        joined.own().deregister("side", "pay");
        let (mut other, checks) = own("pay", "given");
        other.tags = vec!["v2".into()];
        joined.own().register(Instance { node: "side".into(), ..other }, checks_of(checks, "side"), true).unwrap();
        let tags = || {
            let snapshot = central.registry.snapshot();
            let members = snapshot.service("pay").map(|service| &*service.members).unwrap_or_default();
            members.iter().map(|m| (m.instance.id.clone(), m.instance.tags.clone())).collect::<Vec<_>>()
        };
        until("it is so there too", || tags() == [("given".to_owned(), vec!["v2".to_owned()])]).await;
        // Another configuration.
        joined.set_own(vec![own("pay", "other"), own("bank", "bank")]).unwrap();
        let ids = || {
            let snapshot = central.registry.snapshot();
            let all = snapshot.services().flat_map(|service| service.usable());
            all.map(|member| member.instance.id.clone()).collect::<Vec<_>>()
        };
        until("it is so there", || ids() == ["side-bank", "other"]).await;
        joined.stop().await;
        assert!(central_has().is_empty() && ids().is_empty(), "nothing is left behind");
    }
}

fn checks_of(checks: Vec<Check>, node: &str) -> Vec<Check> {
    let on = |check: Check| {
        let mut definition = Definition::clone(&check.definition);
        definition.node = node.into();
        Check::new(definition).state(check.state)
    };
    checks.into_iter().map(on).collect()
}

#[tokio::test]
async fn who_dies_runs_out() {
    let central = Central::start().await;
    let (joined, _replica) = follow(registering(&central.url(), vec![own("pay", "pay")]));
    registered(&joined, 1).await;
    until("it is well there", || central.registry.snapshot().usable("pay").count() == 1).await;
    drop(joined);
    until("it ran out", || central.registry.snapshot().usable("pay").count() == 0).await;
    assert_eq!(states(&central.registry, "pay").len(), 1, "it is critical first");
}

#[tokio::test]
async fn a_registry_that_comes_back_leaves_nobody_without_an_answer() {
    for kept in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let store = || kept.then(|| Store::open(&folder.path().join("registry.sqlite"), Limits::default()).unwrap());
        let mut central = Central::of((HERE, 0).into(), store(), settings()).await;
        let url = central.url();
        let sides: Vec<(Joined, Registry)> = (0..4)
            .map(|n| {
                let mut settings = registering(&url, vec![own("pay", "pay")]);
                settings.node = format!("side-{n}");
                settings.stream = n != 3;
                follow(settings)
            })
            .collect();
        for (joined, replica) in &sides {
            connected(joined).await;
            until("all see all", || replica.snapshot().usable("pay").count() == 4).await;
        }
        let looking: Vec<Looking> = sides.iter().map(|(_, replica)| Looking::at(replica, "pay", 4)).collect();
        for _ in 0..2 {
            let address = central.kill().await;
            for (joined, _) in &sides {
                until("it is cut off", || !joined.status().connected).await;
            }
            tokio::time::sleep(Duration::from_millis(1500)).await;
            central = Central::of(address, store(), settings()).await;
            for (joined, _) in &sides {
                connected(joined).await;
                registered(joined, 1).await;
            }
            until("all are back", || central.registry.snapshot().usable("pay").count() == 4).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let looks: u64 = looking.into_iter().map(Looking::end).sum();
        println!("kept {kept}: {looks} looks");
    }
}

#[tokio::test]
async fn who_does_not_come_back_goes_in_the_end() {
    for stream in [true, false] {
        let mut central = Central::start().await;
        put(&central.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
        put(&central.registry, "n1", "web", "web-2", [10, 0, 1, 2], State::Passing);
        let grace = Duration::from_secs(2);
        let (joined, replica) = follow(Settings { stream, grace, ..following(central.url()) });
        connected(&joined).await;
        assert_eq!(replica.snapshot().usable("web").count(), 2);
        let address = central.kill().await;
        until("it is cut off", || !joined.status().connected).await;
        central = Central::of(address, None, settings()).await;
        put(&central.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
        connected(&joined).await;
        assert_eq!(replica.snapshot().usable("web").count(), 2, "it may come back");
        same(&central.registry, &replica).await;
    }
}

#[tokio::test]
async fn tokens_say_what_is_seen() {
    let rule = |resource, name: &str, prefix, right| Rule { resource, name: name.into(), prefix, right };
    let token = |secret: &str, rules| Token { secret: secret.into(), accessor: secret.into(), rules };
    let nodes = || rule(Resource::Node, "", true, Right::Read);
    let access = Access {
        default: Right::Deny,
        tokens: vec![
            token("all", vec![rule(Resource::Service, "", true, Right::Write), nodes()]),
            token("web", vec![rule(Resource::Service, "web", false, Right::Read), nodes()]),
        ],
        anonymous: Vec::new(),
    };
    let http = fourmi_discovery::http::Settings { access, ..settings() };
    let central = Central::of((HERE, 0).into(), None, http.clone()).await;
    put(&central.registry, "n1", "web", "web-1", [10, 0, 1, 1], State::Passing);
    put(&central.registry, "n1", "stock", "stock-1", [10, 0, 1, 2], State::Passing);
    for stream in [true, false] {
        let with = |secret: Option<&str>| {
            let settings = registering(&central.url(), vec![own("pay", "pay")]);
            // What may not be seen any more goes soon.
            let grace = Duration::from_millis(1);
            follow(Settings { stream, grace, token: secret.map(str::to_owned), ..settings })
        };
        let (all, replica) = with(Some("all"));
        connected(&all).await;
        registered(&all, 1).await;
        same(&central.registry, &replica).await;
        let (web, replica) = with(Some("web"));
        connected(&web).await;
        let services = |replica: &Registry| {
            let snapshot = replica.snapshot();
            snapshot.services().map(|service| service.name.clone()).collect::<Vec<_>>()
        };
        until("what it may see", || services(&replica) == ["pay", "web"]).await;
        until("it may not register", || web.status().registering.is_some()).await;
        assert!(web.status().registering.unwrap().contains("403"), "{:?}", web.status());
        assert!(web.status().connected);
        // One that changes to a service that may be seen, and back.
        put(&central.registry, "n1", "web", "stock-1", [10, 0, 1, 2], State::Passing);
        until("it is seen", || replica.snapshot().usable("web").count() == 2).await;
        put(&central.registry, "n1", "stock", "stock-1", [10, 0, 1, 2], State::Passing);
        until("and is not", || replica.snapshot().usable("web").count() == 1).await;
        let (wrong, replica) = with(Some("wrong"));
        until("it is told", || wrong.status().error.is_some()).await;
        let error = wrong.status().error.unwrap();
        assert!(error.contains("403") && error.contains("ACL not found"), "{error}");
        assert!(!wrong.status().connected && !wrong.status().complete);
        assert_eq!(services(&replica), ["pay"], "it has itself");
        // Other rights are other views, at once.
        let mut other = http.clone();
        other.access.tokens[1].rules[0].name = "stock".into();
        let (web, replica) = with(Some("web"));
        connected(&web).await;
        if stream {
            central.server.reload(other);
            until("what it may see now", || services(&replica) == ["pay", "stock"]).await;
            central.server.reload(http.clone());
        }
        all.stop().await;
    }
}

#[tokio::test]
async fn the_next_registry_is_followed_when_one_fails() {
    let (one, other) = (Central::start().await, Central::start().await);
    for (central, ip) in [(&one, 1), (&other, 2)] {
        put(&central.registry, "n1", "web", "web-1", [10, 0, 1, ip], State::Passing);
    }
    put(&one.registry, "n1", "stock", "stock-1", [10, 0, 1, 9], State::Passing);
    let road = Road::to(one.address).await;
    let settings = registering("", vec![own("pay", "pay")]);
    let grace = Duration::from_secs(2);
    tokio::time::sleep(grace).await;
    let (joined, replica) = follow(Settings { urls: vec![road.url(), other.url()], grace, ..settings });
    connected(&joined).await;
    registered(&joined, 1).await;
    let looking = Looking::at(&replica, "web", 1);
    road.set(How::Cut);
    until("the other one is followed", || {
        joined.status().connected && joined.status().registry == other.address.to_string()
    })
    .await;
    until("it is registered there", || other.registry.snapshot().usable("pay").count() == 1).await;
    until("with what it has", || states(&replica, "web")[0].2 == "10.0.1.2").await;
    assert_eq!(replica.snapshot().usable("stock").count(), 1, "it may come over");
    until("what does not goes", || replica.snapshot().service("stock").is_none()).await;
    looking.end();
    assert_eq!(joined.status().mode, Some(Mode::Stream));
}
