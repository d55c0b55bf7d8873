//! `fourmi consumers` and `fourmi limits`: who may call a running Fourmi, and how much of their limits is used.

use super::args::Global;
use super::client::Target;
use super::out;
use super::upstreams::{asked, encoded, words};
use serde_json::Value;
use std::fmt::Write as _;

/// Every consumer, a line each.
pub(crate) fn consumers(global: &Global, target: &Target, like: Option<&str>) -> u8 {
    let path = like.map_or_else(String::new, |like| format!("?name={}", encoded(like)));
    match asked(target, "GET", &format!("/api/v1/gateway/consumers{path}")) {
        Err(code) => code,
        Ok(all) => {
            let code = match global.json() {
                true => out::json(&all),
                false if nobody(&all) && like.is_some() => 0,
                false => out::result(&consumer_table(&all)),
            };
            match like.filter(|_| nobody(&all)) {
                Some(like) => {
                    out::note(&format!(
                        "error: no consumer's username, custom_id or id holds {like:?}; fourmi consumers lists all"
                    ));
                    1
                }
                None => code,
            }
        }
    }
}

/// Every counter, the one nearest to its limit first.
pub(crate) fn limits(global: &Global, target: &Target) -> u8 {
    match asked(target, "GET", "/api/v1/limits") {
        Err(code) => code,
        Ok(all) if global.json() => out::json(&all),
        Ok(all) => out::result(&limit_table(&all)),
    }
}

fn nobody(all: &Value) -> bool {
    all["consumers"].as_array().is_none_or(Vec::is_empty)
}

fn consumer_table(all: &Value) -> String {
    let mut rows = vec![["USERNAME".to_owned(), "CUSTOM-ID".into(), "GROUPS".into(), "ID".into()]];
    for c in all["consumers"].as_array().into_iter().flatten() {
        let groups: Vec<&str> = c["groups"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let groups = if groups.is_empty() { "-".to_owned() } else { groups.join(",") };
        rows.push([
            words(&c["username"]).to_owned(),
            words(&c["custom_id"]).to_owned(),
            groups,
            words(&c["id"]).to_owned(),
        ]);
    }
    more(out::aligned(&rows), &all["more"])
}

fn limit_table(all: &Value) -> String {
    let mut rows =
        vec![["LIMIT", "ROUTE", "SERVICE", "BY", "IDENTIFIER", "PERIOD", "USED", "OF", "RESET"].map(str::to_owned)];
    let counters = all["counters"].as_array().map(Vec::as_slice).unwrap_or_default();
    for c in counters {
        let [limit, route, service, by, identifier] = bound(c);
        let sliding = if c["window"] == "sliding" { ", sliding" } else { "" };
        for (period, p) in c["periods"].as_object().into_iter().flatten() {
            rows.push([
                limit.clone(),
                route.clone(),
                service.clone(),
                by.clone(),
                identifier.clone(),
                format!("{period}{sliding}"),
                p["used"].to_string(),
                p["limit"].to_string(),
                format!("{}s", p["reset"]),
            ]);
        }
    }
    let mut table = out::aligned(&rows);
    if let Some(n @ 1..) = all["identifiers"].as_u64().and_then(|all| all.checked_sub(counters.len() as u64)) {
        let _ = writeln!(table, "and {n} more identifiers, further from their limits");
    }
    let mut rows = vec![["LINE", "ROUTE", "SERVICE", "BY", "IDENTIFIER", "WAITING"].map(str::to_owned)];
    for line in all["waiting"].as_array().into_iter().flatten() {
        let [limit, route, service, by, identifier] = bound(line);
        rows.push([limit, route, service, by, identifier, line["waiting"].to_string()]);
    }
    if rows.len() > 1 {
        let _ = write!(table, "\n{}", out::aligned(&rows));
    }
    for server in all["redis"].as_array().into_iter().flatten().filter(|s| s["reachable"] == false) {
        let _ = writeln!(table, "redis {}: away: {}", words(&server["server"]), words(&server["last_error"]));
    }
    table
}

/// Which limit it is, and whom it counts: by their names, where they have some.
fn bound(counter: &Value) -> [String; 5] {
    let called = |part: &str| {
        let name = counter[format!("{part}_name")].as_str();
        name.unwrap_or_else(|| words(&counter[part])).to_owned()
    };
    let middleware = words(&counter["middleware"]);
    let limit = counter["name"].as_str().map_or_else(|| middleware.to_owned(), |name| format!("{middleware} {name}"));
    [limit, called("route"), called("service"), words(&counter["by"]).to_owned(), called("identifier")]
}

fn more(mut table: String, more: &Value) -> String {
    if let Some(n @ 1..) = more.as_u64() {
        let _ = writeln!(table, "and {n} more; name a part of those that are meant");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables() {
        let all = json!({"more": 3, "consumers": [
            {"username": "shop", "custom_id": null, "id": "1-2", "groups": ["a", "b"]},
            {"username": null, "custom_id": "other", "id": "3", "groups": []},
        ]});
        assert_eq!(
            consumer_table(&all),
            "USERNAME  CUSTOM-ID  GROUPS  ID\nshop      -          a,b     1-2\n-         other      -       3\n\
             and 3 more; name a part of those that are meant\n"
        );
        // What the API sends; a test against a running Fourmi looks that its keys are these.
        let all = serde_json::from_str(include_str!("limits.json")).unwrap();
        assert_eq!(
            limit_table(&all),
            "LIMIT                        ROUTE  SERVICE                               BY        IDENTIFIER  PERIOD           USED  OF  RESET\n\
             rate-limiting                all    orders                                consumer  small       minute           4     5   30s\n\
             rate-limiting                all    orders                                consumer  small       hour             4     50  1830s\n\
             response-ratelimiting video  -      0c61e227-e52a-5d6a-9c15-2f1d0b4a1a35  ip        10.0.0.1    minute, sliding  2     9   30s\n\
             and 3 more identifiers, further from their limits\n\
             \n\
             LINE          ROUTE  SERVICE  BY       IDENTIFIER  WAITING\n\
             rate-shaping  -      mail     service  mail        7\n\
             redis redis:6379: away: refused\n"
        );
    }
}
