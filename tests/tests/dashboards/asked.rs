//! Every query of every dashboard is asked where the order system runs, of the programs that people run: a query without
//! data is a panel that stays empty.

use super::orders::{Orders, Receivers, Troubled};
use super::{Dashboard, folder, text};
use fourmi_tests::patience::patience;
use fourmi_tests::peers::{self, Carbon, GraphiteWeb, Peer};
use fourmi_tests::{StatsdServer, run_fourmi};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[test]
fn every_query_of_every_dashboard_has_data() {
    let web = fourmi_tests::free_port();
    let carbon = Carbon::tagged(web);
    let graphite = GraphiteWeb::on(web, &carbon);
    // Each dialect has a StatsD of its own: an address is told once.
    let (plain, _management) = peers::statsd_to_graphite(carbon.port());
    let (tagged, _management) = peers::statsd_to_graphite(carbon.port());
    let datadog = StatsdServer::start();
    let receivers = Receivers { plain: plain.port, graphite: tagged.port, datadog: datadog.port() };
    let mut orders = Orders::start(receivers);
    let troubled = Troubled::start(receivers);
    let mut admins = orders.admins();
    admins.push(troubled.fourmi.admin_port());
    let prometheus = peers::prometheus_of(&admins, "env: demo");
    let customers = [orders.customers(), troubled.callers()].into_iter().flatten().collect::<Vec<_>>();

    // A counter must have been seen before it moves.
    peers::prometheus_says(&prometheus, "count(fourmi_reloads_total{result=\"ok\"})", |v| v == admins.len() as f64);
    // What happens now and then: a worker dies, a configuration is read again, another one is refused.
    orders.kill_a_worker();
    let reload =
        |port: u16| run_fourmi(&["reload", "--admin", &format!("http://127.0.0.1:{}", orders.port(port))]).code;
    let (stock, mail) = (9912, 9915);
    fourmi_tests::until("stock reads its configuration again", || reload(stock) == 0);
    let good = std::fs::read_to_string(orders.file("mail")).unwrap();
    std::fs::write(orders.file("mail"), format!("{good}\nworkers: 1\n")).unwrap();
    fourmi_tests::until("mail refuses a configuration", || !matches!(reload(mail), 0 | 69));

    let mut open = prometheus_queries();
    open.extend(graphite_queries());
    let all = open.len();
    let mut sorts: BTreeMap<&str, usize> = BTreeMap::new();
    for query in &open {
        *sorts.entry(query.sort).or_default() += 1;
    }
    let give_up = Instant::now() + 8 * patience();
    while !open.is_empty() && Instant::now() < give_up {
        open.retain(|query| !query.has_data(&prometheus, &graphite));
        // A mark is seen for a minute; on a busy machine one round of all questions takes longer.
        for port in [stock, mail] {
            reload(port);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    let missing: Vec<String> = open.iter().map(|query| query.to_string()).collect();
    assert!(
        missing.is_empty(),
        "{} of {all} queries without data:\n{}\n{}",
        missing.len(),
        missing.join("\n"),
        orders.log()
    );
    println!("{all} queries have data: {sorts:?}");
    println!("{}", datadog_queries(&datadog));
    println!("{}", alerted_names(&prometheus));
    drop(customers);
}

/// One thing that a dashboard asks.
struct Query {
    place: String,
    sort: &'static str,
    text: String,
    /// It is a share: nothing below 0 or above 1.
    share: bool,
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}: {}", self.place, self.sort, self.text)
    }
}

impl Query {
    fn has_data(&self, prometheus: &Peer, graphite: &GraphiteWeb) -> bool {
        match self.sort {
            "Graphite target" => {
                let series = graphite.render(&self.text).unwrap_or_default();
                !series.is_empty() && series.iter().any(|(_, points)| !points.is_empty())
            }
            "Graphite variable" => match self.text.strip_prefix("tag_values(").and_then(|q| q.strip_suffix(')')) {
                Some(asked) => {
                    let (tag, expression) = asked.split_once(", ").unwrap_or_default();
                    !graphite.tag_values(tag, expression).is_empty()
                }
                None => !graphite.find(&self.text).is_empty(),
            },
            "label_values" => {
                let (selector, label) = self.text.rsplit_once(", ").unwrap_or_default();
                let path = format!("/api/v1/label/{label}/values");
                get(prometheus, &path, "match[]", selector)["data"].as_array().is_some_and(|v| !v.is_empty())
            }
            _ => {
                let answer = get(prometheus, "/api/v1/query", "query", &self.text);
                assert!(answer["status"] == "success", "{self}: {answer}");
                let series = answer["data"]["result"].as_array().into_iter().flatten();
                let numbers = series.filter_map(|s| s["value"][1].as_str()?.parse::<f64>().ok());
                let numbers: Vec<f64> = numbers.filter(|n| !n.is_nan()).collect();
                let fits = |n: &f64| !self.share || (-1e-9..=1.0 + 1e-9).contains(n);
                assert!(numbers.iter().all(fits), "{self}: a share of {numbers:?}");
                !numbers.is_empty()
            }
        }
    }
}

/// A question to Prometheus' API.
fn get(peer: &Peer, path: &str, key: &str, value: &str) -> Value {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.*".contains(&b);
    let escaped = |text: &str| -> String {
        text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
    };
    let path = format!("{path}?{}={}", escaped(key), escaped(value));
    fourmi_tests::Client::connect(peer.port).get(&path).json()
}

/// As Grafana fills it in when everything is chosen, a short time is shown, and it is scraped every second.
fn filled(query: &str) -> String {
    let mut query = query.to_owned();
    for (variable, value) in [
        ("$__rate_interval", "10s"),
        ("$__range", "60s"),
        ("$environment", ".*"),
        ("$service", ".*"),
        ("$instance", ".*"),
        ("$command", ".*"),
        ("$objective", "99.9"),
    ] {
        query = query.replace(variable, value);
    }
    query
}

fn prometheus_queries() -> Vec<Query> {
    let mut all = Vec::new();
    for dashboard in Dashboard::all("prometheus") {
        for panel in dashboard.panels() {
            let title = text(panel, "title");
            for target in panel["targets"].as_array().into_iter().flatten() {
                all.push(Query {
                    place: format!("{} / {title} {}", dashboard.name, text(target, "refId")),
                    sort: "PromQL",
                    text: filled(text(target, "expr")),
                    // What is left of a budget is below 0 when it was missed.
                    share: panel["fieldConfig"]["defaults"]["unit"] == "percentunit" && title != "Budget left",
                });
            }
        }
        for note in dashboard.json["annotations"]["list"].as_array().into_iter().flatten() {
            let place = format!("{}, annotation {}", dashboard.name, text(note, "name"));
            all.push(Query { place, sort: "PromQL", text: filled(text(note, "expr")), share: false });
        }
        for variable in dashboard.variables().iter().filter(|v| v["type"] == "query") {
            let asked = filled(text(variable, "query"));
            let asked = asked.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')')).unwrap_or_default();
            let place = format!("{}, variable {}", dashboard.name, text(variable, "name"));
            all.push(Query { place, sort: "label_values", text: asked.to_owned(), share: false });
        }
    }
    all
}

fn graphite_queries() -> Vec<Query> {
    let filled = |query: &str| {
        let mut query = query.replace(":regex}", "}");
        for tagged in ["environment", "service", "command"] {
            query = query.replace(&format!("${{{tagged}}}"), ".*");
        }
        for (variable, value) in [("$prefix", "stats"), ("$environment", "*"), ("$service", "*"), ("$command", "*")] {
            query = query.replace(variable, value);
        }
        query
    };
    let mut all = Vec::new();
    for dashboard in Dashboard::all("graphite") {
        for panel in dashboard.panels() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let place = format!("{} / {} {}", dashboard.name, text(panel, "title"), text(target, "refId"));
                all.push(Query { place, sort: "Graphite target", text: filled(text(target, "target")), share: false });
            }
        }
        for variable in dashboard.variables().iter().filter(|v| v["type"] == "query") {
            let place = format!("{}, variable {}", dashboard.name, text(variable, "name"));
            let text = filled(text(variable, "query"));
            all.push(Query { place, sort: "Graphite variable", text, share: false });
        }
    }
    all
}

/// Datadog can't be run: each metric of its dashboard must have been sent with the tags that the query names.
fn datadog_queries(received: &StatsdServer) -> String {
    let mut sent: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in received.lines() {
        sent.entry(line.name).or_default().extend(line.tags.into_iter().map(|(key, _)| key));
    }
    let file = std::fs::read_to_string(folder().join("datadog/fourmi.json")).unwrap();
    let queries = regex::Regex::new(r"[a-z0-9]+:([a-z._]+[a-z])\{([^}]*)\}(?: by \{([^}]*)\})?").unwrap();
    let variables = ["environment", "service", "command"]
        .map(|name| (format!("${name}"), if name == "environment" { "env" } else { name }));
    let mut count = 0;
    for found in queries.captures_iter(&file) {
        let whole = &found[1];
        let metric = ["avg", "count", "median", "95percentile", "max"]
            .iter()
            .find_map(|end| whole.strip_suffix(&format!(".{end}")))
            .unwrap_or(whole);
        let tags = sent.get(metric).unwrap_or_else(|| panic!("{metric} was never sent: {:?}", sent.keys()));
        let by = found.get(3).map_or("", |m| m.as_str());
        for part in found[2].split(',').chain(by.split(',')).filter(|part| !part.is_empty() && *part != "*") {
            let part = part.trim_start_matches('!');
            let key =
                variables.iter().find(|(name, _)| name == part).map_or(part.split(':').next().unwrap(), |(_, tag)| tag);
            assert!(tags.contains(key) || key == "host", "{metric} is never sent with the tag {key}: {tags:?}");
        }
        count += 1;
    }
    assert!(count > 10, "the queries of the Datadog dashboard were not found");
    format!("{count} queries of the Datadog dashboard name metrics and tags that were sent")
}

/// An alert on a name that nobody sends never fires.
fn alerted_names(prometheus: &Peer) -> String {
    let known = get(prometheus, "/api/v1/label/__name__/values", "limit", "0");
    let known: BTreeSet<&str> = known["data"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rules = std::fs::read_to_string(folder().join("prometheus/fourmi.rules.yaml")).unwrap();
    let words = regex::Regex::new(r"(?:^|[^:a-z_])((?:fourmi|process)_[a-z_]+)").unwrap();
    let exprs = rules.lines().filter(|l| l.trim_start().starts_with("expr:")).collect::<Vec<_>>().join("\n");
    let named: BTreeSet<&str> = words.captures_iter(&exprs).filter_map(|found| Some(found.get(1)?.as_str())).collect();
    let unknown: Vec<&&str> = named.iter().filter(|n| !known.contains(**n)).collect();
    assert!(named.len() > 10 && unknown.is_empty(), "alerts on {unknown:?}, which nobody sends");
    format!("{} metrics that alerts ask for are sent", named.len())
}
