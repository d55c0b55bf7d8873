'use strict'
// One service, as plain StatsD tells of it.

const { rates, timers, by, share, total, FAILED, ALL, COMMAND, OUTCOME } = require('./source')

module.exports = {
  uid: 'fourmi-graphite-service',
  title: 'Fourmi / Service (Graphite)',
  about: 'Rate, errors and duration of the commands of one service, and its tags, from plain StatsD. What a service sends is counted under its own name, too.',
  rows: [
    ['Rate and errors', [
      { title: 'By command', about: 'Commands a second.', unit: 'reqps', stacked: true, queries: [[by(rates(ALL), COMMAND)]] },
      { title: 'By outcome', about: 'How commands ended.', unit: 'reqps', stacked: true, docs: 'logs.md', queries: [[by(rates(ALL), OUTCOME)]] },
      { title: 'Failures by command', about: 'Percent of each command that failed.', unit: 'percent', docs: 'runbooks.md#fourmierrorbudgetfast', queries: [[share(FAILED, COMMAND)]] },
      { title: 'Refused by command', about: 'Commands a second that Fourmi refused: no key, a limit, not ready.', unit: 'reqps', docs: 'troubleshooting.md', queries: [[by(rates('rejected'), COMMAND)]] },
      { title: 'Errors of callers', about: 'Commands a second that ended as client_error: asked for what is not there, or wrongly.', unit: 'reqps', docs: 'logs.md', queries: [[by(rates('client_error'), COMMAND)]] },
      { title: 'All of it', about: 'Commands a second, and those that failed.', unit: 'reqps', queries: [[total(rates(ALL)), 'all'], [total(`group(${rates(FAILED)}, scale(${rates(ALL)}, 0))`), 'failed']] },
    ]],
    ['Duration', [
      { title: 'Mean by command', about: 'Mean of the whole time.', unit: 'ms', queries: [[by(timers('mean'), COMMAND, 'average')]] },
      { title: 'Median by command', about: 'Half of the commands take no longer.', unit: 'ms', queries: [[by(timers('median'), COMMAND, 'average')]] },
      { title: '90th percentile by command', about: 'Nine of ten commands take no longer. Percentiles are StatsD\'s own (`percentThreshold`), for each service and command and flush.', unit: 'ms', docs: 'runbooks.md#fourmislow', queries: [[by(timers('upper_90'), COMMAND, 'max')]] },
      { title: 'Slowest single command', about: 'The longest in each flush.', unit: 'ms', queries: [[by(timers('upper'), COMMAND, 'max')]] },
    ]],
    ['Tags', [
      { width: 16, title: 'Commands by tag', about: 'Tags that are listed in metrics.labels, by value.', unit: 'reqps', queries: [["groupByNodes($prefix.counters.fourmi.$environment.$service.tag.*.*.rate, 'sum', 6, 7)"]] },
    ]],
  ],
}
