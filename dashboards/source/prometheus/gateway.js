'use strict'
// The gateway: who calls, what is refused and why, what limits and middlewares cost.

const { steps } = require('../panel')
const { sidecar, commands, failed, inbound, rate, share, quantile, total, whole, overhead } = require('./source')

const into = commands(inbound)
const named = commands(inbound, 'consumer!=""')
const rejected = (...more) => rate('fourmi_rejected_total', sidecar(...more))
const identity = 'reason=~"key-auth|basic-auth|jwt|hmac-auth|mtls-auth"'
const permission = 'reason=~"acl|ip-restriction|bot-detection|cors"'
const limits = 'reason=~"rate-limiting|response-ratelimiting|rate-shaping|request-size-limiting"'

module.exports = {
  uid: 'fourmi-gateway',
  title: 'Fourmi / Gateway and consumers',
  about: 'Who calls, who is refused and why, and what the middlewares cost. Panels by consumer need `consumer` in metrics.labels.',
  rows: [
    ['Now', [
      { kind: 'stat', width: 4, title: 'Refused', about: 'Share of inbound commands that Fourmi answered itself.', unit: 'percentunit', good: steps(0.05, 0.2), queries: [[share(total, commands(inbound, 'outcome="rejected"'), into)]] },
      { kind: 'stat', width: 4, title: 'Not identified', about: 'Refused a second because nobody known stood behind them (401).', unit: 'reqps', docs: 'kong-auth.md', queries: [[rejected(identity)]] },
      { kind: 'stat', width: 4, title: 'Not allowed', about: 'Refused a second though known: group, address, robot, origin (403).', unit: 'reqps', docs: 'kong-access.md', queries: [[rejected(permission)]] },
      { kind: 'stat', width: 4, title: 'Over a limit', about: 'Refused a second by a limit (413, 429).', unit: 'reqps', docs: 'limits.md', queries: [[rejected(limits)]] },
      { kind: 'stat', width: 4, title: 'Limits not as asked', about: 'Limits a second that could not be counted as their file asks, mostly because Redis is away.', unit: 'cps', good: steps(0.001), docs: 'runbooks.md#fourmilimitfallback', queries: [[rate('fourmi_limit_fallbacks_total', sidecar())]] },
      { kind: 'stat', width: 4, title: 'Consumers seen', about: 'Consumers with commands in the time shown.', unit: 'short', docs: 'kong.md', queries: [[`count(sum by (consumer) (rate(${total}${named}[$__range])) > 0)`]] },
    ]],
    ['Consumers', [
      { title: 'By consumer', about: 'Inbound commands a second of those who were identified.', unit: 'reqps', stacked: true, docs: 'kong-auth.md', queries: [[rate(total, named, 'consumer'), '{{consumer}}']] },
      { title: 'Refused by consumer', about: 'Share of each consumer\'s commands that were refused: a limit or a group.', unit: 'percentunit', docs: 'limits.md', queries: [[share(total, commands(inbound, 'consumer!=""', 'outcome="rejected"'), named, 'consumer'), '{{consumer}}']] },
      { title: 'p95 by consumer', about: 'Whole time.', unit: 's', queries: [[quantile(0.95, whole, named, 'consumer'), '{{consumer}}']] },
      {
        kind: 'table', width: 24, title: 'Consumers', about: 'Over the last minutes. `fourmi limits` says how near each is to its limit.', unit: 'short', docs: 'limits.md',
        queries: [[rate(total, named, 'consumer, service, route')], [share(total, commands(inbound, 'consumer!=""', 'outcome="rejected"'), named, 'consumer, service, route')], [share(total, commands(inbound, 'consumer!=""', failed), named, 'consumer, service, route')], [quantile(0.95, whole, named, 'consumer, service, route')]],
        columns: [['commands', 'reqps'], ['refused', 'percentunit', [0.05, 0.2]], ['failed', 'percentunit', [0.001, 0.01]], ['p95', 's', [0.5, 2]]],
      },
    ]],
    ['Refusals', [
      { title: 'By reason', about: 'The middleware that refused, or the code of our own error.', unit: 'reqps', stacked: true, docs: 'troubleshooting.md', queries: [[rate('fourmi_rejected_total', sidecar(), 'reason'), '{{reason}}']] },
      { title: 'By sidecar', about: 'Refused a second. One that stands out has another file, or another caller.', unit: 'reqps', docs: 'runbooks.md#fourmirefused', queries: [[rate('fourmi_rejected_total', sidecar(), 'instance'), '{{instance}}']] },
      { title: 'Share by route', about: 'Share of each route\'s commands that were refused.', unit: 'percentunit', docs: 'runbooks.md#fourmirefused', queries: [[share(total, commands(inbound, 'outcome="rejected"'), into, 'service, route'), '{{service}} {{route}}']] },
      { title: 'Who is there and who may: by middleware', about: 'Refusals of the middlewares for identity and permission.', unit: 'reqps', docs: 'kong-auth.md', queries: [[rate('fourmi_rejected_total', sidecar('reason=~"key-auth|basic-auth|jwt|hmac-auth|mtls-auth|acl|ip-restriction|bot-detection|cors"'), 'reason'), '{{reason}}']] },
      { title: 'Limits', about: 'Refusals by limits.', unit: 'reqps', docs: 'limits.md', queries: [[rate('fourmi_rejected_total', sidecar(limits), 'reason'), '{{reason}}']] },
      { title: 'Limits not as asked, by reason', about: 'With `fault_tolerant: true` they were counted on this machine only; with `false` the command was answered 500.', unit: 'cps', docs: 'runbooks.md#fourmilimitfallback', queries: [[rate('fourmi_limit_fallbacks_total', sidecar(), 'reason'), '{{reason}}']] },
    ]],
    ['Cost and care', [
      { title: 'Our overhead by route', about: 'p99 of what middlewares, limits and the wait for an instance take. The instance\'s own time is not in it.', unit: 's', docs: 'runbooks.md#fourmioverhead', queries: [[quantile(0.99, overhead, into, 'service, route'), '{{service}} {{route}}']] },
      { title: 'Breaker and overload', about: 'Commands that were not sent because their service mostly fails (circuit-open), because there was no room (overloaded), or because the time that their caller left was over (deadline).', unit: 'reqps', docs: 'runbooks.md#fourmicircuitopen', queries: [[rate('fourmi_rejected_total', sidecar('reason=~"circuit-open|overloaded|deadline"'), 'reason'), '{{reason}}']] },
      { title: 'Not sent again, by reason', about: 'Failed commands that might have been tried again and were not: not idempotent, body too large, no attempts left, budget used up.', unit: 'reqps', docs: 'upstreams.md', queries: [[rate('fourmi_retries_skipped_total', sidecar(), 'reason'), '{{reason}}']] },
      {
        kind: 'table', width: 24, title: 'Routes', about: 'Every route with what it takes and what it costs.', unit: 'short', docs: 'kong.md',
        queries: [[rate(total, into, 'service, route')], [share(total, commands(inbound, 'outcome="rejected"'), into, 'service, route')], [share(total, commands(inbound, failed), into, 'service, route')], [quantile(0.95, whole, into, 'service, route')], [quantile(0.99, overhead, into, 'service, route')]],
        columns: [['commands', 'reqps'], ['refused', 'percentunit', [0.05, 0.2]], ['failed', 'percentunit', [0.001, 0.01]], ['p95', 's', [0.5, 2]], ['own p99', 's', [0.01, 0.1]]],
      },
    ]],
  ],
}
