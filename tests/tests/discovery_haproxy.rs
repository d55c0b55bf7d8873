//! HAProxy finds instances by Fourmi's DNS and follows its answers under load.

use fourmi_tests::load::Tally;
use fourmi_tests::peers::{Peer, instances::haproxy_with};
use fourmi_tests::{Client, Fourmi, Instance, Load, Section, Setup, eventually, free_port, until};
use std::net::TcpStream;

const CHECK: &str = "{http: /healthz, interval: 1s}";
const CALLERS: usize = 6;
const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: stock\r\n\r\n";

/// `server-template` as HAProxy's manual has it for SRV records; it looks five times a second. Until a death is in the
/// answers, it tries no server again that refused a connection.
fn haproxy(section: &Section, servers: &str) -> Peer {
    let (port, dns) = (free_port(), section.at);
    let sections = format!(
        "resolvers fourmi\n  nameserver one {dns}\n  accepted_payload_size 4096\n  timeout resolve 200ms\n  \
         timeout retry 200ms\n  resolve_retries 3\n  hold valid 200ms\n\
         frontend front\n  bind 127.0.0.1:{port}\n  default_backend stock\n\
         backend stock\n  balance roundrobin\n  retries 3\n  option redispatch 1\n  \
         server-template stock 6 {servers} resolvers fourmi init-addr none \
         check inter 1s observe layer4 error-limit 1 on-error mark-down\n"
    );
    haproxy_with(port, &sections)
}

/// Waits until these instances, and no others, are given commands.
#[track_caller]
fn are_used(load: &Load, used: &[&Instance], others: &[&Instance]) {
    let done = |all: &[&Instance]| all.iter().map(|i| i.done()).collect::<Vec<_>>();
    eventually(&format!("{} instances are used alone", used.len()), || {
        let (before, unused, answered) = (done(used), done(others), load.answered());
        until("the load goes on", || load.answered() > answered + 100);
        let all = done(used).iter().zip(&before).all(|(now, before)| now > before);
        (all && done(others) == unused).then_some(())
    });
}

fn failed(tally: &Tally) -> u64 {
    tally.sent() - tally.with(200)
}

fn start(section: &Section) -> Fourmi {
    Setup::alone().more(&section.yaml()).start()
}

#[track_caller]
fn answers(front: &Peer) {
    until("HAProxy has instances", || {
        TcpStream::connect(("127.0.0.1", front.port)).is_ok() && Client::connect(front.port).get("/").status() == 200
    });
}

#[test]
fn instances_that_come_and_go_cost_no_request() {
    let [one, two, three] = Instance::several(4);
    let section = Section::new().stock([&one, &two], CHECK);
    let fourmi = start(&section);
    let front = haproxy(&section, "_stock._tcp.service.consul");
    answers(&front);
    let load = Load::on(front.port, CALLERS, REQUEST);
    are_used(&load, &[&one, &two], &[&three]);
    section.becomes(&fourmi, &Section::at(section.at).stock([&one, &two, &three], CHECK));
    are_used(&load, &[&one, &two, &three], &[]);
    // One is taken out of the file, and ends when nobody sends it anything any more.
    section.becomes(&fourmi, &Section::at(section.at).stock([&two, &three], CHECK));
    are_used(&load, &[&two, &three], &[&one]);
    assert_eq!(one.dies(), 0);
    // One is sick for a while.
    three.feels(503);
    are_used(&load, &[&two], &[&three]);
    three.feels(200);
    are_used(&load, &[&two, &three], &[]);
    // One comes at another port.
    let four = Instance::start("s4", ([127, 0, 0, 2], free_port()).into(), 4);
    section.becomes(&fourmi, &Section::at(section.at).stock([&three, &four], CHECK));
    are_used(&load, &[&three, &four], &[&two]);
    let tally = load.stop();
    println!("{} requests, {:?}, {} without an answer", tally.sent(), tally.answers, tally.lost);
    assert_eq!(failed(&tally), 0, "{tally:?}");
}

#[test]
fn a_killed_instance_costs_what_it_had_in_its_hands() {
    let [one, two, three] = Instance::several(4);
    let section = Section::new().stock([&one, &two, &three], CHECK);
    let _fourmi = start(&section);
    let front = haproxy(&section, "_stock._tcp.service.consul");
    answers(&front);
    let load = Load::on(front.port, CALLERS, REQUEST);
    are_used(&load, &[&one, &two, &three], &[]);
    let first = one.dies();
    are_used(&load, &[&two, &three], &[]);
    until("the answers have it no more", || {
        fourmi_tests::dns::addresses(section.at, "stock.service.consul").is_some_and(|all| all.len() == 2)
    });
    are_used(&load, &[&two, &three], &[]);
    let second = two.dies();
    are_used(&load, &[&three], &[]);
    until("the answers have it no more", || {
        fourmi_tests::dns::addresses(section.at, "stock.service.consul").is_some_and(|all| all.len() == 1)
    });
    are_used(&load, &[&three], &[]);
    let tally = load.stop();
    println!(
        "{} requests, {:?}, {} without an answer; in hand: {first} and {second}",
        tally.sent(),
        tally.answers,
        tally.lost
    );
    // A caller has one request at a time, so each death can have cost each of them one.
    assert!(failed(&tally) <= 2 * CALLERS as u64, "{tally:?}");
}

#[test]
fn addresses_are_followed_as_well() {
    let [one, two] = Instance::several(4);
    let section = Section::new().stock([&one], CHECK);
    let fourmi = start(&section);
    let front = haproxy(&section, &format!("stock.service.consul:{}", one.at.port()));
    answers(&front);
    let load = Load::on(front.port, CALLERS, REQUEST);
    are_used(&load, &[&one], &[&two]);
    section.becomes(&fourmi, &Section::at(section.at).stock([&one, &two], CHECK));
    are_used(&load, &[&one, &two], &[]);
    section.becomes(&fourmi, &Section::at(section.at).stock([&two], CHECK));
    are_used(&load, &[&two], &[&one]);
    let tally = load.stop();
    println!("{} requests, {:?}, {} without an answer", tally.sent(), tally.answers, tally.lost);
    assert_eq!(failed(&tally), 0, "{tally:?}");
}
