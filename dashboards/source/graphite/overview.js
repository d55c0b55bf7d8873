'use strict'
// The fleet, as plain StatsD tells of it.

const { steps, falling } = require('../panel')
const { rates, timers, by, share, total, FAILED, ALL, SERVICE } = require('./source')

const about = 'A command counts at the sidecar of its service and at that of its caller: plain StatsD has no place for the direction.'
const failures = `group(${rates(FAILED)}, scale(${rates(ALL)}, 0))`

module.exports = {
  uid: 'fourmi-graphite-overview',
  title: 'Fourmi / Overview (Graphite)',
  about: `Every service behind a Fourmi, from plain StatsD. ${about}`,
  rows: [
    ['Now', [
      { kind: 'stat', width: 6, title: 'Commands', about: `Commands a second. ${about}`, unit: 'reqps', queries: [[total(rates(ALL)), 'commands']] },
      { kind: 'stat', width: 6, title: 'Do not fail', about: 'Percent of commands that did not end as server_error, timeout, unreachable, dead or unknown.', unit: 'percent', decimals: 2, good: falling(99, 99.9), queries: [[`offset(scale(asPercent(${total(failures)}, ${total(rates(ALL))}), -1), 100)`, 'do not fail']] },
      { kind: 'stat', width: 6, title: 'Slowest 90th percentile', about: 'Of all commands, the one whose 90th percentile is highest.', unit: 'ms', good: steps(500, 2000), queries: [[`maxSeries(${timers('upper_90')})`, 'upper 90']] },
      { kind: 'stat', width: 6, title: 'Refused', about: 'Commands a second that Fourmi refused.', unit: 'reqps', docs: 'troubleshooting.md', queries: [[total(`group(${rates('rejected')}, scale(${rates(ALL)}, 0))`), 'refused']] },
    ]],
    ['Services', [
      { title: 'Commands by service', about, unit: 'reqps', stacked: true, queries: [[by(rates(ALL), SERVICE)]] },
      { title: 'Failures by service', about: 'Percent of the commands of each service that failed.', unit: 'percent', docs: 'runbooks.md#fourmierrorbudgetfast', queries: [[share(FAILED, SERVICE)]] },
      { title: '90th percentile by service', about: 'The highest 90th percentile among the commands of each service.', unit: 'ms', docs: 'runbooks.md#fourmislow', queries: [[by(timers('upper_90'), SERVICE, 'max')]] },
    ]],
    ['Commands', [
      { kind: 'bars', title: 'Slowest commands', about: 'The ten with the highest 90th percentile, on average over the time shown.', unit: 'ms', good: steps(500, 2000), queries: [[`aliasByNode(highestAverage(${timers('upper_90')}, 10), 4, 5)`]] },
      { kind: 'bars', title: 'Most failing commands', about: 'The ten of which most failed, on average over the time shown.', unit: 'reqps', good: steps(0.01), queries: [[`highestAverage(groupByNodes(${rates(FAILED)}, 'sum', 4, 5), 10)`]] },
      { kind: 'bars', title: 'Most frequent commands', about: 'The ten that come most often.', unit: 'reqps', queries: [[`highestAverage(groupByNodes(${rates(ALL)}, 'sum', 4, 5), 10)`]] },
    ]],
  ],
}
