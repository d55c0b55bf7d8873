//! Many instances of one service, none of which is trusted: who is chosen, who is left alone, and who comes back.

mod choice;
mod goodbye;
mod health;
mod proxies;
mod told;

use fourmi_tests::{Fourmi, Worker};
use serde_json::Value;

/// A worker that answers with its own name.
fn named(name: &'static str) -> Worker {
    Worker::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len()))
}

/// A service as the admin API shows it.
#[track_caller]
fn shown(fourmi: &Fourmi, service: &str) -> Value {
    let all = fourmi.admin("GET", "/api/v1/upstreams").json();
    let found = all.as_array().unwrap().iter().find(|s| s["service"] == service).cloned();
    found.unwrap_or_else(|| panic!("no service {service}: {all}"))
}

/// One of its instances.
#[track_caller]
fn one(fourmi: &Fourmi, service: &str, address: &str) -> Value {
    let all = shown(fourmi, service);
    let found = all["instances"].as_array().unwrap().iter().find(|i| i["address"] == address).cloned();
    found.unwrap_or_else(|| panic!("no instance {address}: {all}"))
}

/// What would be picked, and why.
#[track_caller]
fn explained(fourmi: &Fourmi, service: &str) -> Value {
    fourmi.admin("GET", &format!("/api/v1/upstreams/explain?service={service}")).json()
}

/// Why an instance would be picked or not.
#[track_caller]
fn why(fourmi: &Fourmi, service: &str, address: &str) -> String {
    let all = explained(fourmi, service);
    let found = all["instances"].as_array().unwrap().iter().find(|i| i["address"] == address).cloned();
    found.unwrap_or_else(|| panic!("no instance {address}: {all}"))["why"].as_str().unwrap().to_owned()
}

/// By hand.
#[track_caller]
fn hand(fourmi: &Fourmi, service: &str, instance: &str, state: &str) {
    let path = format!("/api/v1/upstreams/health?service={service}&instance={instance}&state={state}");
    let answer = fourmi.admin("POST", &path);
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

/// Sends a GET to an outbound service on a connection of its own: status and body.
#[track_caller]
fn ask(fourmi: &Fourmi, service: &str) -> (u16, String) {
    let answer = fourmi.outbound().send(format!("GET / HTTP/1.1\r\nHost: {service}\r\n\r\n")).answer();
    (answer.status(), answer.text())
}
