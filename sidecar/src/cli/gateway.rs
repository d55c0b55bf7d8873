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
        Ok(all) if global.json() => out::json(&all),
        Ok(all) => out::result(&consumer_table(&all)),
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
    for c in all["counters"].as_array().into_iter().flatten() {
        for (period, p) in c["periods"].as_object().into_iter().flatten() {
            rows.push([
                c["plugin"].as_str().unwrap_or("rate-limiting").to_owned(),
                words(&c["route"]).to_owned(),
                words(&c["service"]).to_owned(),
                words(&c["by"]).to_owned(),
                words(&c["identifier"]).to_owned(),
                period.clone(),
                p["used"].to_string(),
                p["limit"].to_string(),
                format!("{}s", p["reset"]),
            ]);
        }
    }
    let mut table = out::aligned(&rows);
    for server in all["redis"].as_array().into_iter().flatten().filter(|s| s["reachable"] == false) {
        let _ = writeln!(table, "redis {}: away: {}", words(&server["server"]), words(&server["last_error"]));
    }
    table
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
        let all = json!({
            "counters": [{"route": "r", "service": null, "by": "consumer", "identifier": "c", "periods": {"minute": {"limit": 5, "used": 2, "reset": 30}}}],
            "redis": [{"server": "redis:6379", "reachable": false, "last_error": "refused"}, {"server": "b", "reachable": true}],
        });
        assert_eq!(
            limit_table(&all),
            "LIMIT          ROUTE  SERVICE  BY        IDENTIFIER  PERIOD  USED  OF  RESET\n\
             rate-limiting  r      -        consumer  c           minute  2     5   30s\nredis redis:6379: away: refused\n"
        );
    }
}
