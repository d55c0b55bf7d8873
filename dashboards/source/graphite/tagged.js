'use strict'
// How Graphite is asked where StatsD's lines have tags: the dialect `graphite`, etsy's statsd with `legacyNamespace: false`, carbon and
// graphite-web 1.1 with tags. Gauges are last words: of several sidecars the one that spoke last counts, so few are asked for.

const { choice, datasource } = require('../variables')
const { source: plain, ref, prefix } = require('./source')

const COMMANDS = 'fourmi.commands'
const query = choice(ref, '.*')

const source = {
  ...plain,
  variables: () => [
    datasource('graphite'),
    prefix,
    query('environment', 'Environment', `tag_values(env, name=$prefix.counters.${COMMANDS}.rate)`),
    query('service', 'Service', `tag_values(service, name=$prefix.counters.${COMMANDS}.rate)`),
    query('command', 'Command', `tag_values(command, name=$prefix.counters.${COMMANDS}.rate)`),
  ],
}

const ENVIRONMENT = 'env=~^(${environment:regex})$'
const OF_COMMANDS = [ENVIRONMENT, 'service=~^(${service:regex})$', 'command=~^(${command:regex})$']
const FAILED = 'outcome=~^(server_error|timeout|unreachable|dead|unknown)$'
const IN = 'direction=inbound'
const OUT = 'direction=outbound'

const found = (name, where) => `seriesByTag(${[`name=$prefix.${name}`, ...where].map(part => `'${part}'`).join(', ')})`
// Commands a second; anything else that is counted, a second; a part of StatsD's timers.
const rates = (...where) => found(`counters.${COMMANDS}.rate`, [...OF_COMMANDS, ...where])
const events = (name, ...where) => found(`counters.fourmi.${name}.rate`, [ENVIRONMENT, ...where])
const timers = (name, what, ...where) => found(`timers.fourmi.${name}.${what}`, [...OF_COMMANDS, ...where])
const gauges = (name, ...where) => found(`gauges.fourmi.${name}`, [ENVIRONMENT, ...where])

const by = (target, tags, how = 'sum') => {
  const named = tags.map(tag => `'${tag}'`).join(', ')
  return `aliasByTags(groupByTags(${target}, '${how}', ${named}), ${named})`
}
const share = (part, whole, tag) =>
  `aliasByTags(asPercent(groupByTags(${part}, 'sum', '${tag}'), groupByTags(${whole}, 'sum', '${tag}'), '${tag}'), '${tag}')`
const total = target => `sumSeries(${target})`

module.exports = { source, rates, events, timers, gauges, by, share, total, FAILED, IN, OUT }
