'use strict'
// How Graphite is asked, behind a StatsD that writes `<prefix>.counters.…` and `<prefix>.timers.…` (etsy's statsd with
// `legacyNamespace: false`). The plain dialect tells commands, durations and tags: fourmi.<env>.<service>.<command>.<outcome>.

const dashboard = require('@grafana/grafana-foundation-sdk/dashboard')
const { choice, datasource } = require('../variables')

const ref = { type: 'graphite', uid: '${datasource}' }
const query = choice(ref, '*')
const prefix = new dashboard.TextBoxVariableBuilder('prefix')
  .label('Prefix')
  .description('What StatsD puts in front: globalPrefix')
  .defaultValue('stats')
  .current({ text: 'stats', value: 'stats' })

const source = {
  ref,
  tags: ['graphite'],
  target: (target, legend, kind, refId) => ({
    build: () => ({ refId, datasource: ref, target: legend ? `alias(${target}, '${legend}')` : target, textEditor: true }),
  }),
  variables: () => [
    datasource('graphite'),
    prefix,
    query('environment', 'Environment', '$prefix.counters.fourmi.*'),
    query('service', 'Service', '$prefix.counters.fourmi.$environment.*'),
    // Tags have a place among the commands; they are none.
    query('command', 'Command', '$prefix.counters.fourmi.$environment.$service.*').regex('/^(?!tag$).*$/'),
  ],
  annotations: [],
}

const FAILED = '{server_error,timeout,unreachable,dead,unknown}'
const ALL = '{success,client_error,server_error,rejected,timeout,unreachable,cancelled,accepted,dead,expired,unknown}'
// Nodes of a name: prefix 0, kind 1, fourmi 2, env 3, service 4, command 5, outcome 6.
const SERVICE = 4
const COMMAND = 5
const OUTCOME = 6
const rates = outcomes => `$prefix.counters.fourmi.$environment.$service.$command.${outcomes}.rate`
const timers = what => `$prefix.timers.fourmi.$environment.$service.$command.duration.${what}`
const by = (target, node, how = 'sum') => `groupByNode(${target}, ${node}, '${how}')`
// A service or command of which nothing ever failed has no series of failures: the group of all with a sum of 0 stands in.
const share = (outcomes, node) =>
  `asPercent(${by(`group(${rates(outcomes)}, scale(${rates(ALL)}, 0))`, node)}, ${by(rates(ALL), node)}, 0)`
const total = target => `sumSeries(${target})`

module.exports = { source, ref, prefix, rates, timers, by, share, total, FAILED, ALL, SERVICE, COMMAND, OUTCOME }
