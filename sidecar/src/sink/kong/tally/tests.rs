use super::*;
use crate::exchange::{Exchange, Wants};
use crate::sink::StatsdPlace;
use crate::sink::kong::settings::{ConsumerName, Metric, ServiceName, TagStyle};
use crate::sink::kong::tests::{entry, exchange, known, refused};
use crate::sink::record::tests::identity;

fn metric(of: Of, kind: StatKind) -> Metric {
    let (consumer, service) = (Some(ConsumerName::CustomId), ServiceName::NameOrHost);
    Metric { of, kind, consumer, service, workspace_name: false, tags: vec!["app:kong".into()] }
}

fn all() -> Vec<Metric> {
    use Of::*;
    [RequestCount, RequestSize, ResponseSize, StatusCount, RequestPerUser, StatusCountPerUser]
        .into_iter()
        .chain([StatusCountPerWorkspace, StatusCountPerUserPerRoute])
        .map(|of| metric(of, StatKind::Counter))
        .chain([Latency, UpstreamLatency, KongLatency].into_iter().map(|of| metric(of, StatKind::Timer)))
        .chain([metric(UniqueUsers, StatKind::Set), metric(ShdictUsage, StatKind::Gauge)])
        .collect()
}

fn settings(tags: TagStyle, metrics: Vec<Metric>) -> Statsd {
    Statsd {
        place: StatsdPlace::Udp { host: "h".into(), port: 1 },
        packet: 0,
        interval: Duration::from_secs(1),
        prefix: "kong".into(),
        hostname: false,
        metrics,
        tags,
        allow: None,
    }
}

/// The lines of some commands, in the order of the alphabet.
fn lines(settings: Statsd, commands: &[Exchange]) -> Vec<String> {
    let mut adding = Adding(Arc::new(Tally::new(settings, known())));
    let who = Who::new(&identity(&[]));
    for x in commands {
        let bytes = entry(x, Wants::Numbers);
        assert!(!adding.encode(&mut Vec::new(), &Entry::read(&bytes).unwrap(), &who));
    }
    let (packets, oversize) = adding.0.take();
    assert_eq!((oversize, adding.0.take().0.len()), (0, 0), "everything is told once");
    let text = |p: &Packet| String::from_utf8(p.bytes.clone()).unwrap();
    let mut lines: Vec<String> =
        packets.iter().flat_map(|p| text(p).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    lines.sort();
    lines
}

#[test]
fn names_are_kongs() {
    let told = lines(settings(TagStyle::None, all()), &[exchange(), exchange()]);
    let mut expected = vec![
        "kong.route.00000000-0000-0000-0000-000000000002.user.c-7.status.200:2|c",
        "kong.service.shop_orders.kong_latency:1|ms",
        "kong.service.shop_orders.kong_latency:1|ms",
        "kong.service.shop_orders.latency:12|ms",
        "kong.service.shop_orders.latency:12|ms",
        "kong.service.shop_orders.request.count:2|c",
        "kong.service.shop_orders.request.size:620|c",
        "kong.service.shop_orders.response.size:240|c",
        "kong.service.shop_orders.status.200:2|c",
        "kong.service.shop_orders.upstream_latency:11|ms",
        "kong.service.shop_orders.upstream_latency:11|ms",
        "kong.service.shop_orders.user.c-7.request.count:2|c",
        "kong.service.shop_orders.user.c-7.status.200:2|c",
        "kong.service.shop_orders.user.uniques:c-7|s",
        "kong.service.shop_orders.workspace.0dc6f45b-8f8d-40d2-a504-473544ee190b.status.200:2|c",
    ];
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn a_command_without_auth_or_route_has_kongs_few_lines() {
    // The default set without auth: seven of the command, and the workspace's status.
    assert_eq!(lines(settings(TagStyle::None, all()), &[refused()]).len(), 7, "no upstream");
    let mut x = exchange();
    x.caller = crate::exchange::Caller::default();
    assert_eq!(lines(settings(TagStyle::None, all()), &[x]).len(), 8);
    let mut x = refused();
    x.via = None;
    let metrics = vec![metric(Of::RequestCount, StatKind::Counter)];
    assert_eq!(lines(settings(TagStyle::None, metrics.clone()), &[x]), ["kong.global.unmatched.request.count:1|c"]);
    let mut named = settings(TagStyle::None, metrics);
    named.hostname = true;
    assert_eq!(lines(named, &[refused()]), ["kong.node.pay-3.service.shop_orders.request.count:1|c"]);
}

#[test]
fn tags_are_written_in_every_style() {
    let tags = |divider: &str| {
        ["service=shop.orders", "route=all", "workspace=0dc6f45b-8f8d-40d2-a504-473544ee190b", "consumer=c-7"]
            .into_iter()
            .chain(["node=pay-3", "status=200"])
            .map(|tag| tag.replace('=', divider))
            .collect::<Vec<_>>()
            .join(",")
    };
    for (style, expected) in [
        (TagStyle::Dogstatsd, format!("kong.request.count:1|c|#{}", tags(":"))),
        (TagStyle::Influxdb, format!("kong.request.count,{}:1|c", tags("="))),
        (TagStyle::Librato, format!("kong.request.count#{}:1|c", tags("="))),
        (TagStyle::Signalfx, format!("kong.request.count[{}]:1|c", tags("="))),
    ] {
        let told = lines(settings(style.clone(), all()), &[exchange()]);
        assert!(told.contains(&expected), "{told:?}");
        assert_eq!(told.len(), 6, "only six have tags: {told:?}");
        let mut x = refused();
        x.via = None;
        let metrics = vec![metric(Of::RequestCount, StatKind::Counter)];
        assert_eq!(lines(settings(style, metrics), &[x]), ["kong.request.count:1|c"]);
    }
    let style = TagStyle::Datadog { service: "name".into(), status: "status".into(), consumer: "who".into() };
    let metrics = vec![metric(Of::RequestCount, StatKind::Counter), metric(Of::Latency, StatKind::Distribution)];
    let told = lines(settings(style.clone(), metrics.clone()), &[exchange(), refused()]);
    assert_eq!(
        told,
        [
            "kong.latency:12|d|#name:shop_orders,status:200,who:c-7,app:kong",
            "kong.latency:12|d|#name:shop_orders,status:401,app:kong",
            "kong.request.count:1|c|#name:shop_orders,status:200,who:c-7,app:kong",
            "kong.request.count:1|c|#name:shop_orders,status:401,app:kong",
        ]
    );
    let mut x = refused();
    x.via = None;
    assert_eq!(lines(settings(style, metrics), &[x]), Vec::<String>::new(), "Datadog is told of services only");
}

#[test]
fn statuses_samples_and_series_have_their_limits() {
    let count = || vec![metric(Of::RequestCount, StatKind::Counter)];
    let mut some = settings(TagStyle::None, count());
    some.allow = Some(vec![(400, 404), (500, 599)]);
    assert_eq!(lines(some, &[exchange(), refused()]), ["kong.service.shop_orders.request.count:1|c"]);
    // Of many durations some are sent, and say how many they stand for.
    let many: Vec<Exchange> = (0..3 * SAMPLES_MAX).map(|_| exchange()).collect();
    let told = lines(settings(TagStyle::None, vec![metric(Of::Latency, StatKind::Timer)]), &many);
    assert_eq!(told.len(), SAMPLES_MAX);
    assert!(told.iter().all(|l| l.starts_with("kong.service.shop_orders.latency:12|ms|@0.33")), "{}", told[0]);
    // One series too many is counted with the others.
    let many: Vec<Exchange> = (0..=SERIES_MAX)
        .map(|n| {
            let mut x = refused();
            x.via = None;
            x.status = u16::try_from(n + 100).unwrap();
            x
        })
        .collect();
    let told = lines(settings(TagStyle::None, count()), &many);
    let expected =
        [format!("kong.global.unmatched.request.count:{SERIES_MAX}|c"), "kong.service._other.request.count:1|c".into()];
    assert_eq!(told, expected);
    // Packets hold whole lines.
    let mut packed = settings(TagStyle::None, all());
    packed.packet = 200;
    let adding = Adding(Arc::new(Tally::new(packed, known())));
    let bytes = entry(&exchange(), Wants::Numbers);
    adding.0.add(&Entry::read(&bytes).unwrap(), &Who::new(&identity(&[])));
    let (packets, _) = adding.0.take();
    assert!(packets.len() > 1 && packets.iter().all(|p| p.bytes.len() <= 200));
    assert_eq!(packets.iter().map(|p| p.lines).sum::<u64>(), 12);
}
