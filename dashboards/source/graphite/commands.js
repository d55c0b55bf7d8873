'use strict'
// All commands with everything that tags tell: direction, route, protocol, our part of the time.

const { steps } = require('../panel')
const { rates, timers, events, by, share, total, FAILED, IN, OUT } = require('./tagged')

const p90 = (name, tags, ...where) => by(timers(name, 'upper_90', ...where), tags, 'max')

module.exports = {
  uid: 'fourmi-graphite-commands',
  title: 'Fourmi / Commands (Graphite with tags)',
  about: 'Rate, errors and duration of every command by service, route, protocol and direction. Needs the StatsD dialect graphite.',
  rows: [
    ['Now', [
      { kind: 'stat', width: 6, title: 'Commands', about: 'Inbound commands a second.', unit: 'reqps', queries: [[total(rates(IN)), 'commands']] },
      { kind: 'stat', width: 6, title: 'Failed', about: 'Percent of inbound commands that failed. Refusals and errors of callers are no failures.', unit: 'percent', decimals: 2, good: steps(0.1, 1), queries: [[`asPercent(${total(rates(IN, FAILED))}, ${total(rates(IN))})`, 'failed']] },
      { kind: 'stat', width: 6, title: 'Slowest 90th percentile', about: 'Of all inbound commands, the one whose 90th percentile is highest.', unit: 'ms', good: steps(500, 2000), queries: [[`maxSeries(${timers('command.duration', 'upper_90', IN)})`, 'upper 90']] },
      { kind: 'stat', width: 6, title: 'Our own 90th percentile', about: 'What Fourmi adds before it hands a command over, of the command where it is most.', unit: 'ms', good: steps(10, 100), queries: [[`maxSeries(${timers('overhead', 'upper_90', IN)})`, 'upper 90']] },
    ]],
    ['Rate, errors, duration', [
      { title: 'By service', about: 'Inbound commands a second.', unit: 'reqps', stacked: true, queries: [[by(rates(IN), ['service'])]] },
      { title: 'By command', about: 'Inbound commands a second.', unit: 'reqps', stacked: true, queries: [[by(rates(IN), ['command'])]] },
      { title: 'By outcome', about: 'How inbound commands ended.', unit: 'reqps', stacked: true, docs: 'logs.md', queries: [[by(rates(IN), ['outcome'])]] },
      { title: 'Failed by service', about: 'Percent of the inbound commands of each service. One of which nothing failed has no line.', unit: 'percent', docs: 'runbooks.md#fourmierrorbudgetfast', queries: [[share(rates(IN, FAILED), rates(IN), 'service')]] },
      { title: 'By route and protocol', about: 'Inbound commands a second.', unit: 'reqps', queries: [[by(rates(IN), ['route', 'protocol'])]] },
      { title: '90th percentile by command', about: 'Whole time of inbound commands.', unit: 'ms', docs: 'runbooks.md#fourmislow', queries: [[p90('command.duration', ['service', 'command'], IN)]] },
    ]],
    ['Where the time goes', [
      { title: 'Instance, mean', about: 'From handing the command over to the head of the answer.', unit: 'ms', queries: [[by(timers('upstream.duration', 'mean', IN), ['service'], 'average')]] },
      { title: 'Fourmi, mean', about: 'From the request\'s head to handing it over.', unit: 'ms', docs: 'runbooks.md#fourmioverhead', queries: [[by(timers('overhead', 'mean', IN), ['service'], 'average')]] },
      { title: 'Fourmi, 90th percentile', about: 'The same, by service and route.', unit: 'ms', docs: 'runbooks.md#fourmioverhead', queries: [[p90('overhead', ['service', 'route'], IN)]] },
    ]],
    ['What services send', [
      { title: 'To whom', about: 'Outbound commands a second, by the service that they go to.', unit: 'reqps', stacked: true, queries: [[by(rates(OUT), ['service', 'command'])]] },
      { title: 'How they end', about: 'Outbound commands a second by outcome.', unit: 'reqps', docs: 'logs.md', queries: [[by(rates(OUT), ['service', 'outcome'])]] },
      { title: '90th percentile there', about: 'Whole time for those who sent them, with the network, retries and waiting for a turn.', unit: 'ms', queries: [[p90('command.duration', ['service'], OUT)]] },
    ]],
    ['Tags', [
      { width: 16, title: 'By tag', about: 'Commands a second by the tags that are listed in metrics.labels.', unit: 'reqps', queries: [[by(events('tag'), ['tag', 'value'])]] },
    ]],
  ],
}
