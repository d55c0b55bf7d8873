'use strict'
// The fleet on one screen: is something wrong, where, since when.

const { steps, falling } = require('../panel')
const { sidecar, commands, failed, inbound, outbound, rate, share, quantile, total, whole, overhead } = require('./source')

const into = commands(inbound)
const out = commands(outbound)
// Keeps the time and the environment, and takes the row's service along.
const toService = [{
  title: 'This service',
  url: '/d/fourmi-service?var-service=${__data.fields.service}&${environment:queryparam}&${datasource:queryparam}&${__url_time_range}',
  targetBlank: false,
}]

module.exports = {
  uid: 'fourmi-overview',
  title: 'Fourmi / Overview',
  about: 'Every service behind a Fourmi: how many commands, how many fail, how long they take, and what gets in their way.',
  objective: true,
  rows: [
    ['Now', [
      { kind: 'stat', title: 'Commands', about: 'Commands that came in to services, a second. What services send is apart, or every hop would count twice.', unit: 'reqps', queries: [[rate(total, into)]] },
      { kind: 'stat', title: 'Do not fail', about: 'Share of inbound commands that did not end as server_error, timeout, unreachable, dead or unknown. Refusals and errors of callers are no failures.', unit: 'percentunit', decimals: 2, good: falling(0.99, 0.999), queries: [[`1 - ${share(total, commands(inbound, failed), into)}`]] },
      { kind: 'stat', title: 'p95', about: 'Nineteen of twenty inbound commands are answered within this time.', unit: 's', good: steps(0.5, 2), queries: [[quantile(0.95, whole, into)]] },
      { kind: 'stat', title: 'Our own p99', about: 'What Fourmi adds before it hands a command over: identification, access, waiting for an instance.', unit: 's', good: steps(0.01, 0.1), queries: [[quantile(0.99, overhead, into)]] },
      { kind: 'stat', title: 'In flight', about: 'Commands that have begun and not ended, both directions.', unit: 'short', queries: [[`sum(fourmi_commands_in_flight${sidecar()})`]] },
      { kind: 'stat', title: 'Instances down', about: 'Instances to which no command goes: not ready, ejected, or critical in the registry.', unit: 'short', good: steps(1), docs: 'upstreams.md', queries: [[`sum(max by (service) (fourmi_instances${sidecar('state="critical"')}))`]] },
      { kind: 'stat', title: 'Telemetry lost', about: 'Records and metric lines that no receiver will get, a second. Commands are not touched by it.', unit: 'cps', good: steps(0.001), docs: 'logs.md', queries: [[rate('fourmi_sink_records_total', sidecar('result!="sent"'))]] },
      { kind: 'stat', title: 'Sidecars', about: 'Processes that Prometheus reads.', unit: 'short', queries: [[`count(fourmi_build_info${sidecar()})`]] },
    ]],
    ['Services', [
      { title: 'Commands by service', about: 'Inbound commands a second.', unit: 'reqps', stacked: true, queries: [[rate(total, into, 'service'), '{{service}}']] },
      { title: 'Failures by service', about: 'Share of inbound commands that failed. 0 is shown as 0, not as a hole.', unit: 'percentunit', docs: 'runbooks.md#fourmierrorbudgetfast', queries: [[share(total, commands(inbound, failed), into, 'service'), '{{service}}']] },
      { title: 'p95 by service', about: 'Whole time of inbound commands, from the head of the request to the last byte of the answer.', unit: 's', docs: 'runbooks.md#fourmislow', queries: [[quantile(0.95, whole, into, 'service'), '{{service}}']] },
      {
        kind: 'table', width: 24, title: 'Services', about: 'Over the last minutes. A click on a service opens its page with the same time.', unit: 'short', drill: toService,
        queries: [[rate(total, into, 'service')], [share(total, commands(inbound, failed), into, 'service')], [share(total, commands(inbound, 'outcome="rejected"'), into, 'service')], [quantile(0.5, whole, into, 'service')], [quantile(0.95, whole, into, 'service')], [quantile(0.99, overhead, into, 'service')], [`max by (service) (fourmi_instances${sidecar('service=~"$service"', 'state="passing"')})`]],
        columns: [['commands', 'reqps'], ['failed', 'percentunit', [0.001, 0.01]], ['refused', 'percentunit'], ['p50', 's'], ['p95', 's', [0.5, 2]], ['own p99', 's', [0.01, 0.1]], ['instances', 'short']],
      },
    ]],
    ['Commands', [
      { kind: 'bars', title: 'Slowest commands', about: 'The ten commands with the highest p95 over the time shown.', unit: 's', good: steps(0.5, 2), queries: [[`topk(10, ${quantile(0.95, whole, into, 'service, command', '$__range')})`, '{{service}} {{command}}']] },
      { kind: 'bars', title: 'Most failing commands', about: 'The ten commands of which most failed over the time shown, in commands.', unit: 'short', good: steps(1), queries: [[`topk(10, sum by (service, command) (increase(${total}${commands(inbound, failed)}[$__range])))`, '{{service}} {{command}}']] },
      { kind: 'bars', title: 'Most frequent commands', about: 'The ten commands that come most often, over the time shown.', unit: 'reqps', queries: [[`topk(10, ${rate(total, into, 'service, command', '$__range')})`, '{{service}} {{command}}']] },
      {
        kind: 'table', width: 24, title: 'Who sends what', about: 'Commands that leave through a sidecar, by the sidecar and the service they go to: the arrows of the system.', unit: 'short', drill: toService,
        queries: [[rate(total, out, 'instance, service, command')], [share(total, commands(outbound, failed), out, 'instance, service, command')], [quantile(0.95, whole, out, 'instance, service, command')]],
        columns: [['commands', 'reqps'], ['failed', 'percentunit', [0.001, 0.01]], ['p95', 's', [0.5, 2]]],
      },
    ]],
    ['Error budget', [
      { kind: 'stat', width: 6, height: 8, title: 'Budget left', about: 'What is left of the failures that the objective allows over the time shown. Below 0 it was missed. Choose 7 or 30 days.', unit: 'percentunit', good: falling(0, 0.5), line: false, queries: [[`1 - (${share(total, commands(inbound, failed), into, '', '$__range')}) / (1 - $objective / 100)`]] },
      { width: 18, title: 'How fast the budget burns', about: '1 uses up exactly the budget. The alerts are at 14.4 (5 minutes and 1 hour) and 6 (30 minutes and 6 hours).', unit: 'short', docs: 'runbooks.md#fourmierrorbudgetfast', queries: ['5m', '1h', '6h'].map(range => [`(${share(total, commands(inbound, failed), into, 'service', range)}) / (1 - $objective / 100)`, `{{service}} ${range}`]) },
    ]],
    ['What gets in the way', [
      { title: 'Refused, by reason', about: 'What Fourmi answered itself. The reason is the code of the error or the middleware that refused.', unit: 'reqps', stacked: true, docs: 'troubleshooting.md', queries: [[rate('fourmi_rejected_total', sidecar(), 'reason'), '{{reason}}']] },
      { title: 'Sent again, by reason', about: 'Attempts after the first. A budget bounds them.', unit: 'reqps', docs: 'upstreams.md', queries: [[rate('fourmi_retries_total', sidecar(), 'reason'), '{{reason}}']] },
      { title: 'Telemetry lost, by sink', about: 'Records and lines that no receiver will get, by why.', unit: 'cps', docs: 'runbooks.md#fourmirecordslost', queries: [[rate('fourmi_sink_records_total', sidecar('result!="sent"'), 'sink, result'), '{{sink}} {{result}}']] },
      { title: 'Instances that take no commands', about: 'By service.', unit: 'short', docs: 'runbooks.md#fourminoinstance', queries: [[`max by (service) (fourmi_instances${sidecar('state="critical"')})`, '{{service}}']] },
      { title: 'Certificates: time left', about: 'The certificate that expires first, by sidecar and file.', unit: 's', docs: 'runbooks.md#fourmicertificateexpires', queries: [[`min by (instance, file) (fourmi_certificate_expires_timestamp_seconds${sidecar()}) - time()`, '{{instance}} {{file}}']] },
      { title: 'Registry away', about: 'For how long a registry has been cut off from the one that it follows or from its etcd. It goes on answering with what it knew.', unit: 's', docs: 'runbooks.md#fourmiregistryaway', queries: [[`max by (instance) (fourmi_registry_away_seconds${sidecar()})`, '{{instance}}']] },
      { width: 24, title: 'Stored commands: waiting and dead', about: 'By sidecar: commands in the spool that should have been delivered by now, and those that were given up, which wait for somebody who decides. Only a Fourmi with `spool:` has any.', unit: 'short', docs: 'runbooks.md#fourmispooldead', queries: [[`sum by (instance) (fourmi_spool_commands${sidecar('state=~"ready|running|retrying"')})`, '{{instance}} waiting'], [`sum by (instance) (fourmi_spool_commands${sidecar('state=~"dead|unknown"')})`, '{{instance}} dead']] },
    ]],
  ],
}
