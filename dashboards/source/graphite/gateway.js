'use strict'
// The gateway, and what gets in the way of commands, as StatsD with tags tells of it.

const { rates, timers, events, by, share, IN } = require('./tagged')

module.exports = {
  uid: 'fourmi-graphite-gateway',
  title: 'Fourmi / Gateway and consumers (Graphite with tags)',
  about: 'Who calls, who is refused and why, retries. Panels by consumer need `consumer` in metrics.labels; all of it the StatsD dialect graphite.',
  rows: [
    ['Consumers', [
      { title: 'By consumer', about: 'Inbound commands a second of those who were identified.', unit: 'reqps', stacked: true, docs: 'kong-auth.md', queries: [[by(rates(IN, 'consumer!='), ['consumer'])]] },
      { title: 'Refused by consumer', about: 'Percent of each consumer\'s commands that were refused.', unit: 'percent', docs: 'limits.md', queries: [[share(rates(IN, 'consumer!=', 'outcome=rejected'), rates(IN, 'consumer!='), 'consumer')]] },
      { title: '90th percentile by consumer', about: 'Whole time.', unit: 'ms', queries: [[by(timers('command.duration', 'upper_90', IN, 'consumer!='), ['consumer'], 'max')]] },
    ]],
    ['Refusals and care', [
      { title: 'Refused, by reason', about: 'The middleware that refused, or the code of our own error, a second.', unit: 'reqps', stacked: true, docs: 'troubleshooting.md', queries: [[by(events('rejected'), ['reason'])]] },
      { title: 'Refused share by route', about: 'Percent of each route\'s commands that were refused.', unit: 'percent', docs: 'runbooks.md#fourmirefused', queries: [[share(rates(IN, 'outcome=rejected'), rates(IN), 'route')]] },
      { title: 'Limits not as asked', about: 'Limits a second that could not be counted as their file asks, by why.', unit: 'cps', docs: 'runbooks.md#fourmilimitfallback', queries: [[by(events('limit.fallbacks'), ['reason'])]] },
      { title: 'Sent again, by reason', about: 'Attempts after the first.', unit: 'reqps', docs: 'upstreams.md', queries: [[by(events('retries'), ['reason'])]] },
      { title: 'Not sent again, by reason', about: 'Failed commands that might have been tried again and were not.', unit: 'reqps', docs: 'upstreams.md', queries: [[by(events('retries.skipped'), ['reason'])]] },
      { title: 'Our overhead by route', about: '90th percentile of what middlewares, limits and the wait for an instance take.', unit: 'ms', docs: 'runbooks.md#fourmioverhead', queries: [[by(timers('overhead', 'upper_90', IN), ['service', 'route'], 'max')]] },
    ]],
  ],
}
