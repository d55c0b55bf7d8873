use super::line::Packets;
use super::report::Report;
use super::*;
use crate::sink::metric::{Label, WorkerSeries};
use crate::sink::record::tests::{identity, sample};

fn lines(dialect: Dialect, registry: &Registry, told: &Told) -> Vec<String> {
    let mut report = Report::new(dialect, &identity(&[]), Packets::new(1432));
    for s in registry.snapshot(Some(1)) {
        report.series(&s.key, &s.totals, told.series.get(&s.id).unwrap_or(&Totals::default()), &s.samples);
    }
    report.levels(registry.levels(), &registry.instances());
    let (packets, oversize) = report.finish();
    assert_eq!(oversize, 0);
    packets
        .iter()
        .flat_map(|p| String::from_utf8(p.bytes.clone()).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[test]
fn one_line_says_the_sum_and_timers_count_right() {
    let registry = Arc::new(Registry::default());
    let labels = Label::all(&["shop".to_owned(), "service".to_owned(), "absent".to_owned()]);
    let mut worker = WorkerSeries::new(registry.clone(), labels, [1].into());
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
}

#[test]
fn series_are_bounded_and_the_sum_is_kept() {
    let registry = Arc::new(Registry::default());
    let labels = Label::all(&["user".to_owned()]);
    let mut workers: Vec<_> = (0..2).map(|_| WorkerSeries::new(registry.clone(), labels.clone(), [].into())).collect();
    let mut x = sample(&identity(&[]));
    for n in 0..10_000 {
        x.command.tags = vec![("user".into(), format!("u{}", n % 5000))];
        workers[n % 2].record(&x);
    }
    let all = registry.snapshot(None);
    assert_eq!(all.len(), 2001);
    assert_eq!(all.iter().map(|s| s.totals.count()).sum::<u64>(), 10_000);
    let other: Vec<_> = all.iter().filter(|s| s.key.labels().any(|(_, v)| v == "_other")).collect();
    assert_eq!((other.len(), other[0].totals.count()), (1, 6000));

    let registry = Arc::new(Registry::default());
    let mut worker = WorkerSeries::new(registry.clone(), Label::all(&[]), [].into());
    for n in 0..20_000 {
        x.command.name = format!("Name{n}").into();
        worker.record(&x);
    }
    let all = registry.snapshot(None);
    assert!(all.len() <= 202, "{}", all.len());
    assert_eq!(all.iter().map(|s| s.totals.count()).sum::<u64>(), 20_000);
}
