//! The log and metric plugins of a Kong file in the plan.

use super::good;
use crate::sink::LogSettings;

const GATEWAY: &str = "gateway: {plugins: [{name: udp-log, config: {host: h, port: 1}}, {name: prometheus}, \
                       {name: opentelemetry, config: {traces_endpoint: 'http://c', sampling_rate: 0.25}}]}\n\
                       worker: http://a:1\n";

#[test]
fn plugins_that_tell_stand_beside_the_sinks_of_the_file() {
    let plan = good(GATEWAY).plan;
    let names: Vec<_> = plan.logs.iter().map(LogSettings::name).collect();
    assert_eq!(names, ["stdout", "udp-log", "prometheus", "opentelemetry"]);
    assert!(plan.metrics.prometheus && plan.logs[0].takes_lines() && !plan.logs[1].takes_lines());
    assert_eq!(plan.sampling.ratio, 0.25, "what the plugin says");
    let plan = good(&format!("{GATEWAY}logs: []\nmetrics: {{sinks: []}}\ntraces: {{sample: 0.5}}\n")).plan;
    assert_eq!((plan.logs.len(), plan.metrics.prometheus, plan.sampling.ratio), (3, true, 0.5));
    // An outbound service's plugins are told of what is sent to it, and of nothing else.
    let outbound = "worker: http://a:1\nlogs: []\noutbound: [{listen: 'http://127.0.0.1:1', services: {mail: {address: \
                    'http://m:1', plugins: [{name: udp-log, config: {host: h, port: 1}}]}}}]\n";
    let sent = good(outbound).plan.logs.clone();
    let came =
        good("gateway: {plugins: [{name: udp-log, config: {host: h, port: 1}}]}\nlogs: []\nworker: http://a:1\n");
    assert!(sent.len() == 1 && sent != came.plan.logs);
}
