'use strict'
// A dashboard for Datadog itself, on what the dialect `datadog` sends: names with dots, tags, percentiles made there.

const { DOCS } = require('./panel')

const S = '$environment,$service,$command'
const IN = `${S},direction:inbound`
const OUT = `${S},direction:outbound`
const FAILED = ['server_error', 'timeout', 'unreachable', 'dead', 'unknown']

const formula = (queries, expression, alias) => ({
  response_format: 'timeseries',
  queries: queries.map((query, i) => ({ data_source: 'metrics', name: `query${i + 1}`, query })),
  formulas: [{ formula: expression ?? 'query1', ...(alias && { alias }) }],
})
const series = (title, requests, options = {}) => ({
  definition: {
    title,
    type: 'timeseries',
    show_legend: true,
    legend_layout: 'auto',
    requests: requests.map(request => ({
      ...request,
      display_type: options.stacked ? 'bars' : 'line',
      style: { palette: options.palette ?? 'dog_classic', line_type: 'solid', line_width: 'normal' },
    })),
    ...(options.note && { markers: options.note }),
  },
})
const number = (title, queries, expression, unit) => ({
  definition: {
    title,
    type: 'query_value',
    autoscale: true,
    precision: 2,
    ...(unit && { custom_unit: unit }),
    requests: [{
      response_format: 'scalar',
      queries: queries.map((query, i) => ({ data_source: 'metrics', name: `query${i + 1}`, query, aggregator: 'avg' })),
      formulas: [{ formula: expression ?? 'query1' }],
    }],
  },
})
const top = (title, query, aggregator = 'avg') => ({
  definition: {
    title,
    type: 'toplist',
    requests: [{
      response_format: 'scalar',
      queries: [{ data_source: 'metrics', name: 'query1', query, aggregator }],
      formulas: [{ formula: 'query1', limit: { count: 10, order: 'desc' } }],
    }],
  },
})
const group = (title, widgets) => ({ definition: { title, type: 'group', layout_type: 'ordered', widgets } })
const note = content => ({ definition: { type: 'note', content, background_color: 'white', font_size: '14', text_align: 'left', show_tick: false, has_padding: true } })

const count = (metric, where, by) => `sum:${metric}{${where}}${by ? ` by {${by}}` : ''}.as_rate()`
const failed = where => FAILED.map(outcome => count('fourmi.commands', `${where},outcome:${outcome}`))
const sum = n => Array.from({ length: n }, (_, i) => `default_zero(query${i + 1})`).join(' + ')
const failureShare = where => [[...failed(where), count('fourmi.commands', where)], `(${sum(FAILED.length)}) / query${FAILED.length + 1} * 100`]

module.exports = {
  title: 'Fourmi',
  description: 'Every command of every service behind a Fourmi: rate, errors, duration, what gets in the way. Needs the StatsD dialect `datadog`.',
  layout_type: 'ordered',
  reflow_type: 'auto',
  notify_list: [],
  tags: ['team:fourmi'],
  template_variables: [
    { name: 'environment', prefix: 'env', available_values: [], defaults: ['*'] },
    { name: 'service', prefix: 'service', available_values: [], defaults: ['*'] },
    { name: 'command', prefix: 'command', available_values: [], defaults: ['*'] },
  ],
  widgets: [
    note(`**Fourmi.** Commands that come in to services, unless a title says otherwise. Durations are milliseconds. [Metrics](${DOCS}/metrics.md) · [Runbooks](${DOCS}/runbooks.md)`),
    group('Now', [
      number('Commands a second', [count('fourmi.commands', IN)]),
      number('Failed', ...failureShare(IN), '%'),
      number('p95, worst command', [`max:fourmi.command.duration.95percentile{${IN}}`], null, 'ms'),
      number('Our own p95, worst command', [`max:fourmi.overhead.95percentile{${IN}}`], null, 'ms'),
      number('In flight', ['sum:fourmi.commands.in.flight{$environment}']),
    ]),
    group('Rate, errors, duration', [
      series('By service', [formula([count('fourmi.commands', IN, 'service')])], { stacked: true }),
      series('By command', [formula([count('fourmi.commands', IN, 'command')])], { stacked: true }),
      series('By outcome', [formula([count('fourmi.commands', IN, 'outcome')])], { stacked: true }),
      series('By route and protocol', [formula([count('fourmi.commands', IN, 'route,protocol')])], { stacked: true }),
      series('Failed, %', [formula(...failureShare(IN), 'failed')]),
      series('p95 by command', [formula([`max:fourmi.command.duration.95percentile{${IN}} by {command}`])]),
    ]),
    group('Where the time goes', [
      series('Instance and Fourmi, mean', [
        formula([`avg:fourmi.upstream.duration.avg{${IN}}`], null, 'instance'),
        formula([`avg:fourmi.overhead.avg{${IN}}`], null, 'Fourmi'),
      ], { stacked: true }),
      top('Slowest commands, p95', `max:fourmi.command.duration.95percentile{${IN}} by {service,command}`),
      top('Most failing commands', `sum:fourmi.commands{${IN},outcome:server_error} by {service,command}.as_count()`, 'sum'),
    ]),
    group('What services send', [
      series('By service', [formula([count('fourmi.commands', OUT, 'service')])], { stacked: true }),
      series('Failed, %', [formula(...failureShare(OUT), 'failed')]),
      series('p95 by service', [formula([`max:fourmi.command.duration.95percentile{${OUT}} by {service}`])]),
    ]),
    group('What gets in the way', [
      series('Refused, by reason', [formula([count('fourmi.rejected', '$environment', 'reason')])], { stacked: true }),
      series('Sent again, by reason', [formula([count('fourmi.retries', '$environment', 'reason')])], { stacked: true }),
      series('Not sent again, by reason', [formula([count('fourmi.retries.skipped', '$environment', 'reason')])], { stacked: true }),
      series('Limits not as asked', [formula([count('fourmi.limit.fallbacks', '$environment', 'reason')])], { stacked: true }),
      series('Instances', [formula(['max:fourmi.instances{$service} by {service,state}'])]),
      series('Connections', [formula(['sum:fourmi.connections{*} by {side}'])]),
      series('DNS by answer', [formula([count('fourmi.dns.queries', '$environment', 'type,rcode')])], { stacked: true }),
      series('Registry away, seconds', [formula(['max:fourmi.registry.away{*}'])]),
      series('First certificate expires (Unix time)', [formula(['min:fourmi.certificate.expires.timestamp{*} by {file}'])]),
    ]),
    group('Stored commands', [
      series('By state', [formula(['max:fourmi.spool.commands{$environment} by {host,state}'])]),
      series('Oldest, by state, seconds', [formula(['max:fourmi.spool.oldest.age{$environment} by {host,state}'])]),
      series('Changes of state', [formula([count('fourmi.spool.transitions', '$environment', 'state')])], { stacked: true }),
      series('Bytes of the file', [formula(['max:fourmi.spool.bytes{$environment} by {host}'])]),
    ]),
    group('Tags', [series('Commands by tag', [formula([count('fourmi.tag', '$environment', 'tag,value')])], { stacked: true })]),
    { definition: { title: 'Starts, stops, reloads, instances', type: 'list_stream', requests: [{ response_format: 'event_list', columns: [{ field: 'timestamp', width: 'auto' }, { field: 'message', width: 'auto' }], query: { data_source: 'event_stream', query_string: 'fourmi', event_size: 's' } }] } },
  ],
}
