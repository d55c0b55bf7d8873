//! The running Fourmi, as its admin listener tells.

use super::Asked;
use super::line::{ADMIN, INSTANCES, Line, Mark, READY, RELOAD, SAME, VERSION};
use crate::config::Loaded;
use serde_json::{Map, Value};

/// Keys that are named where two configurations differ.
const DIFFERENCES_MAX: usize = 5;

/// What it says, and whether it can be asked for more.
pub(super) fn lines(place: &Asked<'_>, loaded: Option<&Loaded>) -> (Vec<Line>, bool) {
    let status = match get(place, "/api/v1/status") {
        Ok(status) if status["version"].is_string() => status,
        Ok(_) => return (vec![ADMIN.failed("", format!("what answers at {} is no Fourmi", place.name))], false),
        Err(why) => {
            let advice = "is Fourmi running? name another listener with --admin URL, or look before the start: --pre";
            return (vec![ADMIN.failed("", format!("{why}; {advice}"))], false);
        }
    };
    let mut lines = vec![ADMIN.ok("", format!("http://{} answers, on {}", place.name, words(&status["config"])))];
    lines.push(version(&words(&status["version"])));
    let same = loaded.map(|loaded| same(place, &loaded.shown.json()["values"]));
    let is_same = same.as_ref().is_some_and(|line| line.mark == Mark::Ok);
    lines.extend(same);
    lines.extend(restart(&status["needs_restart"]));
    lines.push(reload(&status["last_reload_error"], is_same));
    match get_any(place, "/readyz") {
        Ok(ready) => {
            let away = status["registry_away_seconds"].as_u64().is_some();
            lines.extend(list(&ready["parts"]).iter().map(|one| part(one, away)));
        }
        Err(why) => lines.push(READY.failed("", why)),
    }
    match get(place, "/api/v1/upstreams") {
        Ok(services) => {
            let own = words(&status["service"]);
            lines.extend(list(&services).iter().filter_map(|s| instances(s, &own)));
        }
        Err(why) => lines.push(INSTANCES.failed("", why)),
    }
    (lines, true)
}

/// An answer that must be 2xx.
pub(super) fn get(place: &Asked<'_>, path: &str) -> Result<Value, String> {
    asked(place, path, false)
}

/// An answer whose status does not matter.
fn get_any(place: &Asked<'_>, path: &str) -> Result<Value, String> {
    asked(place, path, true)
}

fn asked(place: &Asked<'_>, path: &str, any: bool) -> Result<Value, String> {
    let url = format!("http://{}{path}", place.name);
    let answer = (place.ask)(path).map_err(|why| format!("{url}: {why}"))?;
    match serde_json::from_str(&answer.body) {
        Ok(value) if any || answer.good() => Ok(value),
        Ok(problem) => Err(format!("{url} answered {}: {}", answer.status, words(&problem["detail"]))),
        Err(_) => Err(format!("{url} answered {} and nothing that is JSON", answer.status)),
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn version(running: &str) -> Line {
    let ours = env!("CARGO_PKG_VERSION");
    match running == ours {
        true => VERSION.ok("", format!("{ours}, as this program")),
        false => VERSION.warning("", format!("{running} runs, this program is {ours}: restart it to use the new one")),
    }
}

fn same(place: &Asked<'_>, ours: &Value) -> Line {
    let running = match get(place, "/api/v1/config") {
        Ok(config) => config,
        Err(why) => return SAME.failed("", why),
    };
    differing(ours, &running["values"])
}

fn differing(ours: &Value, running: &Value) -> Line {
    let mut keys = Vec::new();
    differences(ours, running, "", &mut keys);
    if keys.is_empty() {
        return SAME.ok("", "what runs is what the configuration says");
    }
    let more = keys.len().saturating_sub(DIFFERENCES_MAX);
    keys.truncate(DIFFERENCES_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    SAME.warning(
        "",
        format!(
            "what runs differs at {}{more}: `fourmi reload` takes the file over; if it stays so, the environment \
             here is another, or a different Fourmi was asked",
            keys.join(", ")
        ),
    )
}

/// The paths at which two configurations differ.
fn differences(a: &Value, b: &Value, path: &str, out: &mut Vec<String>) {
    match (a, b) {
        _ if a == b => {}
        (Value::Object(a), Value::Object(b)) => {
            let under = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let missing = |from: &Map<String, Value>, key: &str| from.get(key).cloned().unwrap_or(Value::Null);
            a.iter().for_each(|(key, value)| differences(value, &missing(b, key), &under(key), out));
            let only = b.iter().filter(|(key, value)| !a.contains_key(*key) && !value.is_null());
            out.extend(only.map(|(key, _)| under(key)));
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| differences(a, b, &format!("{path}[{i}]"), out));
        }
        _ => out.push(path.to_owned()),
    }
}

/// A reload that was refused is past when what runs is what the file says now.
fn reload(error: &Value, is_same: bool) -> Line {
    match error.as_str() {
        None => RELOAD.ok("", "none was refused"),
        Some(why) => {
            let why = why.lines().next().unwrap_or_default();
            let mark = if is_same { Mark::Warning } else { Mark::Failed };
            RELOAD.line(mark, "", format!("the last one was refused: {why}; correct the file, then `fourmi reload`"))
        }
    }
}

/// What a reload has read and does not follow.
fn restart(keys: &Value) -> Option<Line> {
    let keys: Vec<String> = list(keys).iter().map(words).collect();
    (!keys.is_empty()).then(|| SAME.warning("", format!("{} hold only after a restart", keys.join(", "))))
}

/// A registry that is cut off answers what it knew, which is well for now.
fn part(part: &Value, away: bool) -> Line {
    let mark = match part["ready"] == true {
        true if away && part["name"] == "registry" => Mark::Warning,
        true => Mark::Ok,
        false => Mark::Failed,
    };
    READY.line(mark, words(&part["name"]), words(&part["detail"]))
}

/// Only the own worker must be there for Fourmi to be well.
fn instances(service: &Value, own: &str) -> Option<Line> {
    let name = words(&service["service"]);
    let all = list(&service["instances"]);
    let down: Vec<String> = all.iter().filter(|i| i["ready"] != true).map(standing).collect();
    let up = all.len() - down.len();
    let trouble = list(&service["troubles"]).first();
    let detail = match (trouble, down.is_empty()) {
        (Some(t), _) if all.is_empty() => {
            format!("no instance is known: {} cannot be looked up: {}", words(&t["name"]), words(&t["why"]))
        }
        (Some(t), true) => {
            format!("{up} of {up} ready, but {} cannot be looked up: {}", words(&t["name"]), words(&t["why"]))
        }
        (_, true) => format!("{up} of {up} ready"),
        (_, false) => format!("{up} of {} ready; not: {}", all.len(), down.join(", ")),
    };
    let detail = match service["refuses"].as_str() {
        Some(why) => format!("{detail}; commands are refused: {why}"),
        None => detail,
    };
    let mark = match (down.is_empty(), up) {
        (true, 1..) if trouble.is_none() && service["refuses"].is_null() => Mark::Ok,
        (_, 0) if name == own => Mark::Failed,
        _ => Mark::Warning,
    };
    (!all.is_empty() || trouble.is_some()).then(|| INSTANCES.line(mark, name, detail))
}

/// An instance that is not ready, and why as far as that is known.
fn standing(instance: &Value) -> String {
    let address = words(&instance["address"]);
    match (instance["state"].as_str(), instance["last_failure"].as_str()) {
        (Some(state), Some(why)) => format!("{address} ({state}: {why})"),
        (Some(state), None) => format!("{address} ({state})"),
        (None, _) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_named() {
        let ours = json!({"a": 1, "b": {"c": [1, {"d": 2}]}, "e": null, "f": [1]});
        assert_eq!(differing(&ours, &ours).mark, Mark::Ok);
        let mut keys = Vec::new();
        differences(&ours, &json!({"a": 2, "b": {"c": [1, {"d": 3}]}, "f": [1, 2], "g": 1, "h": null}), "", &mut keys);
        assert_eq!(keys, ["a", "b.c[1].d", "f", "g"]);
        let many: Map<String, Value> = (0..9).map(|n| (format!("k{n}"), n.into())).collect();
        let line = differing(&many.into(), &json!({}));
        assert!(line.mark == Mark::Warning && line.detail.contains("k4 and 4 more"), "{}", line.detail);
    }

    #[test]
    fn what_answers_say() {
        assert_eq!(version("0.0.0-old").mark, Mark::Warning);
        assert_eq!(reload(&Value::Null, false).mark, Mark::Ok);
        assert_eq!(reload(&json!("f:1: bad\nmore"), false).mark, Mark::Failed);
        assert_eq!(reload(&json!("f:1: bad"), true).mark, Mark::Warning);
        assert_eq!(part(&json!({"name": "worker", "ready": false, "detail": "0 of 1"}), true).mark, Mark::Failed);
        let registry = json!({"name": "registry", "ready": true, "detail": "etcd is away for 3 s"});
        assert_eq!([true, false].map(|away| part(&registry, away).mark), [Mark::Warning, Mark::Ok]);
        assert!(restart(&json!([])).is_none() && restart(&json!(null)).is_none());
        let line = restart(&json!(["discovery.node", "discovery.dns.listen"])).unwrap();
        assert!(line.mark == Mark::Warning && line.detail.starts_with("discovery.node, discovery.dns.listen hold"));
        let service = |name: &str, up: &[bool]| {
            let instances: Vec<Value> = up.iter().map(|up| json!({"address": "http://x", "ready": up})).collect();
            instances_of(&json!({"service": name, "instances": instances}))
        };
        fn instances_of(service: &Value) -> Option<Mark> {
            instances(service, "own").map(|line| line.mark)
        }
        assert_eq!(service("own", &[true, true]), Some(Mark::Ok));
        assert_eq!(service("own", &[false, true]), Some(Mark::Warning));
        assert_eq!(service("own", &[false]), Some(Mark::Failed));
        assert_eq!(service("stock", &[false]), Some(Mark::Warning));
        assert_eq!(service("stock", &[]), None);
        let gone = json!({
            "service": "stock", "instances": [], "troubles": [{"name": "stock.test", "why": "SERVFAIL"}],
        });
        let line = instances(&gone, "own").unwrap();
        assert!(line.mark == Mark::Warning && line.detail.contains("stock.test") && line.detail.contains("SERVFAIL"));
        let ejected = json!({"service": "stock", "instances": [
            {"address": "http://a", "ready": false, "state": "ejected", "last_failure": "a timeout, 3 in a row"},
        ]});
        let line = instances(&ejected, "own").unwrap();
        assert!(line.detail.ends_with("not: http://a (ejected: a timeout, 3 in a row)"), "{}", line.detail);
    }
}
