'use strict'
// Every alert once: for Prometheus' rule files, for Grafana's own alerting, and the tests of both. Each alert has input
// under which it fires and input under which it keeps quiet; `docs/runbooks.md` has a section for each.

const { DOCS } = require('./panel')

const failed = 'outcome=~"server_error|timeout|unreachable|dead|unknown"'
const into = 'direction="inbound"'
const OBJECTIVE = 0.999

// The share of failures, which several alerts ask over several times: recorded by Prometheus, written out for Grafana.
// A service of which nothing failed has no series of failures and no ratio: nothing fires.
const ratio = range => ({
  record: `service:fourmi_failures:ratio_rate${range}`,
  expr: `sum by (env, service) (rate(fourmi_commands_total{${into}, ${failed}}[${range}])) / sum by (env, service) (rate(fourmi_commands_total{${into}}[${range}]))`,
})
const ratios = ['5m', '30m', '1h', '6h'].map(ratio)
const burns = (factor, short, long) => ratio =>
  [short, long].map(range => `${ratio(range)} > ${factor} * ${+(1 - OBJECTIVE).toFixed(5)}`).join(' and ')

const rate = (metric, where, by, range = '5m') => `sum by (${by}) (rate(${metric}${where ? `{${where}}` : ''}[${range}]))`
const ours = 'and on (instance) fourmi_build_info'

// Input of tests, a point a minute.
const served = (outcome, values, more = '') => [`fourmi_commands_total{service="stock", direction="inbound", outcome="${outcome}", env="prod"${more}}`, values]
const at = (metric, labels, values) => [`${metric}{${labels}}`, values]
const stock = { service: 'stock', env: 'prod' }
const one = { instance: 'a:9901' }
const ONE = 'instance="a:9901"'
const ATTEMPTED = 'state=~"succeeded|retrying|dead|unknown"'
const ended = values => ['succeeded', 'retrying', 'dead', 'unknown'].map(state => at('fourmi_spool_transitions_total', `state="${state}", env="prod", ${ONE}`, state === 'succeeded' ? values : '0x40'))
const RUNNING = 'fourmi_spool_oldest_age_seconds{state="running"}'
const INFO = at('fourmi_build_info', `${ONE}, version="1"`, '1x400')

// `{name, expr, for, severity, summary, description, fires: {input, at, labels, summary}, quiet: {input, at}}`. `expr` is a text, or
// a function of how a ratio is named.
const alerts = [
  {
    name: 'FourmiDown', for: '2m', severity: 'page',
    expr: 'up{job="fourmi"} == 0',
    summary: 'The Fourmi at {{ $labels.instance }} does not answer', description: 'Its worker gets no commands, or nobody sees them.',
    fires: { input: [at('up', `job="fourmi", ${ONE}`, '1 0x10')], at: '4m', labels: { job: 'fourmi', ...one }, summary: 'The Fourmi at a:9901 does not answer' },
    quiet: { input: [at('up', `job="fourmi", ${ONE}`, '1 0 1x10'), at('up', 'job="other"', '0x10')], at: '4m' },
  },
  {
    name: 'FourmiNoInstance', for: '1m', severity: 'page',
    // As each sidecar sees it: the callers' still have the sidecar of the service as an instance when its worker is gone.
    expr: 'sum by (env, instance, service) (fourmi_instances{state="passing"}) == 0',
    summary: 'No instance of {{ $labels.service }} takes commands from the Fourmi at {{ $labels.instance }}', description: 'Commands wait for timeouts.hold and are then answered 503.',
    fires: { input: [at('fourmi_instances', `service="stock", state="passing", env="prod", ${ONE}`, '2 0x10'), at('fourmi_instances', 'service="stock", state="passing", env="prod", instance="caller"', '1x10')], at: '3m', labels: { ...stock, ...one }, summary: 'No instance of stock takes commands from the Fourmi at a:9901' },
    quiet: { input: [at('fourmi_instances', `service="stock", state="passing", env="prod", ${ONE}`, '2 1x10'), at('fourmi_instances', `service="stock", state="critical", env="prod", ${ONE}`, '0 1x10')], at: '3m' },
  },
  {
    name: 'FourmiInstanceAway', for: '10m', severity: 'ticket',
    expr: 'max by (env, service) (fourmi_instances{state="critical"}) > 0',
    summary: '{{ $value }} instance(s) of {{ $labels.service }} take no commands', description: 'The others do. `fourmi upstreams` and `fourmi services` name them and why.',
    fires: { input: [at('fourmi_instances', 'service="stock", state="critical", env="prod"', '0 1x20')], at: '12m', labels: stock, summary: '1 instance(s) of stock take no commands' },
    quiet: { input: [at('fourmi_instances', 'service="stock", state="critical", env="prod"', '0 1x5 0x20')], at: '12m' },
  },
  {
    name: 'FourmiErrorBudgetFast', for: '2m', severity: 'page',
    expr: burns(14.4, '5m', '1h'),
    summary: '{{ $value | humanizePercentage }} of the commands to {{ $labels.service }} fail', description: 'At this speed the failures that 99.9 % allow in 30 days are used up in two days.',
    fires: { input: [served('success', '0+97x70'), served('server_error', '0+3x70')], at: '65m', labels: stock, summary: '3% of the commands to stock fail' },
    quiet: { input: [served('success', '0+990x70'), served('server_error', '0+10x70'), served('client_error', '0+500x70'), served('rejected', '0+500x70')], at: '65m' },
  },
  {
    name: 'FourmiErrorBudgetSlow', for: '15m', severity: 'ticket',
    expr: burns(6, '30m', '6h'),
    summary: '{{ $value | humanizePercentage }} of the commands to {{ $labels.service }} fail, for hours', description: 'At this speed the failures that 99.9 % allow in 30 days are used up in five days.',
    fires: { input: [served('success', '0+990x400'), served('timeout', '0+10x400')], at: '390m', labels: stock, summary: '1% of the commands to stock fail, for hours' },
    quiet: { input: [served('success', '0+998x400'), served('timeout', '0+2x400')], at: '390m' },
  },
  {
    name: 'FourmiSlow', for: '10m', severity: 'ticket',
    expr: `histogram_quantile(0.95, ${rate('fourmi_command_duration_seconds_bucket', into, 'le, env, service, command')}) > 2`,
    summary: 'One of twenty {{ $labels.command }} takes longer than {{ $value | humanizeDuration }}', description: 'Whole time at the service\'s own sidecar. The dashboard of the service says whose time it is.',
    fires: { input: ['1', '2.5', '5', '+Inf'].map((le, i) => at('fourmi_command_duration_seconds_bucket', `service="stock", command="Reserve", direction="inbound", env="prod", le="${le}"`, `0+${[10, 10, 100, 100][i]}x30`)), at: '20m', labels: { ...stock, command: 'Reserve' }, summary: 'One of twenty Reserve takes longer than 4.861s' },
    quiet: { input: ['1', '2.5', '5', '+Inf'].map((le, i) => at('fourmi_command_duration_seconds_bucket', `service="stock", command="Reserve", direction="inbound", env="prod", le="${le}"`, `0+${[96, 97, 100, 100][i]}x30`)), at: '20m' },
  },
  {
    name: 'FourmiOverhead', for: '10m', severity: 'ticket',
    expr: `histogram_quantile(0.99, ${rate('fourmi_overhead_seconds_bucket', into, 'le, env, service')}) > 0.1`,
    summary: 'Fourmi itself holds commands to {{ $labels.service }} for {{ $value | humanizeDuration }}', description: 'From the request\'s head to handing it to an instance: access, limits, waiting for an instance.',
    fires: { input: ['0.01', '0.1', '0.25', '+Inf'].map((le, i) => at('fourmi_overhead_seconds_bucket', `service="stock", direction="inbound", env="prod", le="${le}"`, `0+${[90, 90, 100, 100][i]}x30`)), at: '20m', labels: stock, summary: 'Fourmi itself holds commands to stock for 235ms' },
    quiet: { input: ['0.01', '0.1', '0.25', '+Inf'].map((le, i) => at('fourmi_overhead_seconds_bucket', `service="stock", direction="inbound", env="prod", le="${le}"`, `0+${[99.5, 100, 100, 100][i]}x30`)), at: '20m' },
  },
  {
    name: 'FourmiNoTraffic', for: '5m', severity: 'page',
    expr: `${rate('fourmi_commands_total', into, 'env, service', '1h').replace('[1h]', '[1h] offset 15m')} > 0.1 unless ${rate('fourmi_commands_total', into, 'env, service', '10m')} > 0`,
    summary: 'No commands come to {{ $labels.service }} any more', description: 'There were some within the last hour. The way to it, its callers or its registration are gone.',
    fires: { input: [served('success', '0+60x60 3600x60')], at: '80m', labels: stock, summary: 'No commands come to stock any more' },
    quiet: { input: [served('success', '0+60x120')], at: '80m' },
  },
  {
    name: 'FourmiRefused', for: '15m', severity: 'ticket',
    expr: `${rate('fourmi_commands_total', `${into}, outcome="rejected"`, 'env, service')} / ${rate('fourmi_commands_total', into, 'env, service')} > 0.2`,
    summary: '{{ $value | humanizePercentage }} of the commands to {{ $labels.service }} are refused', description: 'By a limit, for want of a key or a right, or because they are no good. fourmi_rejected_total says why.',
    fires: { input: [served('success', '0+60x30'), served('rejected', '0+40x30')], at: '25m', labels: stock, summary: '40% of the commands to stock are refused' },
    quiet: { input: [served('success', '0+90x30'), served('rejected', '0+10x30')], at: '25m' },
  },
  {
    name: 'FourmiOverloaded', for: '5m', severity: 'page',
    expr: `${rate('fourmi_rejected_total', 'reason="overloaded"', 'env, instance')} > 0`,
    summary: 'The Fourmi at {{ $labels.instance }} has no room for more commands', description: 'More connections or commands in flight than its limits allow. What is over is answered 503 at once.',
    fires: { input: [at('fourmi_rejected_total', `reason="overloaded", env="prod", ${ONE}`, '0+6x20')], at: '15m', labels: { env: 'prod', ...one }, summary: 'The Fourmi at a:9901 has no room for more commands' },
    quiet: { input: [at('fourmi_rejected_total', `reason="overloaded", env="prod", ${ONE}`, '0 5x20'), at('fourmi_rejected_total', `reason="acl", env="prod", ${ONE}`, '0+6x20')], at: '15m' },
  },
  {
    name: 'FourmiCircuitOpen', for: '5m', severity: 'page',
    expr: `${rate('fourmi_rejected_total', 'reason="circuit-open"', 'env, instance')} > 0`,
    summary: 'The Fourmi at {{ $labels.instance }} leaves a service alone that mostly fails', description: 'Commands to it are refused with circuit-open until a try succeeds. `fourmi upstreams` names the service.',
    fires: { input: [at('fourmi_rejected_total', `reason="circuit-open", env="prod", ${ONE}`, '0+6x20')], at: '15m', labels: { env: 'prod', ...one }, summary: 'The Fourmi at a:9901 leaves a service alone that mostly fails' },
    quiet: { input: [at('fourmi_rejected_total', `reason="circuit-open", env="prod", ${ONE}`, '0 30 60x20')], at: '15m' },
  },
  {
    name: 'FourmiRetries', for: '10m', severity: 'ticket',
    expr: `${rate('fourmi_retries_total', '', 'env, instance')} / ${rate('fourmi_commands_total', '', 'env, instance')} > 0.1`,
    summary: 'The Fourmi at {{ $labels.instance }} sends {{ $value | humanizePercentage }} of its commands again', description: 'Instances fail and others take over. Callers see little of it yet.',
    fires: { input: [at('fourmi_retries_total', `reason="connect", env="prod", ${ONE}`, '0+20x30'), served('success', '0+100x30', `, ${ONE}`)], at: '20m', labels: { env: 'prod', ...one }, summary: 'The Fourmi at a:9901 sends 20% of its commands again' },
    quiet: { input: [at('fourmi_retries_total', `reason="connect", env="prod", ${ONE}`, '0+2x30'), served('success', '0+100x30', `, ${ONE}`)], at: '20m' },
  },
  {
    name: 'FourmiRecordsLost', for: '5m', severity: 'ticket',
    expr: `${rate('fourmi_sink_records_total', 'result!="sent"', 'env, instance, sink')} / ${rate('fourmi_sink_records_total', '', 'env, instance, sink')} > 0.001`,
    summary: '{{ $value | humanizePercentage }} of what {{ $labels.sink }} should get is lost', description: 'Commands are not touched. /api/v1/sinks of the Fourmi names the receiver and the last error.',
    fires: { input: [at('fourmi_sink_records_total', `sink="graylog", result="sent", env="prod", ${ONE}`, '0+90x20'), at('fourmi_sink_records_total', `sink="graylog", result="dropped_full", env="prod", ${ONE}`, '0+10x20')], at: '15m', labels: { env: 'prod', sink: 'graylog', ...one }, summary: '10% of what graylog should get is lost' },
    quiet: { input: [at('fourmi_sink_records_total', `sink="graylog", result="sent", env="prod", ${ONE}`, '0+90x20'), at('fourmi_sink_records_total', `sink="graylog", result="dropped_full", env="prod", ${ONE}`, '7x20')], at: '15m' },
  },
  {
    name: 'FourmiSinkAway', for: '5m', severity: 'ticket',
    expr: `${rate('fourmi_sink_troubles_total', '', 'env, instance, sink, reason')} > 0 unless on (env, instance, sink) ${rate('fourmi_sink_records_total', 'result="sent"', 'env, instance, sink')} > 0`,
    summary: '{{ $labels.sink }} gets nothing: {{ $labels.reason }}', description: 'The receiver cannot be reached. What the buffer does not hold will be lost.',
    fires: { input: [at('fourmi_sink_troubles_total', `sink="statsd", reason="refused", env="prod", ${ONE}`, '0+6x20'), at('fourmi_sink_records_total', `sink="statsd", result="sent", env="prod", ${ONE}`, '90x20')], at: '15m', labels: { env: 'prod', sink: 'statsd', reason: 'refused', ...one }, summary: 'statsd gets nothing: refused' },
    quiet: { input: [at('fourmi_sink_troubles_total', `sink="statsd", reason="refused", env="prod", ${ONE}`, '0+6x20'), at('fourmi_sink_records_total', `sink="statsd", result="sent", env="prod", ${ONE}`, '0+90x20')], at: '15m' },
  },
  {
    name: 'FourmiReloadFailed', severity: 'ticket',
    expr: 'increase(fourmi_reloads_total{result="failed"}[10m]) > 0',
    summary: 'The Fourmi at {{ $labels.instance }} refused a configuration', description: 'The old one goes on. `fourmi validate` shows every problem with its place and fix.',
    fires: { input: [at('fourmi_reloads_total', `result="failed", ${ONE}`, '0x5 1x20')], at: '10m', labels: { result: 'failed', ...one }, summary: 'The Fourmi at a:9901 refused a configuration' },
    quiet: { input: [at('fourmi_reloads_total', `result="failed", ${ONE}`, '1x20'), at('fourmi_reloads_total', `result="ok", ${ONE}`, '0+1x20')], at: '15m' },
  },
  {
    name: 'FourmiRestarts', severity: 'ticket',
    expr: `changes(process_start_time_seconds[1h]) > 2 ${ours}`,
    summary: 'The Fourmi at {{ $labels.instance }} was started {{ $value }} times within an hour', description: 'It ends, or is ended, again and again. Its last words and its exit code say why.',
    fires: { input: [at('process_start_time_seconds', ONE, '1 1 2 2 3 3 4x40'), INFO], at: '30m', labels: one, summary: 'The Fourmi at a:9901 was started 3 times within an hour' },
    quiet: { input: [at('process_start_time_seconds', ONE, '1 2 2x40'), at('process_start_time_seconds', 'instance="other"', '1 2 3 4 5x40'), INFO], at: '30m' },
  },
  {
    name: 'FourmiCertificateExpires', for: '10m', severity: 'ticket',
    expr: 'fourmi_certificate_expires_timestamp_seconds - time() < 14 * 24 * 3600',
    summary: 'The certificate in {{ $labels.file }} expires in {{ $value | humanizeDuration }}', description: 'Replace the file; a Fourmi reads it again by itself.',
    fires: { input: [at('fourmi_certificate_expires_timestamp_seconds', `file="c.pem", ${ONE}`, '1000000x40')], at: '20m', labels: { file: 'c.pem', ...one }, summary: 'The certificate in c.pem expires in 11d 13h 26m 40s' },
    quiet: { input: [at('fourmi_certificate_expires_timestamp_seconds', `file="c.pem", ${ONE}`, '2000000x40')], at: '20m' },
  },
  {
    name: 'FourmiCertificateExpiresNow', severity: 'page',
    expr: 'fourmi_certificate_expires_timestamp_seconds - time() < 24 * 3600',
    summary: 'The certificate in {{ $labels.file }} expires within a day', description: 'From then on nobody who verifies it connects. Replace the file; a Fourmi reads it again by itself.',
    fires: { input: [at('fourmi_certificate_expires_timestamp_seconds', `file="c.pem", ${ONE}`, '3600x40')], at: '20m', labels: { file: 'c.pem', ...one }, summary: 'The certificate in c.pem expires within a day' },
    quiet: { input: [at('fourmi_certificate_expires_timestamp_seconds', `file="c.pem", ${ONE}`, '1000000x40')], at: '20m' },
  },
  {
    name: 'FourmiRegistryAway', for: '1m', severity: 'ticket',
    expr: 'fourmi_registry_away_seconds > 300',
    summary: 'The registry at {{ $labels.instance }} has been cut off for {{ $value | humanizeDuration }}', description: 'It answers with what it knew last: instances that came since are not found, those that went are.',
    fires: { input: [at('fourmi_registry_away_seconds', ONE, '0+60x20')], at: '10m', labels: one, summary: 'The registry at a:9901 has been cut off for 10m 0s' },
    quiet: { input: [at('fourmi_registry_away_seconds', ONE, '0 60 120 0x20')], at: '10m' },
  },
  {
    name: 'FourmiDnsFailures', for: '10m', severity: 'ticket',
    expr: `${rate('fourmi_dns_queries_total', 'rcode=~"servfail|refused|formerr|notimp|dropped"', 'env, instance')} / ${rate('fourmi_dns_queries_total', '', 'env, instance')} > 0.05`,
    summary: '{{ $value | humanizePercentage }} of the DNS questions at {{ $labels.instance }} get no good answer', description: 'A recursor that is away, clients that may not ask, or more questions than the budget allows.',
    fires: { input: [at('fourmi_dns_queries_total', `type="A", rcode="noerror", env="prod", ${ONE}`, '0+90x30'), at('fourmi_dns_queries_total', `type="A", rcode="servfail", env="prod", ${ONE}`, '0+10x30')], at: '20m', labels: { env: 'prod', ...one }, summary: '10% of the DNS questions at a:9901 get no good answer' },
    quiet: { input: [at('fourmi_dns_queries_total', `type="A", rcode="noerror", env="prod", ${ONE}`, '0+50x30'), at('fourmi_dns_queries_total', `type="A", rcode="nxdomain", env="prod", ${ONE}`, '0+50x30')], at: '20m' },
  },
  {
    name: 'FourmiLimitFallback', for: '10m', severity: 'ticket',
    expr: `${rate('fourmi_limit_fallbacks_total', '', 'env, instance, reason')} > 0`,
    summary: 'Limits at {{ $labels.instance }} are not counted as asked: {{ $labels.reason }}', description: 'Mostly Redis is away. With fault_tolerant they hold for this machine alone, without it commands are answered 500.',
    fires: { input: [at('fourmi_limit_fallbacks_total', `reason="connect", env="prod", ${ONE}`, '0+6x30')], at: '20m', labels: { env: 'prod', reason: 'connect', ...one }, summary: 'Limits at a:9901 are not counted as asked: connect' },
    quiet: { input: [at('fourmi_limit_fallbacks_total', `reason="connect", env="prod", ${ONE}`, '0 50x30')], at: '20m' },
  },
  {
    name: 'FourmiDescriptors', for: '5m', severity: 'page',
    expr: `process_open_fds / process_max_fds > 0.8 ${ours}`,
    summary: 'The Fourmi at {{ $labels.instance }} uses {{ $value | humanizePercentage }} of its descriptors', description: 'At the limit it takes no connection. Raise LimitNOFILE or ulimit -n, or find who keeps connections open.',
    fires: { input: [at('process_open_fds', ONE, '900x20'), at('process_max_fds', ONE, '1000x20'), INFO], at: '10m', labels: one, summary: 'The Fourmi at a:9901 uses 90% of its descriptors' },
    quiet: { input: [at('process_open_fds', ONE, '100x20'), at('process_max_fds', ONE, '1000x20'), INFO, at('process_open_fds', 'instance="other"', '900x20'), at('process_max_fds', 'instance="other"', '1000x20')], at: '10m' },
  },
  {
    name: 'FourmiSeriesFull', for: '10m', severity: 'ticket',
    expr: `${rate('fourmi_commands_total', 'command="_other"', 'env, instance', '10m')} > 0`,
    summary: 'The Fourmi at {{ $labels.instance }} sees more kinds of commands than it can count', description: 'Beyond 200 names or 2,000 series everything is _other. Mostly an id stands in a name, or a tag with many values in metrics.labels.',
    fires: { input: [at('fourmi_commands_total', `command="_other", env="prod", ${ONE}`, '0+6x40')], at: '30m', labels: { env: 'prod', ...one }, summary: 'The Fourmi at a:9901 sees more kinds of commands than it can count' },
    quiet: { input: [at('fourmi_commands_total', `command="Pay", env="prod", ${ONE}`, '0+6x40')], at: '30m' },
  },
  {
    name: 'FourmiSpoolOld', for: '5m', severity: 'page',
    // Scheduled ones may be as old as they like.
    expr: 'max by (env, instance) (fourmi_spool_oldest_age_seconds{state=~"ready|retrying"}) > 900',
    summary: 'A stored command at {{ $labels.instance }} has been waiting for {{ $value | humanizeDuration }}', description: 'Stored commands are not delivered: their instance is away or refuses them, or somebody paused them.',
    fires: { input: [at('fourmi_spool_oldest_age_seconds', `state="ready", env="prod", ${ONE}`, '0x40'), at('fourmi_spool_oldest_age_seconds', `state="retrying", env="prod", ${ONE}`, '0+60x40')], at: '25m', labels: { env: 'prod', ...one }, summary: 'A stored command at a:9901 has been waiting for 25m 0s' },
    quiet: { input: [at('fourmi_spool_oldest_age_seconds', `state="ready", env="prod", ${ONE}`, '0+20x40'), at('fourmi_spool_oldest_age_seconds', `state="scheduled", env="prod", ${ONE}`, '90000+60x40')], at: '25m' },
  },
  {
    name: 'FourmiSpoolStill', for: '5m', severity: 'page',
    // Ready is what is due. An attempt that has ended enters one of these states; where nobody was there, there was none.
    expr: `min by (env, instance) (min_over_time(fourmi_spool_commands{state="ready"}[10m])) > 0 and sum by (env, instance) (increase(fourmi_spool_transitions_total{${ATTEMPTED}}[10m])) == 0`,
    summary: '{{ $value }} stored command(s) at {{ $labels.instance }} are due, and none has been sent for ten minutes', description: 'Somebody paused them, their service is away, their route is gone, or what was sent last does not come back.',
    fires: { input: [at('fourmi_spool_commands', `state="ready", env="prod", ${ONE}`, '0x5 3x40'), ...ended('0 7x45')], at: '25m', labels: { env: 'prod', ...one }, summary: '3 stored command(s) at a:9901 are due, and none has been sent for ten minutes' },
    quiet: { input: [at('fourmi_spool_commands', `state="ready", env="prod", ${ONE}`, '90x40'), ...ended('0+1x40')], at: '25m' },
  },
  {
    name: 'FourmiSpoolStuck', severity: 'ticket',
    // The same one for so long: the age of the oldest that is running has grown as time has passed, and never fell.
    expr: `max by (env, instance) (${RUNNING} and (${RUNNING} - ${RUNNING} offset 15m > 870) and resets(${RUNNING}[15m]) == 0 and min_over_time(${RUNNING}[15m]) > 0)`,
    summary: 'An attempt of a stored command at {{ $labels.instance }} has been running for more than a quarter of an hour', description: 'Its worker has it and does not answer, or timeouts.answer is longer than that. Others of its key wait.',
    fires: { input: [at('fourmi_spool_oldest_age_seconds', `state="running", env="prod", ${ONE}`, '0x3 5000+60x40')], at: '25m', labels: { env: 'prod', ...one }, summary: 'An attempt of a stored command at a:9901 has been running for more than a quarter of an hour' },
    // One after another, as old as the backlog; and one that is tried again and again.
    quiet: { input: [at('fourmi_spool_oldest_age_seconds', `state="running", env="prod", ${ONE}`, '5000+60x7 5010+60x7 5020+60x20'), at('fourmi_spool_oldest_age_seconds', 'state="running", env="prod", instance="b:9901"', '0x9 6800 0x13 7720')], at: '25m' },
  },
  {
    name: 'FourmiSpoolDead', severity: 'ticket',
    expr: 'sum by (env, instance) (fourmi_spool_commands{state=~"dead|unknown"}) > 0',
    summary: '{{ $value }} stored command(s) at {{ $labels.instance }} wait for somebody who decides', description: 'They were given up, or nobody knows whether they ran. Nothing happens to them until they are sent again or discarded.',
    fires: { input: [at('fourmi_spool_commands', `state="dead", env="prod", ${ONE}`, '0 3x20'), at('fourmi_spool_commands', `state="unknown", env="prod", ${ONE}`, '0 1x20')], at: '5m', labels: { env: 'prod', ...one }, summary: '4 stored command(s) at a:9901 wait for somebody who decides' },
    quiet: { input: [at('fourmi_spool_commands', `state="dead", env="prod", ${ONE}`, '0x20'), at('fourmi_spool_commands', `state="retrying", env="prod", ${ONE}`, '9x20')], at: '5m' },
  },
  {
    name: 'FourmiSpoolFull', severity: 'page',
    expr: 'sum by (env, instance, reason) (increase(fourmi_spool_refused_total[5m])) > 0',
    summary: 'The spool at {{ $labels.instance }} takes no commands ({{ $labels.reason }})', description: 'Its file or its disk has no room, or the disk does not write. Callers who wanted a command stored are answered 503.',
    fires: { input: [at('fourmi_spool_refused_total', `reason="full", env="prod", ${ONE}`, '0x5 1+4x20')], at: '10m', labels: { reason: 'full', env: 'prod', ...one }, summary: 'The spool at a:9901 takes no commands (full)' },
    quiet: { input: [at('fourmi_spool_refused_total', `reason="full", env="prod", ${ONE}`, '0 7x20')], at: '10m' },
  },
]

const runbook = name => `${DOCS}/runbooks.md#${name.toLowerCase()}`
const exprOf = (alert, named) => (typeof alert.expr === 'function' ? alert.expr(range => named(ratio(range))) : alert.expr)
const notes = alert => ({ summary: alert.summary, description: alert.description, runbook_url: runbook(alert.name) })

// For Prometheus: `rule_files:`.
const rules = () => ({
  groups: [
    { name: 'fourmi-objectives', interval: '30s', rules: ratios },
    {
      name: 'fourmi',
      rules: alerts.map(alert => ({
        alert: alert.name,
        expr: exprOf(alert, ({ record }) => record),
        ...(alert.for && { for: alert.for }),
        labels: { severity: alert.severity },
        annotations: notes(alert),
      })),
    },
  ],
})

// For `promtool test rules`: two for each alert.
const tests = () => ({
  rule_files: ['fourmi.rules.yaml'],
  evaluation_interval: '1m',
  tests: alerts.flatMap(alert =>
    ['fires', 'quiet'].map(kind => {
      const { input, at, labels, summary } = alert[kind]
      const fired = { exp_labels: { severity: alert.severity, ...labels }, exp_annotations: { ...notes(alert), summary } }
      return {
        interval: '1m',
        name: `${alert.name} ${kind}`,
        input_series: input.map(([series, values]) => ({ series, values })),
        alert_rule_test: [{ eval_time: at, alertname: alert.name, exp_alerts: kind === 'fires' ? [fired] : [] }],
      }
    }),
  ),
})

// For Grafana's own alerting: the query, and whether it has any result.
const provisioned = datasource => ({
  apiVersion: 1,
  groups: [
    {
      orgId: 1,
      name: 'fourmi',
      folder: 'Fourmi',
      interval: '1m',
      rules: alerts.map(alert => ({
        uid: alert.name.toLowerCase(),
        title: alert.name,
        condition: 'B',
        data: [
          {
            refId: 'A',
            relativeTimeRange: { from: 600, to: 0 },
            datasourceUid: datasource,
            model: { refId: 'A', datasource: { type: 'prometheus', uid: datasource }, expr: exprOf(alert, ({ expr }) => `(${expr})`), instant: true, range: false },
          },
          // The comparison stands in the query: what it lets through is wrong, even where its value is 0.
          { refId: 'B', relativeTimeRange: { from: 0, to: 0 }, datasourceUid: '__expr__', model: { refId: 'B', datasource: { type: '__expr__', uid: '__expr__' }, type: 'math', expression: 'is_number($A)' } },
        ],
        noDataState: 'OK',
        execErrState: 'Error',
        for: alert.for ?? '0s',
        labels: { severity: alert.severity },
        annotations: { ...notes(alert), summary: alert.summary.replaceAll('$value', '$values.A.Value') },
      })),
    },
  ],
})

module.exports = { rules, tests, provisioned, names: alerts.map(alert => alert.name) }
