use super::*;
use crate::exchange::{Exchange, Wants};
use crate::sink::kong::tests::{entry, exchange, known, refused};
use crate::sink::record::tests::identity;
use crate::sink::scrape::samples;

const ALL: Switches = Switches { per_consumer: true, status: true, latency: true, bandwidth: true, health: true };

fn text(series: &Arc<Series>, switches: Switches, commands: &[Exchange]) -> String {
    let mut adding = Adding { series: series.clone(), known: known(), switches };
    for x in commands {
        let bytes = entry(x, Wants::Numbers);
        assert!(!adding.encode(&mut Vec::new(), &Entry::read(&bytes).unwrap(), &Who::new(&identity(&[]))));
    }
    let mut out = String::new();
    series.write(&mut out, switches.health, 3, "pay-3");
    out
}

#[test]
fn series_have_kongs_names_and_labels() {
    let series = Arc::new(Series::default());
    series.set_targets(vec![Target {
        upstream: "pool".into(),
        target: "a.test:80".into(),
        address: "10.0.0.1:80".into(),
        state: "unhealthy",
    }]);
    let shown = text(&series, ALL, &[exchange(), exchange(), refused()]);
    for line in [
        r#"kong_http_requests_total{service="shop.orders",route="all",code="200",source="service",workspace="default",consumer="ann"} 2"#,
        r#"kong_http_requests_total{service="shop.orders",route="all",code="401",source="kong",workspace="default",consumer=""} 1"#,
        r#"kong_bandwidth_bytes{service="shop.orders",route="all",direction="ingress",workspace="default",consumer="ann"} 620"#,
        r#"kong_bandwidth_bytes{service="shop.orders",route="all",direction="egress",workspace="default",consumer="ann"} 240"#,
        r#"kong_kong_latency_ms_bucket{service="shop.orders",route="all",workspace="default",le="1"} 2"#,
        r#"kong_kong_latency_ms_bucket{service="shop.orders",route="all",workspace="default",le="15"} 3"#,
        r#"kong_kong_latency_ms_count{service="shop.orders",route="all",workspace="default"} 3"#,
        r#"kong_upstream_latency_ms_bucket{service="shop.orders",route="all",workspace="default",le="25"} 2"#,
        r#"kong_upstream_latency_ms_bucket{service="shop.orders",route="all",workspace="default",le="+Inf"} 2"#,
        r#"kong_request_latency_ms_sum{service="shop.orders",route="all",workspace="default"} 36"#,
        r#"kong_upstream_target_health{upstream="pool",target="a.test:80",address="10.0.0.1:80",state="unhealthy",subsystem="http"} 1"#,
        r#"kong_upstream_target_health{upstream="pool",target="a.test:80",address="10.0.0.1:80",state="healthy",subsystem="http"} 0"#,
        r#"kong_nginx_connections_total{node_id="pay-3",subsystem="http",state="active"} 3"#,
        r#"kong_nginx_requests_total{node_id="pay-3",subsystem="http"} 3"#,
        "kong_datastore_reachable 1",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line}\n{shown}");
    }
    // Every line can be read, and every family is said once.
    let lines = shown.lines().filter(|l| !l.starts_with('#')).count();
    assert_eq!(samples(&shown).count(), lines);
    for name in shown.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        assert_eq!(shown.matches(&format!("# TYPE {name}")).count(), 1, "{name}");
    }
}

#[test]
fn what_is_not_switched_on_is_not_there() {
    let shown = text(&Arc::default(), Switches::default(), &[exchange()]);
    for name in ["http_requests", "bandwidth", "latency", "target_health"] {
        assert!(!shown.contains(name), "{name}\n{shown}");
    }
    assert!(shown.contains("kong_nginx_requests_total"));
    // No service was asked for.
    let mut x = refused();
    x.via = None;
    assert!(!text(&Arc::default(), ALL, &[x]).contains("kong_http_requests_total"));
    let switches = Switches { per_consumer: false, ..ALL };
    assert!(text(&Arc::default(), switches, &[exchange()]).contains("consumer=\"\"} 1"));
}

#[test]
fn series_beyond_the_limit_are_counted_together() {
    let mut all: BTreeMap<Labels, Cells> = BTreeMap::new();
    let labels = |n: usize| Labels { service: n.to_string().into(), route: "".into(), consumer: "".into() };
    for n in 0..SERIES_MAX + 50 {
        cells(&mut all, labels(n)).bytes[0] += 1;
    }
    assert_eq!(all.len(), SERIES_MAX + 1);
    let other = all.iter().find(|(l, _)| &*l.service == OTHER).unwrap();
    assert_eq!(other.1.bytes[0], 50);
}
