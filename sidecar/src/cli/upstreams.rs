//! `fourmi upstreams`: services and instances of a running Fourmi, and one taken in or out by hand.

use super::args::{Global, HandWord};
use super::client::{self, Target};
use super::out;
use serde_json::Value;
use std::fmt::Write as _;

/// The answer to a question, or the exit code.
pub(super) fn asked(target: &Target, method: &str, path: &str) -> Result<Value, u8> {
    let answer = client::answer(target, method, path)?;
    serde_json::from_str(&answer).map_err(|_| {
        out::note(&format!("error: {path} answered something else than JSON; is this the admin port?"));
        1
    })
}

/// Every service and instance, a line each.
pub(crate) fn list(global: &Global, target: &Target) -> u8 {
    match asked(target, "GET", "/api/v1/upstreams") {
        Err(code) => code,
        Ok(all) if global.json() => out::json(&all),
        Ok(all) => out::result(&table(&all)),
    }
}

/// Takes an instance in or out by hand, or all of a service.
pub(crate) fn set(global: &Global, target: &Target, word: HandWord, service: &str, instance: Option<&str>) -> u8 {
    let mut path = format!("/api/v1/upstreams/health?service={}&state={}", encoded(service), word.as_str());
    if let Some(instance) = instance {
        let _ = write!(path, "&instance={}", encoded(instance));
    }
    match asked(target, "POST", &path) {
        Err(code) => code,
        Ok(now) if global.json() => out::json(&now),
        Ok(now) => {
            let lines = now.as_array().into_iter().flatten().map(|i| row(service, i)).collect();
            out::result(&aligned(lines))
        }
    }
}

/// What a running Fourmi would do with a command to this service now; none when nobody answers, null when it knows no
/// such service.
pub(crate) fn explained(target: &Target, service: &str, path: &str, headers: &[String]) -> Option<Value> {
    let path = format!(
        "/api/v1/upstreams/explain?service={}&target={}&headers={}",
        encoded(service),
        encoded(path),
        encoded(&headers.join("\n"))
    );
    let answer = client::quiet_answer(target, &path)?;
    match answer.status {
        404 => Some(Value::Null),
        _ => answer.good().then(|| serde_json::from_str(&answer.body).ok()).flatten(),
    }
}

/// The same for people.
pub(crate) fn explained_text(now: &Value) -> String {
    let mut out = String::new();
    let none = now["refuses"].as_str().map_or("none can be used".to_owned(), |why| format!("none: {why}"));
    let picked = now["picked"].as_str().map_or(none, str::to_owned);
    let _ = writeln!(out, "{:<10} {picked}, by {}", "now", words(&now["algorithm"]));
    for i in now["instances"].as_array().into_iter().flatten() {
        let latency = i["latency_ms"].as_f64().map_or("latency unknown".to_owned(), |ms| format!("{ms} ms"));
        let _ = writeln!(
            out,
            "{:<10} {}: {}, {} in flight, {latency}, weight {}: {}",
            "",
            words(&i["address"]),
            words(&i["state"]),
            i["in_flight"],
            i["weight"],
            words(&i["why"])
        );
    }
    out
}

pub(super) fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

const HEAD: [&str; 8] = ["SERVICE", "INSTANCE", "STATE", "WEIGHT", "IN-FLIGHT", "LATENCY", "EJECTIONS", "LAST-FAILURE"];

fn table(all: &Value) -> String {
    let mut lines = Vec::new();
    let mut notes = String::new();
    for service in all.as_array().into_iter().flatten() {
        let name = words(&service["service"]);
        lines.extend(service["instances"].as_array().into_iter().flatten().map(|i| row(name, i)));
        if let Some(why) = service["refuses"].as_str() {
            let _ = writeln!(notes, "{name}: refuses commands: {why}");
        }
        if let Some(n @ 1..) = service["waiting"].as_u64() {
            let _ = writeln!(notes, "{name}: {n} commands wait for room (concurrency)");
        }
        for trouble in service["troubles"].as_array().into_iter().flatten() {
            let (host, why) = (words(&trouble["name"]), words(&trouble["why"]));
            let _ = writeln!(notes, "{name}: {host} cannot be looked up: {why}");
        }
    }
    aligned(lines) + &notes
}

fn row(service: &str, i: &Value) -> [String; 8] {
    let latency = i["latency_ms"].as_f64().filter(|ms| *ms > 0.0).map_or("-".to_owned(), |ms| format!("{ms}ms"));
    [
        service.to_owned(),
        words(&i["address"]).to_owned(),
        words(&i["state"]).to_owned(),
        i["weight"].to_string(),
        i["in_flight"].to_string(),
        latency,
        i["ejections"].to_string(),
        match (i["last_failure"].as_str(), i["last_failure_seconds_ago"].as_f64()) {
            (Some(why), Some(ago)) => format!("{why} ({ago:.0}s ago)"),
            (why, _) => why.unwrap_or("-").to_owned(),
        },
    ]
}

fn aligned(lines: Vec<[String; 8]>) -> String {
    let rows: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_owned)).chain(lines).collect();
    super::out::aligned(&rows)
}

/// A query value.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_line_up_and_values_are_encoded() {
        let all = json!([{
            "service": "stock", "refuses": "the circuit breaker is open", "waiting": 2, "troubles": [{"name": "stock.test", "why": "SERVFAIL"}],
            "instances": [
                {"address": "http://10.0.0.7:8080", "state": "healthy", "weight": 100, "in_flight": 3,
                 "latency_ms": 1.25, "ejections": 0, "last_failure": null},
                {"address": "http://a:1", "state": "ejected", "weight": 5, "in_flight": 0, "latency_ms": 0.0,
                 "ejections": 12, "last_failure": "a timeout, 3 in a row", "last_failure_seconds_ago": 4.2},
            ],
        }]);
        assert_eq!(
            table(&all),
            "SERVICE  INSTANCE              STATE    WEIGHT  IN-FLIGHT  LATENCY  EJECTIONS  LAST-FAILURE\n\
             stock    http://10.0.0.7:8080  healthy  100     3          1.25ms   0          -\n\
             stock    http://a:1            ejected  5       0          -        12         a timeout, 3 in a row (4s ago)\n\
             stock: refuses commands: the circuit breaker is open\n\
             stock: 2 commands wait for room (concurrency)\n\
             stock: stock.test cannot be looked up: SERVFAIL\n"
        );
        assert_eq!(encoded("unix:/run/a b&c.sock"), "unix:/run/a%20b%26c.sock");
    }
}
