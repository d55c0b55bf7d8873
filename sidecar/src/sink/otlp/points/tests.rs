use super::super::since::Begun;
use super::*;
use crate::exchange::{ConnectionSide, Direction, Exchange};
use crate::sink::metric::WorkerSeries;
use crate::sink::record::tests::{identity, sample};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

fn counted(registry: &Arc<Registry>, times: usize) {
    let labels = registry.labels(&["shop".to_owned()]);
    let mut series = WorkerSeries::new(registry.clone(), labels, Arc::from([]));
    let mut x: Exchange = sample(&identity(&[]));
    for n in 0..times {
        (x.status, x.outcome) = if n == 0 { (500, Some(Outcome::ServerError)) } else { (200, Some(Outcome::Success)) };
        series.record(&x);
    }
}

fn all(parts: &[Part]) -> Vec<Metric> {
    parts.iter().flat_map(|p| p.metrics.clone()).collect()
}

fn find<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
    metrics.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn sums(metrics: &[Metric], name: &str) -> Vec<(String, i64)> {
    let Some(metric) = metrics.iter().find(|m| m.name == name) else { return Vec::new() };
    let Some(Data::Sum(sum)) = &metric.data else { panic!("{name} is no sum") };
    assert!(sum.is_monotonic);
    sum.data_points
        .iter()
        .map(|p| {
            let Some(Value::AsInt(n)) = p.value else { panic!("{name} is a whole number") };
            let last = p.attributes.last().map(|a| format!("{}={:?}", a.key, a.value.as_ref().unwrap().value));
            (last.unwrap_or_default().replace("Some(StringValue(", "").replace("))", ""), n)
        })
        .collect()
}

fn histogram(metrics: &[Metric], name: &str) -> HistogramDataPoint {
    let metric = find(metrics, name);
    let Some(Data::Histogram(h)) = &metric.data else { panic!("{name} is no histogram") };
    assert_eq!(metric.unit, "s");
    h.data_points[0].clone()
}

#[test]
fn cumulative_sums_begin_with_the_process_and_deltas_where_the_last_ended() {
    let registry = Arc::new(Registry::default());
    let worker = registry.worker();
    worker.in_flight(Direction::Inbound, 2);
    worker.connections(ConnectionSide::Upstream, 1);
    counted(&registry, 3);
    registry.reason(metric::REJECTED, "overloaded").fetch_add(4, Relaxed);
    registry.count_reload(true);
    let sinks = BTreeMap::from([("otlp", SinkTotals { sent: 7, full: 1, ..SinkTotals::default() })]);
    let first = Sums::now(&registry, sinks.clone(), None);
    let metrics = all(&Report::new(&Since::Begin(Begun::at(5)), 1 << 20).of(&first));
    let expected = [("outcome=\"success\"".to_owned(), 2), ("outcome=\"server_error\"".to_owned(), 1)];
    assert_eq!(sums(&metrics, "fourmi.commands"), expected);
    assert_eq!(sums(&metrics, "fourmi.rejected"), [("reason=\"overloaded\"".to_owned(), 4)]);
    assert_eq!(sums(&metrics, "fourmi.reloads"), [("result=\"ok\"".to_owned(), 1)]);
    assert_eq!(sums(&metrics, "fourmi.tag"), [("value=\"7\"".to_owned(), 3)]);
    let sink = [("result=\"sent\"".to_owned(), 7), ("result=\"dropped_full\"".to_owned(), 1)];
    assert_eq!(sums(&metrics, "fourmi.sink.records"), sink);
    let whole = histogram(&metrics, "fourmi.command.duration");
    assert_eq!((whole.count, whole.bucket_counts.len(), whole.explicit_bounds.len()), (3, 14, 13));
    assert_eq!((whole.explicit_bounds[0], whole.explicit_bounds[12]), (0.001, 10.0));
    assert_eq!((whole.bucket_counts[4], whole.bucket_counts.iter().sum::<u64>()), (3, 3), "12.34 ms is up to 25 ms");
    assert!((whole.sum.unwrap() - 3.0 * 0.01234).abs() < 1e-9);
    assert_eq!((whole.start_time_unix_nano, whole.time_unix_nano), (5, first.at));
    let Some(Data::Sum(sum)) = &find(&metrics, "fourmi.commands").data else { panic!("a sum") };
    assert_eq!(sum.aggregation_temporality, AggregationTemporality::Cumulative as i32);
    let Some(Data::Gauge(level)) = &find(&metrics, "fourmi.commands.in_flight").data else { panic!("a gauge") };
    assert_eq!(level.data_points[0].value, Some(Value::AsInt(2)));
    assert!(metrics.iter().any(|m| m.name == "process.memory.usage" && m.unit == "By"));

    // Deltas: only what is new, from where the last ones ended.
    let told = Since::Last(first.told());
    let nothing = all(&Report::new(&told, 1 << 20).of(&first));
    assert!(sums(&nothing, "fourmi.commands").is_empty() && sums(&nothing, "fourmi.sink.records").is_empty());
    assert!(nothing.iter().all(|m| m.name != "fourmi.command.duration"));
    counted(&registry, 1);
    let second = Sums::now(&registry, sinks, None);
    let fresh = all(&Report::new(&told, 1 << 20).of(&second));
    assert_eq!(sums(&fresh, "fourmi.commands"), [("outcome=\"server_error\"".to_owned(), 1)]);
    assert_eq!(sums(&fresh, "fourmi.tag"), [("value=\"7\"".to_owned(), 1)]);
    let whole = histogram(&fresh, "fourmi.command.duration");
    assert_eq!((whole.count, whole.start_time_unix_nano), (1, first.at));
    assert!((whole.sum.unwrap() - 0.01234).abs() < 1e-9);
}

#[test]
fn names_become_those_of_prometheus() {
    let registry = Arc::new(Registry::default());
    counted(&registry, 1);
    registry.reason(metric::REJECTED, "a").fetch_add(1, Relaxed);
    registry.reason(metric::RETRIES, "a").fetch_add(1, Relaxed);
    registry.reason(metric::WORKER_LINES, "told").fetch_add(1, Relaxed);
    registry.labels(&["a-b".to_owned(), "a.b".to_owned()]);
    registry.count_reload(false);
    registry.set_instances("order", "ready", 1);
    registry.set_certificates([("a.pem".to_owned(), 1_796_807_012)].into());
    let sinks = BTreeMap::from([("otlp", SinkTotals { sent: 1, troubles: [1; 8], ..SinkTotals::default() })]);
    let metrics = all(&Report::new(&Since::Begin(Begun::at(0)), 1 << 20).of(&Sums::now(&registry, sinks, None)));
    // The translation of the OpenTelemetry specification, "Prometheus and OpenMetrics compatibility".
    let translated = |m: &Metric| {
        let unit = if m.unit == "s" { "_seconds" } else { "" };
        let total = if matches!(m.data, Some(Data::Sum(_))) { "_total" } else { "" };
        format!("{}{unit}{total}", m.name.replace('.', "_"))
    };
    let names: std::collections::BTreeSet<String> =
        metrics.iter().filter(|m| m.name.starts_with("fourmi.")).map(translated).collect();
    let ours = [
        metric::COMMANDS,
        metric::COMMAND_DURATION,
        metric::UPSTREAM_DURATION,
        metric::OVERHEAD,
        metric::IN_FLIGHT,
        metric::TAG,
        metric::REJECTED,
        metric::RETRIES,
        metric::INSTANCES,
        metric::CERTIFICATE_EXPIRES,
        metric::SINK_RECORDS,
        metric::SINK_TROUBLES,
        metric::CONNECTIONS,
        metric::RELOADS,
        metric::WORKER_LINES,
        metric::LABEL_COLLISIONS,
    ];
    assert_eq!(names, ours.map(str::to_owned).into());
}

#[test]
fn many_series_are_cut_into_parts_that_lose_none() {
    let registry = Arc::new(Registry::default());
    let mut series = WorkerSeries::new(registry.clone(), registry.labels(&[]), Arc::from([]));
    let mut x = sample(&identity(&[]));
    for n in 0..150 {
        x.command.name = format!("Command{n}").into();
        series.record(&x);
    }
    let sums_now = Sums::now(&registry, BTreeMap::new(), None);
    let limit = 16 << 10;
    let parts = Report::new(&Since::Begin(Begun::at(0)), limit).of(&sums_now);
    assert!(parts.len() > 5, "{}", parts.len());
    let mut points = 0;
    for part in &parts {
        let bytes: usize = part.metrics.iter().map(|m| m.encoded_len() + 6).sum();
        assert!(bytes <= limit, "{bytes}");
        let inside: usize = part
            .metrics
            .iter()
            .map(|m| match &m.data {
                Some(Data::Sum(s)) => s.data_points.len(),
                Some(Data::Gauge(g)) => g.data_points.len(),
                Some(Data::Histogram(h)) => h.data_points.len(),
                other => panic!("{other:?}"),
            })
            .sum();
        assert_eq!(inside as u64, part.points);
        points += inside;
    }
    let commands = parts.iter().map(|p| sums(&p.metrics, "fourmi.commands").iter().map(|(_, n)| n).sum::<i64>());
    assert_eq!(commands.sum::<i64>(), 150);
    // 150 sums and 450 histograms, levels and the process.
    assert!(points >= 600, "{points}");
}

#[test]
fn a_series_that_was_forgotten_comes_back_with_a_beginning_of_its_own() {
    let registry = Arc::new(Registry::new(std::time::Duration::from_millis(2)));
    registry.add_reader(7);
    let mut cumulative = Since::Begin(Begun::at(5));
    let mut delta = Since::Last(Told::default());
    let (mut whole, mut last, mut ends) = (Vec::new(), 0, Vec::new());
    for round in 0..8 {
        // The worker's cells go with it, and every other time nothing is counted: then the series is forgotten.
        if round % 4 == 0 {
            counted(&registry, 3);
        }
        let sums = Sums::now(&registry, BTreeMap::new(), Some(7));
        cumulative.meet(&sums);
        let metrics = all(&Report::new(&cumulative, 1 << 20).of(&sums));
        if let Some(metric) = metrics.iter().find(|m| m.name == "fourmi.commands") {
            let Some(Data::Sum(sum)) = &metric.data else { panic!("a sum") };
            whole.extend(sum.data_points.iter().map(|p| (p.start_time_unix_nano, p.time_unix_nano)));
        }
        let fresh = all(&Report::new(&delta, 1 << 20).of(&sums));
        last += sums_of(&fresh, "fourmi.commands");
        delta.tell(&sums);
        ends.push(sums.at);
        std::thread::sleep(std::time::Duration::from_millis(4));
    }
    assert_eq!(last, 6, "deltas lose nothing by it");
    let starts: std::collections::BTreeSet<u64> = whole.iter().map(|(start, _)| *start).collect();
    assert_eq!(starts.len(), 2, "{whole:?}");
    assert!(starts.contains(&5) && starts.iter().any(|s| ends.contains(s)), "{starts:?} {ends:?}");
}

fn sums_of(metrics: &[Metric], name: &str) -> i64 {
    sums(metrics, name).iter().map(|(_, n)| n).sum()
}
