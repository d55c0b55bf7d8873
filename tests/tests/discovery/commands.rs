//! Commands through the outbound listener go where the registry says.

use super::{CHECK, command, goes_to, has, with};
use fourmi_tests::h2::{H2Worker, Pieces};
use fourmi_tests::{Instance, Section, Setup, Worker, dns, until};
use std::collections::BTreeMap;

/// How many of so many commands went to whom.
#[track_caller]
fn shares(fourmi: &fourmi_tests::Fourmi, host: &str, commands: usize) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    let mut client = fourmi.outbound();
    for _ in 0..commands {
        let answer = client.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer();
        assert_eq!(answer.status(), 200, "{}", answer.text());
        *shares.entry(answer.text()).or_default() += 1;
    }
    shares
}

#[test]
fn a_service_is_reached_by_every_form_of_its_name() {
    let [one, two] = Instance::several(0);
    let fourmi = with(&Section::new().stock([&one, &two], CHECK));
    for host in ["stock", "stock.service.fourmi", "stock.service.dc1.consul", "STOCK.service.consul:80"] {
        goes_to(&fourmi, host, &[&one, &two]);
    }
    // The service sees the host that was asked for.
    assert_eq!(command(&fourmi, "stock.service.consul").0, 200);
    let hosts = [&one, &two].map(|i| i.last().header("host").unwrap_or_default().to_owned());
    assert!(hosts.contains(&"stock.service.consul".into()), "{hosts:?}");
}

#[test]
fn an_unknown_name_is_told_which_there_are() {
    let [one] = Instance::several(0);
    let section = Section::new().stock([&one], "").service("{name: mail, port: 25}");
    let fourmi = Setup::alone().outbound("{bill: {address: \"http://127.0.0.1:9\"}}").more(&section.yaml()).start();
    until("the service is there", || command(&fourmi, "stock").0 == 200);
    for host in ["nobody.service.fourmi", "nobody.service.dc1.consul"] {
        let (status, text) = command(&fourmi, host);
        assert_eq!(status, 404, "{text}");
        assert!(text.contains("no service is called nobody; known: bill, mail, stock"), "{text}");
    }
}

#[test]
fn weights_and_priorities_hold() {
    let [one, two, spare] = Instance::several(0);
    let section = Section::new()
        .service(one.registered_with("stock", CHECK, ", weights: {passing: 3}"))
        .service(two.registered_with("stock", CHECK, ", weights: {passing: 1, warning: 1}"))
        .service(spare.registered_with("stock", CHECK, ", priority: 2"));
    let fourmi = Setup::alone().outbound("{stock: {algorithm: round-robin}}").more(&section.yaml()).start();
    has(&section, "stock.service.consul", &[&one, &two, &spare]);
    goes_to(&fourmi, "stock", &[&one, &two]);
    let shares = shares(&fourmi, "stock", 400);
    println!("weights 3 and 1 of 400 commands: {shares:?}");
    assert!((270..=330).contains(&shares["s1"]), "{shares:?}");
    assert!(!shares.contains_key("s3"), "{shares:?}");
    // Nobody of the first priority is left.
    one.feels(500);
    two.feels(500);
    goes_to(&fourmi, "stock", &[&spare]);
    two.feels(200);
    goes_to(&fourmi, "stock", &[&two]);
}

#[test]
fn weights_hold_without_a_word_in_the_file() {
    let [one, two] = Instance::several(2);
    let section = Section::new()
        .service(one.registered_with("stock", "", ", weights: {passing: 8}"))
        .service(two.registered("stock", ""));
    let fourmi = with(&section);
    goes_to(&fourmi, "stock", &[&one, &two]);
    // The better of two drawn by weight: the heavier has even more than its share.
    let shares = shares(&fourmi, "stock", 300);
    println!("weights 8 and 1 of 300 commands: {shares:?}");
    assert!(shares["s1"] > 200, "{shares:?}");
}

#[test]
fn who_fails_its_check_leaves_names_and_commands_and_comes_back() {
    let [one, two, three] = Instance::several(0);
    let section = Section::new().stock([&one, &two, &three], CHECK);
    let fourmi = with(&section);
    has(&section, "stock.service.consul", &[&one, &two, &three]);
    goes_to(&fourmi, "stock", &[&one, &two, &three]);
    // A warning leaves nobody out.
    one.feels(429);
    fourmi.counts("fourmi_instances", &[("service", "stock"), ("state", "warning")], 1.0);
    has(&section, "stock.service.consul", &[&one, &two, &three]);
    one.feels(503);
    has(&section, "stock.service.consul", &[&two, &three]);
    goes_to(&fourmi, "stock", &[&two, &three]);
    let reply = dns::dig(section.at, "stock.skydns.local", "A");
    assert!(reply.is(&[&two.a(), &three.a()]), "{}", reply.said);
    one.feels(200);
    has(&section, "stock.service.consul", &[&one, &two, &three]);
    goes_to(&fourmi, "stock", &[&one, &two, &three]);
}

#[test]
fn a_configured_service_without_an_address_takes_those_of_the_registry() {
    let [one, two] = Instance::several(0);
    let section = Section::new().stock([&one, &two], CHECK);
    let plugin = "{name: request-transformer, config: {add: {headers: [\"x-from:fourmi\"]}}}";
    let services = format!("{{stock: {{algorithm: round-robin, plugins: [{plugin}]}}}}");
    let fourmi = Setup::alone().outbound(services).more(&section.yaml()).start();
    goes_to(&fourmi, "stock.service.consul", &[&one, &two]);
    let shares = shares(&fourmi, "stock", 40);
    assert_eq!(shares.values().copied().collect::<Vec<_>>(), [20, 20], "{shares:?}");
    // What the file says of the service holds for them.
    assert_eq!(one.last().header("x-from"), Some("fourmi"));
    // Until the registry knows somebody else.
    let other = Section::at(section.at).stock([&two], CHECK);
    section.becomes(&fourmi, &other);
    goes_to(&fourmi, "stock", &[&two]);
}

#[test]
fn a_reload_adds_and_removes_services() {
    let [one, two, three] = Instance::several(0);
    let section = Section::new().stock([&one, &two], CHECK);
    let fourmi = with(&section);
    has(&section, "stock.service.consul", &[&one, &two]);
    goes_to(&fourmi, "stock", &[&one, &two]);
    assert_eq!(command(&fourmi, "mail.service.fourmi").0, 404);
    let other = Section::at(section.at).stock([&two], CHECK).service(three.registered("mail", CHECK));
    section.becomes(&fourmi, &other);
    has(&section, "mail.service.consul", &[&three]);
    has(&section, "stock.service.consul", &[&two]);
    goes_to(&fourmi, "mail.service.fourmi", &[&three]);
    goes_to(&fourmi, "stock", &[&two]);
    section.becomes(&fourmi, &Section::at(section.at).service(three.registered("mail", CHECK)));
    has(&section, "stock.service.consul", &[]);
    until("stock is unknown", || command(&fourmi, "stock.service.fourmi").0 == 404);
    goes_to(&fourmi, "mail", &[&three]);
}

#[test]
fn meta_says_how_an_instance_is_spoken_to_and_its_address_may_be_a_name() {
    let (one, two) = (Worker::echo(), H2Worker::replying(|_| http::Response::new(Pieces::of("by HTTP/2"))));
    let port = two.address().rsplit(':').next().unwrap().to_owned();
    let section = Section::new()
        .service(format!("{{name: named, address: localhost, port: {}}}", one.port()))
        .service(format!("{{name: newer, address: 127.0.0.1, port: {port}, meta: {{scheme: h2c}}}}"))
        .service("{name: portless, address: 127.0.0.1}");
    let fourmi = with(&section);
    until("a name is looked up", || command(&fourmi, "named.service.fourmi").0 == 200);
    assert_eq!(command(&fourmi, "newer"), (200, "by HTTP/2".into()));
    // Names know it, commands cannot go there.
    assert!(dns::dig(section.at, "portless.service.consul", "A").is(&["A 127.0.0.1"]));
    let (status, text) = command(&fourmi, "portless.service.fourmi");
    assert_eq!(status, 503, "{text}");
}
