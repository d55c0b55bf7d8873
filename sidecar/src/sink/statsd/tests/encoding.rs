//! What the lines are.

use super::*;

fn said(packets: &[Packet]) -> Vec<String> {
    let lines = packets.iter().flat_map(|p| p.bytes.split(|b| *b == b'\n'));
    lines.map(|l| String::from_utf8(l.to_vec()).unwrap()).collect()
}

fn lines(dialect: Dialect, registry: &Registry, told: &Told) -> Vec<String> {
    let who = identity(&[]);
    let mut report = Report::new(dialect, &who, Packets::new(1432));
    for s in registry.snapshot(Some(1)) {
        report.series(&s.key, &s.totals, told.series.get(&s.id).unwrap_or(&Totals::default()), &s.samples);
    }
    report.levels(registry.levels(), &registry.instances());
    report.certificates(&registry.certificates());
    let Lot { packets, oversize, invalid } = report.finish();
    assert_eq!((oversize, invalid), (0, 0));
    said(&packets)
}

fn counted(dialect: Dialect, name: &str, pairs: &[(&str, &str)], n: u64) -> Vec<String> {
    let who = identity(&[]);
    let mut report = Report::new(dialect, &who, Packets::new(1432));
    report.count(name.to_owned(), pairs, n);
    said(&report.finish().packets)
}

#[test]
fn row_34_35_a_counter_in_every_dialect() {
    let pairs = [("route", "place_order"), ("env", "prod")];
    for (dialect, line) in [
        (Dialect::Datadog, "fourmi.req:3|c|#env:prod,route:place_order"),
        (Dialect::Influx, "fourmi.req,env=prod,route=place_order:3|c"),
        (Dialect::Graphite, "fourmi.req;env=prod;route=place_order:3|c"),
    ] {
        assert_eq!(counted(dialect, "fourmi.req", &pairs, 3), [line]);
    }
    // librato, a dialect of the table, is not one of ours; plain has its parts in the name.
    let registry = Arc::new(Registry::default());
    let mut worker = WorkerSeries::new(registry.clone(), registry.labels(&[]), [].into());
    let mut x = sample(&identity(&[]));
    x.command.name = "place_order".into();
    (0..3).for_each(|_| worker.record(&x));
    let plain = lines(Dialect::Plain, &registry, &Told::default());
    assert!(plain.contains(&"fourmi.prod.order.place_order.success:3|c".to_owned()), "{plain:?}");
}

/// Every line of an exchange whose names and tags are this text is one line, in every dialect.
fn stays_in_its_line(odd: &str) {
    let registry = Arc::new(Registry::default());
    let labels = registry.labels(&["shop".to_owned(), odd.to_owned()]);
    let mut worker = WorkerSeries::new(registry.clone(), labels, [].into());
    let mut x = sample(&identity(&[]));
    x.command.name = odd.into();
    x.service = odd.into();
    x.command.tags = vec![("shop".into(), odd.into()), (odd.into(), odd.into())];
    worker.record(&x);
    for (dialect, divider, equals) in [
        (Dialect::Plain, '.', ' '),
        (Dialect::Datadog, ',', ':'),
        (Dialect::Influx, ',', '='),
        (Dialect::Graphite, ';', '='),
    ] {
        for line in lines(dialect, &registry, &Told::default()) {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            let (name, rest) = line.split_once(':').unwrap();
            let parts: Vec<&str> = rest.split('|').collect();
            assert!(parts[0].parse::<f64>().is_ok(), "{line:?}");
            let tags = match dialect {
                Dialect::Datadog => {
                    assert_eq!((parts.len(), parts[2].matches('#').count()), (3, 1), "{line:?}");
                    parts[2].strip_prefix('#').unwrap()
                }
                _ => {
                    assert_eq!(parts.len(), 2, "{line:?}");
                    assert!(!name.contains(' '), "{line:?}");
                    name.split_once(divider).unwrap().1
                }
            };
            if dialect != Dialect::Plain {
                let keys: Vec<&str> = tags.split(divider).map(|t| t.split_once(equals).unwrap().0).collect();
                assert!(keys.is_sorted(), "{line:?}");
                assert!(keys.iter().all(|k| k.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')), "{line:?}");
            }
        }
    }
}

#[test]
fn row_36_37_hostile_names_and_tags_stay_one_line() {
    stays_in_its_line("a,b|c#d:e f\ng\r;h=i~@!^\u{85}é");
    proptest::proptest!(proptest::prelude::ProptestConfig::with_cases(200), |(odd in "\\PC{0,40}|[,|#:;=~@!^. \n\r\t\0]{1,20}")| {
        stays_in_its_line(&odd);
    });
}

#[test]
fn row_39_43_one_line_says_the_sum_and_timers_count_right() {
    let registry = Arc::new(Registry::default());
    let labels = registry.labels(&["shop".to_owned(), "service".to_owned(), "absent".to_owned()]);
    let mut worker = WorkerSeries::new(registry.clone(), labels, [Sampling { sink: 1, most: 64 }].into());
    let mut x = sample(&identity(&[]));
    x.command.tags = vec![("shop".into(), "se,ven".into()), ("service".into(), "own".into())];
    for _ in 0..1000 {
        worker.record(&x);
    }
    let plain = lines(Dialect::Plain, &registry, &Told::default());
    for line in [
        "fourmi.prod.order.CreateOrder.success:1000|c",
        "fourmi.prod.order.tag.shop.se_ven:1000|c",
        "fourmi.prod.order.tag.service.own:1000|c",
    ] {
        assert!(plain.iter().any(|l| l == line), "{line} in {plain:?}");
    }
    let timers: Vec<_> =
        plain.iter().filter_map(|l| l.strip_prefix("fourmi.prod.order.CreateOrder.duration:12.34|ms")).collect();
    assert_eq!((timers.len(), plain.len()), (64, 67));
    let total: f64 = timers.iter().map(|t| t.strip_prefix("|@").map_or(1.0, |r| 1.0 / r.parse::<f64>().unwrap())).sum();
    assert!((total - 1000.0).abs() < 1e-6, "{total}");

    let told = Told::until_now(&registry);
    assert!(lines(Dialect::Plain, &registry, &told).is_empty(), "what did not move is not sent");
    worker.record(&x);
    registry.set_instances("order", "up", 2);
    registry.set_certificates([("a.pem".to_owned(), 1_796_807_012)].into());
    let datadog = lines(Dialect::Datadog, &registry, &told);
    let of = "command:CreateOrder,direction:inbound,env:prod,";
    let end = "protocol:http/1.1,route:worker,service:order,shop:se_ven,tag_service:own";
    for line in [
        format!("fourmi.commands:1|c|#{of}outcome:success,{end}"),
        format!("fourmi.command.duration:12.34|ms|#{of}{end}"),
        format!("fourmi.upstream.duration:11.7|ms|#{of}{end}"),
        format!("fourmi.overhead:0.3|ms|#{of}{end}"),
        "fourmi.tag:1|c|#env:prod,tag:shop,value:se_ven".to_owned(),
        "fourmi.instances:2|g|#env:prod,service:order,state:up".to_owned(),
        "fourmi.certificate.expires.timestamp:1796807012|g|#env:prod,file:a.pem".to_owned(),
        "fourmi.commands.in.flight:0|g|#direction:inbound,env:prod".to_owned(),
    ] {
        assert!(datadog.contains(&line), "{line} in {datadog:#?}");
    }
    // The worker and its samples go; what it counted stays, told by the mean.
    let told = Told::until_now(&registry);
    worker.record(&x);
    drop(worker);
    registry.snapshot(None);
    let plain = lines(Dialect::Plain, &registry, &told);
    assert!(plain.contains(&"fourmi.prod.order.CreateOrder.duration:12.34|ms".to_owned()), "{plain:?}");
    let graphite = lines(Dialect::Graphite, &registry, &told);
    let name = "fourmi.command.duration;command=CreateOrder;direction=inbound;env=prod;protocol=http/1.1;route=worker";
    assert!(graphite.contains(&format!("{name};service=order;shop=se,ven;tag_service=own:12.34|ms")), "{graphite:#?}");
}

#[test]
fn row_43_ten_thousand_timers_at_one_tenth() {
    let registry = Arc::new(Registry::default());
    let mut worker =
        WorkerSeries::new(registry.clone(), registry.labels(&[]), [Sampling { sink: 1, most: 1000 }].into());
    let x = sample(&identity(&[]));
    (0..10_000).for_each(|_| worker.record(&x));
    let lines = lines(Dialect::Plain, &registry, &Told::default());
    let timers: Vec<_> = lines.iter().filter_map(|l| l.split_once("|ms")).map(|(_, rate)| rate).collect();
    assert_eq!(timers.len(), 1000);
    assert!(timers.iter().all(|rate| *rate == "|@0.1"), "{:?}", &timers[..3]);
}

#[test]
fn row_41_a_level_that_is_no_number_is_counted_and_not_sent() {
    let who = identity(&[]);
    let mut report = Report::new(Dialect::Influx, &who, Packets::new(1432));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        report.gauge(metric::CONNECTIONS, bad, &[]);
    }
    report.gauge(metric::CONNECTIONS, -5.0, &[("side", "client")]);
    let Lot { packets, invalid, .. } = report.finish();
    assert_eq!(invalid, 3);
    let name = "fourmi.connections,env=prod,side=client";
    assert_eq!(said(&packets), [format!("{name}:0|g"), format!("{name}:-5|g")], "one packet, zero first");
    assert_eq!(packets.len(), 1);
}

#[test]
fn row_58_plain_lines_are_what_strict_receivers_take() {
    // Collectd refuses a whole line for one tag: only name, value and type, and a rate.
    let registry = Arc::new(Registry::default());
    let labels = registry.labels(&["shop".to_owned()]);
    let mut worker = WorkerSeries::new(registry.clone(), labels, [Sampling { sink: 1, most: 2 }].into());
    (0..10).for_each(|_| worker.record(&sample(&identity(&[]))));
    let plain = lines(Dialect::Plain, &registry, &Told::default());
    assert_eq!(plain.len(), 4, "{plain:?}");
    for line in plain {
        let (name, rest) = line.split_once(':').unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')), "{line}");
        let parts: Vec<&str> = rest.split('|').collect();
        assert!(parts[0].parse::<f64>().is_ok() && matches!(parts[1], "c" | "ms"), "{line}");
        assert!(parts[2..].iter().all(|p| p.strip_prefix('@').is_some_and(|r| r.parse::<f64>().is_ok())), "{line}");
    }
}
