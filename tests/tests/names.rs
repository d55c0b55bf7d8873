//! Services that are DNS names, with a real DNS server whose answers change.

use fourmi_tests::peers::Resolver;
use fourmi_tests::{Fourmi, Setup, Worker, eventually, free_port, until};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Workers on one port of several addresses of this machine.
fn workers<const N: usize>(addresses: [&str; N]) -> (u16, [Worker; N]) {
    let port = free_port();
    let worker = |ip: &str| Worker::echo_bound(SocketAddr::new(ip.parse().unwrap(), port));
    (port, addresses.map(worker))
}

/// Fourmi with the service `stock` at this address.
fn fourmi(dns: &Resolver, address: &str) -> Fourmi {
    let more = format!("dns: {{nameservers: [\"{}\"], timeout: 500ms}}\n", dns.address());
    Setup::alone().outbound(format!("{{stock: {{address: \"{address}\"}}}}")).more(&more).start()
}

fn status(fourmi: &Fourmi) -> u16 {
    fourmi.outbound().send("GET /x HTTP/1.1\r\nHost: stock\r\nConnection: close\r\n\r\n").answer().status()
}

/// Sends commands until those of a while went to these workers alone, and to each of them.
#[track_caller]
fn goes_to(fourmi: &Fourmi, workers: &[&Worker], others: &[&Worker]) {
    let count = |workers: &[&Worker]| workers.iter().map(|w| w.requests().len()).collect::<Vec<_>>();
    eventually("commands go to these instances alone", || {
        let before = (count(workers), count(others));
        let fine = (0..8 * workers.len()).all(|_| status(fourmi) == 200);
        let all = count(workers).iter().zip(&before.0).all(|(now, before)| now > before);
        (fine && all && count(others) == before.1).then_some(())
    });
}

#[test]
fn instances_follow_the_answers() {
    let dns = Resolver::start();
    let (port, [two, three, six]) = workers(["127.0.0.2", "127.0.0.3", "::1"]);
    dns.has("stock.test", 1, &["A 127.0.0.2"]);
    let fourmi = fourmi(&dns, &format!("http://stock.test:{port}"));
    goes_to(&fourmi, &[&two], &[&three, &six]);
    // Another instance, then that one alone, then IPv6 only.
    dns.has("stock.test", 1, &["A 127.0.0.2", "A 127.0.0.3"]);
    goes_to(&fourmi, &[&two, &three], &[&six]);
    dns.has("stock.test", 0, &["A 127.0.0.3"]);
    goes_to(&fourmi, &[&three], &[&two, &six]);
    dns.has("stock.test", 1, &["AAAA ::1"]);
    goes_to(&fourmi, &[&six], &[&two, &three]);
    // Both families of one instance, whose IPv6 nobody serves: the other one is connected to.
    drop(six);
    dns.has("stock.test", 1, &["AAAA ::1", "A 127.0.0.2"]);
    goes_to(&fourmi, &[&two], &[&three]);
}

#[test]
fn a_failing_server_changes_nothing_and_a_name_that_is_gone_has_no_instance() {
    let dns = Resolver::start();
    let (port, [two, three]) = workers(["127.0.0.2", "127.0.0.3"]);
    dns.has("stock.test", 1, &["A 127.0.0.2"]);
    let fourmi = fourmi(&dns, &format!("http://stock.test:{port}"));
    goes_to(&fourmi, &[&two], &[&three]);
    // SERVFAIL: the API says so, and commands go where they went.
    dns.fails("stock.test");
    let upstreams = || fourmi.admin("GET", "/api/v1/upstreams").text();
    until("the API tells of SERVFAIL", || upstreams().contains("SERVFAIL"));
    goes_to(&fourmi, &[&two], &[&three]);
    dns.has("stock.test", 1, &["A 127.0.0.3"]);
    goes_to(&fourmi, &[&three], &[&two]);
    until("the API tells of it no more", || !upstreams().contains("SERVFAIL"));
    // Gone is an answer.
    dns.forgets("stock.test");
    until("commands find no instance", || status(&fourmi) == 503);
    dns.has("stock.test", 1, &["A 127.0.0.2"]);
    goes_to(&fourmi, &[&two], &[&three]);
    // No server at all, and one again that knows more.
    let port = dns.address().port();
    drop(dns);
    until("the API tells that nobody answers", || upstreams().contains(&format!("127.0.0.1:{port}")));
    goes_to(&fourmi, &[&two], &[&three]);
    let dns = Resolver::start_on(port);
    dns.has("stock.test", 1, &["A 127.0.0.3"]);
    goes_to(&fourmi, &[&three], &[&two]);
}

#[test]
fn srv_records_say_ports() {
    let dns = Resolver::start();
    let (two, three) = (Worker::echo(), Worker::echo());
    let srv = |worker: &Worker, host: &str| format!("SRV 1 10 {} {host}.test.", worker.port());
    let (first, second) = (srv(&two, "one"), srv(&three, "localhost"));
    dns.has("one.test", 1, &["A 127.0.0.1"]);
    dns.has("localhost.test", 1, &["A 127.0.0.1"]);
    dns.has("_stock._tcp.test", 1, &[&first]);
    let fourmi = fourmi(&dns, "http://_stock._tcp.test");
    goes_to(&fourmi, &[&two], &[&three]);
    dns.has("_stock._tcp.test", 1, &[&first, &second]);
    goes_to(&fourmi, &[&two, &three], &[]);
    dns.has("_stock._tcp.test", 1, &[&second]);
    goes_to(&fourmi, &[&three], &[&two]);
}

#[test]
fn a_name_that_comes_late_is_waited_for() {
    let dns = Resolver::start();
    let (port, [two]) = workers(["127.0.0.2"]);
    dns.forgets("stock.test");
    let fourmi = fourmi(&dns, &format!("http://stock.test:{port}"));
    until("there is no instance yet", || status(&fourmi) == 503);
    dns.has("stock.test", 60, &["A 127.0.0.2"]);
    goes_to(&fourmi, &[&two], &[]);
}

/// What is followed, against the real server: also answers that only fit into TCP.
#[test]
fn the_resolver_understands_a_real_server() {
    use fourmi::upstream::names::{Name, Resolver as Ours, Settings, Update, follow};
    let dns = Resolver::start();
    let many: Vec<String> = (1..=250).map(|i| format!("A 127.0.1.{i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let told = std::rc::Rc::new(std::cell::RefCell::new((BTreeSet::new(), None)));
    let publish = {
        let told = told.clone();
        move |update| match update {
            Update::Instances(found) => {
                told.borrow_mut().0 = found.iter().flat_map(|f| &f.addresses).map(|a| a.ip().to_string()).collect();
            }
            Update::Trouble(trouble) => told.borrow_mut().1 = trouble,
        }
    };
    let settings = Settings { nameservers: vec![dns.address()], hosts: false, ..Settings::default() };
    let name = Name { host: "stock.test".into(), port: Some(80) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    let ours = std::rc::Rc::new(Ours::new(settings));
    local.spawn_local(follow(name, ours.clone(), publish));
    let becomes = |instances: &[&str], trouble: Option<&str>| {
        until(&format!("{} instances, {trouble:?}", instances.len()), || {
            local.block_on(&runtime, async { tokio::time::sleep(std::time::Duration::from_millis(20)).await });
            let (set, said) = &*told.borrow();
            let wanted = instances.iter().map(|i| i.rsplit(' ').next().unwrap().to_owned()).collect::<BTreeSet<_>>();
            let same = said.is_some() == trouble.is_some()
                && said.as_ref().is_none_or(|said| said.contains(trouble.unwrap_or_default()));
            *set == wanted && same
        });
    };
    becomes(&[], Some("SERVFAIL"));
    dns.has("stock.test", 1, &["A 127.0.0.2", "AAAA ::1"]);
    becomes(&["127.0.0.2", "::1"], None);
    dns.has("stock.test", 1, &many);
    becomes(&many, None);
    dns.fails("stock.test");
    becomes(&many, Some("SERVFAIL"));
    dns.forgets("stock.test");
    becomes(&[], Some("NXDOMAIN"));
    dns.has("stock.test", 1, &["TXT nothing"]);
    becomes(&[], Some("has no address"));
    dns.has("alias.test", 1, &["A 127.0.0.9"]);
    dns.has("stock.test", 1, &["CNAME alias.test."]);
    becomes(&["127.0.0.9"], None);
    // A service: hosts, ports and weights.
    dns.has("two.test", 1, &["A 127.0.0.2", "AAAA ::1"]);
    dns.has("_stock._tcp.test", 1, &["SRV 1 30 8001 two.test.", "SRV 2 0 8002 Alias.test."]);
    let service = Name { host: "_stock._tcp.test".into(), port: None };
    let found = local.block_on(&runtime, ours.resolve(&service)).unwrap();
    let shown: Vec<String> = found
        .iter()
        .map(|f| format!("{:?} {} {} {:?}", f.addresses, f.priority, f.weight, f.name.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(shown, ["[127.0.0.9:8002] 2 1 \"alias.test\"", "[[::1]:8001, 127.0.0.2:8001] 1 30 \"two.test\""]);
}
