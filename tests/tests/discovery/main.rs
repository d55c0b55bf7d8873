//! The registry as its users meet it: names asked by the programs of others, commands to services by name, instances
//! that come, go, fall sick and die.

mod asking;
mod commands;
mod counts;
mod going;
mod hostile;

use fourmi_tests::{Fourmi, Instance, Section, Setup, dns, eventually};

/// A check every second, which is the most often there is.
const CHECK: &str = "{http: /healthz, interval: 1s}";

/// Fourmi with this registry and an outbound listener.
#[track_caller]
fn with(section: &Section) -> Fourmi {
    Setup::alone().outbound("").more(&section.yaml()).start()
}

/// A command to this host, on a connection of its own: status and body.
#[track_caller]
fn command(fourmi: &Fourmi, host: &str) -> (u16, String) {
    let request = format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = fourmi.outbound().send(request).answer();
    (answer.status(), answer.text())
}

/// Waits until a name has these addresses.
#[track_caller]
fn has(section: &Section, name: &str, instances: &[&Instance]) {
    let wanted: Vec<String> = instances.iter().map(|i| i.a()).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let mut last = dns::Reply::default();
    eventually(&format!("{name} has {wanted:?}"), || {
        last = dns::dig(section.at, name, "A");
        last.is(&wanted).then_some(())
    });
}

/// Waits until commands to a host go to these instances alone, and to each of them.
#[track_caller]
fn goes_to(fourmi: &Fourmi, host: &str, instances: &[&Instance]) {
    eventually(&format!("commands to {host} go to these {} alone", instances.len()), || {
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..8 * instances.len() {
            let (status, id) = command(fourmi, host);
            if status != 200 || !instances.iter().any(|i| i.id == id) {
                return None;
            }
            seen.push(id);
        }
        instances.iter().all(|i| seen.contains(&i.id)).then_some(())
    });
}
