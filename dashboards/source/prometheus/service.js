'use strict'
// One service: what is asked of it, what it asks of others, and where the time goes.

const { steps, falling } = require('../panel')
const { sidecar, commands, failed, inbound, outbound, rate, share, quantile, quantiles, mean, total, whole, upstream, overhead } = require('./source')

const into = commands(inbound)
// What others see of it: commands that sidecars of callers send to it.
const callers = commands(outbound)
// What it sends itself: outbound commands of the sidecars that also take its inbound ones.
const beside = `and on (instance) ${total}${sidecar('service=~"$service"', inbound)}`
const sends = metric => `rate(${metric}${sidecar(outbound)}[$__rate_interval]) ${beside}`
const apdex = (() => {
  const below = le => rate(`${whole}_bucket`, commands(inbound, `le=~"${le}"`))
  return `(${below('0\\\\.25')} + ${below('1|1\\\\.0')}) / 2 / ${rate(`${whole}_count`, into)}`
})()

module.exports = {
  uid: 'fourmi-service',
  title: 'Fourmi / Service',
  about: 'One service: rate, errors and duration of every command, in and out, and which part of the time is whose.',
  objective: true,
  rows: [
    ['Now', [
      { kind: 'stat', width: 4, title: 'Commands', about: 'Inbound commands a second.', unit: 'reqps', queries: [[rate(total, into)]] },
      { kind: 'stat', width: 4, title: 'Do not fail', about: 'Share of inbound commands that did not fail.', unit: 'percentunit', decimals: 2, good: falling(0.99, 0.999), queries: [[`1 - ${share(total, commands(inbound, failed), into)}`]] },
      { kind: 'stat', width: 4, title: 'Refused', about: 'Share that Fourmi refused: no key, a limit, not ready.', unit: 'percentunit', good: steps(0.05, 0.2), queries: [[share(total, commands(inbound, 'outcome="rejected"'), into)]] },
      { kind: 'stat', width: 4, title: 'p95', about: 'Nineteen of twenty commands are answered within this time.', unit: 's', good: steps(0.5, 2), queries: [[quantile(0.95, whole, into)]] },
      { kind: 'stat', width: 4, title: 'Apdex', about: 'Satisfied within 250 ms, tolerating up to 1 s: (satisfied + tolerating / 2) / all. 1 is best.', unit: 'short', decimals: 2, good: falling(0.7, 0.9), queries: [[apdex]] },
      { kind: 'stat', width: 4, title: 'Budget left', about: 'What is left of the failures that the objective allows over the time shown.', unit: 'percentunit', good: falling(0, 0.5), line: false, queries: [[`1 - (${share(total, commands(inbound, failed), into, '', '$__range')}) / (1 - $objective / 100)`]] },
    ]],
    ['Rate, errors, duration', [
      { title: 'By command', about: 'Inbound commands a second.', unit: 'reqps', stacked: true, queries: [[rate(total, into, 'command'), '{{command}}']] },
      { title: 'By outcome', about: 'How inbound commands ended.', unit: 'reqps', stacked: true, docs: 'logs.md', queries: [[rate(total, into, 'outcome'), '{{outcome}}']] },
      { title: 'Failures by command', about: 'Share of each command that failed.', unit: 'percentunit', docs: 'runbooks.md#fourmierrorbudgetfast', queries: [[share(total, commands(inbound, failed), into, 'command'), '{{command}}']] },
      { title: 'Duration', about: 'Whole time of inbound commands.', unit: 's', docs: 'runbooks.md#fourmislow', queries: quantiles(whole, into) },
      { title: 'p95 by command', about: 'Whole time, by command.', unit: 's', queries: [[quantile(0.95, whole, into, 'command'), '{{command}}']] },
      { kind: 'heat', width: 8, title: 'Durations', about: 'How many commands took how long. A second band is a second way through the service.', unit: 's', queries: [[rate(`${whole}_bucket`, into, 'le'), '{{le}}']] },
    ]],
    ['Where the time goes', [
      { title: 'Worker and Fourmi', about: 'Mean time a command: what the instance took until the head of its answer, and what Fourmi took before it. The rest of the whole time is the body.', unit: 's', stacked: true, queries: [[mean(upstream, into), 'instance'], [mean(overhead, into), 'Fourmi']] },
      { title: 'Our overhead', about: 'From the request\'s head to handing the command to an instance: identification, access, waiting for an instance or for a turn.', unit: 's', docs: 'runbooks.md#fourmioverhead', queries: quantiles(overhead, into) },
      { title: 'The instance\'s own time', about: 'From handing the command over to the head of the answer.', unit: 's', queries: quantiles(upstream, into) },
    ]],
    ['By route, protocol and sidecar', [
      { title: 'By route', about: 'Inbound commands a second by the route that took them.', unit: 'reqps', stacked: true, queries: [[rate(total, into, 'route'), '{{route}}']] },
      { title: 'By protocol', about: 'How callers speak.', unit: 'reqps', stacked: true, queries: [[rate(total, into, 'protocol'), '{{protocol}}']] },
      { title: 'By sidecar', about: 'One line a process: a sidecar that differs from the others is worth a look.', unit: 'reqps', queries: [[rate(total, into, 'instance'), '{{instance}}']] },
      { title: 'Failures by route', about: 'Share of each route that failed.', unit: 'percentunit', queries: [[share(total, commands(inbound, failed), into, 'route'), '{{route}}']] },
      { title: 'p95 by route and protocol', about: 'Whole time.', unit: 's', queries: [[quantile(0.95, whole, into, 'route, protocol'), '{{route}} {{protocol}}']] },
      { title: 'p95 by sidecar', about: 'Whole time.', unit: 's', queries: [[quantile(0.95, whole, into, 'instance'), '{{instance}}']] },
    ]],
    ['As its callers see it', [
      { title: 'Commands to it', about: 'What sidecars of callers send to this service. More than it takes itself: something is lost on the way.', unit: 'reqps', stacked: true, queries: [[rate(total, callers, 'instance'), '{{instance}}']] },
      { title: 'Failures there', about: 'Share that failed for its callers, with timeouts and lost connections that the service itself never saw.', unit: 'percentunit', queries: [[share(total, commands(outbound, failed), callers, 'command'), '{{command}}']] },
      { title: 'Duration there', about: 'Whole time for its callers, with the network, retries and waiting for a turn.', unit: 's', queries: quantiles(whole, callers) },
    ]],
    ['What it sends', [
      { title: 'To whom', about: 'Commands that leave through this service\'s own sidecars.', unit: 'reqps', stacked: true, docs: 'upstreams.md', queries: [[`sum by (service, command) (${sends(total)})`, '{{service}} {{command}}']] },
      { title: 'How they end', about: 'Outcomes of what it sends, by service.', unit: 'reqps', docs: 'logs.md', queries: [[`sum by (service, outcome) (${sends(total)})`, '{{service}} {{outcome}}']] },
      { title: 'p95 of what it sends', about: 'Whole time, by service.', unit: 's', queries: [[`histogram_quantile(0.95, sum by (le, service) (${sends(`${whole}_bucket`)}))`, '{{service}}']] },
    ]],
    ['Instances and tags', [
      { title: 'Instances', about: 'As its sidecars and the registry see them.', unit: 'short', docs: 'upstreams.md', queries: [[`max by (state) (fourmi_instances${sidecar('service=~"$service"')})`, '{{state}}']] },
      { title: 'Attempts after the first', about: 'By the sidecars beside this service.', unit: 'reqps', docs: 'upstreams.md', queries: [[`sum by (reason) (rate(fourmi_retries_total${sidecar()}[$__rate_interval]) ${beside})`, '{{reason}}']] },
      { title: 'Commands by tag', about: 'Tags that are listed in metrics.labels, by value.', unit: 'reqps', queries: [[`topk(20, sum by (tag, value) (rate(fourmi_tag_total${sidecar()}[$__rate_interval]) ${beside}))`, '{{tag}}={{value}}']] },
    ]],
  ],
}
