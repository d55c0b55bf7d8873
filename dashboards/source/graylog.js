'use strict'
// A content pack for Graylog 5.1 and newer: streams, saved searches and a dashboard over the records that Fourmi sends.
// Ids are made from names, so that a new version of the pack replaces the old one.

const { createHash } = require('crypto')
const { DOCS } = require('./panel')

// The same name has the same id, in the form of a UUID.
const id = name => {
  const hex = createHash('sha256').update(`fourmi ${name}`).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-')
}
const value = given => ({ '@type': typeof given, '@value': given })
const entity = (type, version, name, data) => ({
  v: '1',
  type: { name: type, version },
  id: id(`${type} ${name}`),
  data,
  constraints: [{ type: 'server-version', version: '>=5.1.0' }],
})
const SINCE = '2026-01-01T00:00:00.000Z'

const rule = (type, field, wanted, about) => ({ type: value(type), field: value(field), value: value(wanted), inverted: value(false), description: value(about) })
const stream = (title, about, rules) =>
  entity('stream', '1', title, {
    title: value(title),
    description: value(about),
    disabled: value(false),
    matching_type: value('AND'),
    stream_rules: [rule('PRESENCE', 'command_id', '', 'Only records of commands have an id'), ...rules],
    outputs: [],
    alarm_callbacks: [],
    alert_conditions: [],
    default_stream: value(false),
    remove_matches: value(false),
  })
const streams = [
  stream('Fourmi: commands', 'One record for each command that ended.', []),
  stream('Fourmi: failures', 'Commands that failed: the service, or the way to it.', [rule('REGEX', 'outcome', '^(server_error|timeout|unreachable|dead|unknown)$', 'How it ended')]),
  stream('Fourmi: refused', 'Commands that Fourmi refused: no key, a limit, not readable.', [rule('EXACT', 'outcome', 'rejected', 'How it ended')]),
]
const [COMMANDS, FAILURES] = streams.map(each => each.id)

const FAILED = 'outcome:(server_error OR timeout OR unreachable OR dead OR unknown)'
const range = { type: 'relative', from: 3600 }
const query = text => ({ type: 'elasticsearch', query_string: text })

// `fn(field)` in a widget is a series of its search, under the same id.
const series = text => {
  const [, type, inside] = /^(\w+)\((.*)\)$/.exec(text)
  const [field, percentile] = inside.split(',')
  return { type, id: text, field: field || null, ...(percentile && { percentile: Number(percentile) }) }
}
const pivots = (rows, how) => rows.map(row => (row === 'timestamp' ? how.time : how.values(row)))
const inWidget = {
  time: { fields: ['timestamp'], type: 'time', config: { interval: { type: 'auto', scaling: 1 } } },
  values: field => ({ fields: field.split('+'), type: 'values', config: { limit: 10, skip_empty_values: true } }),
}
const inSearch = {
  time: { fields: ['timestamp'], type: 'time', interval: { type: 'auto', scaling: 1 } },
  values: field => ({ fields: field.split('+'), type: 'values', limit: 10, skip_empty_values: true }),
}

// A widget with the search that feeds it: `{title, show, rows, columns, series, query, stream, at: [column, row, width, height]}`.
const aggregation = (of, spec) => {
  const { title, show, rows = [], columns = [], values, where = '', from = COMMANDS, at } = spec
  const sort = rows.length && rows[0] !== 'timestamp'
  const widget = {
    id: id(`${of} ${title}`),
    type: 'aggregation',
    filter: null,
    filters: [],
    timerange: range,
    query: query(where),
    streams: [from],
    config: {
      row_pivots: pivots(rows, inWidget),
      column_pivots: pivots(columns, inWidget),
      series: values.map(([text, name]) => ({ config: { name }, function: text })),
      sort: sort ? [{ type: 'series', field: values[0][0], direction: 'Descending' }] : [],
      visualization: show,
      visualization_config: show === 'numeric' ? { trend: true, trend_preference: 'NEUTRAL' } : null,
      formatting_settings: null,
      rollup: columns.length === 0,
      event_annotation: false,
    },
  }
  const search = {
    id: id(`${of} ${title} search`),
    name: 'chart',
    type: 'pivot',
    filter: null,
    filters: [],
    timerange: range,
    query: query(where),
    streams: [from],
    row_groups: pivots(rows, inSearch),
    column_groups: pivots(columns, inSearch),
    series: values.map(([text]) => series(text)),
    sort: sort ? [{ type: 'series', field: values[0][0], direction: 'Descending' }] : [],
    rollup: columns.length === 0,
  }
  return { title, widget, search, at }
}
const messages = (of, { title, fields, where = '', from = COMMANDS, at }) => ({
  title,
  at,
  widget: {
    id: id(`${of} ${title}`),
    type: 'messages',
    filter: null,
    filters: [],
    timerange: range,
    query: query(where),
    streams: [from],
    config: { fields, show_message_row: true, show_summary: false, decorators: [], sort: [{ type: 'pivot', field: 'timestamp', direction: 'Descending' }] },
  },
  search: {
    id: id(`${of} ${title} search`),
    name: null,
    type: 'messages',
    filter: null,
    filters: [],
    timerange: range,
    query: query(where),
    streams: [from],
    limit: 150,
    offset: 0,
    sort: [{ field: 'timestamp', order: 'DESC' }],
    fields: [],
    decorators: [],
  },
})

// A view: a dashboard of several pages, or a saved search of one.
const view = (type, title, summary, about, tabs) => {
  const state = {}
  const queries = []
  for (const { name, text = '', parts, fields } of tabs) {
    const key = id(`${title} ${name}`)
    state[key] = {
      selected_fields: fields ?? null,
      static_message_list_id: null,
      titles: { tab: { title: name }, widget: Object.fromEntries(parts.map(part => [part.widget.id, part.title])) },
      widgets: parts.map(part => part.widget),
      widget_mapping: Object.fromEntries(parts.map(part => [part.widget.id, [part.search.id]])),
      positions: Object.fromEntries(parts.map(({ widget, at: [col, row, width, height] }) => [widget.id, { col, row, width, height }])),
      formatting: { highlighting: [{ field: 'outcome', value: 'server_error', condition: 'equal', color: { type: 'static', color: '#fce7ef' } }] },
      display_mode_settings: { positions: {} },
    }
    queries.push({ id: key, timerange: range, filter: null, filters: [], query: query(text), search_types: parts.map(part => part.search) })
  }
  return entity(type === 'SEARCH' ? 'search' : 'dashboard', type === 'SEARCH' ? '1' : '2', title, {
    type,
    title: value(title),
    summary: value(summary),
    description: value(about),
    search: { queries, parameters: [], requires: {}, owner: 'admin', created_at: SINCE },
    properties: [],
    requires: {},
    state,
    owner: 'admin',
    created_at: SINCE,
  })
}

const overview = part => aggregation('overview', part)
const trouble = part => aggregation('trouble', part)
const LIST = ['timestamp', 'service', 'command', 'command_id', 'outcome', 'status', 'duration_ms', 'upstream', 'error']

const dashboard = view('DASHBOARD', 'Fourmi', 'Commands of all services', `What Fourmi tells of every command. Fields: ${DOCS}/logs.md`, [
  {
    name: 'Commands',
    parts: [
      overview({ title: 'Commands', show: 'numeric', values: [['count()', 'commands']], at: [1, 1, 2, 3] }),
      overview({ title: 'Failed', show: 'numeric', values: [['count()', 'failed']], where: FAILED, at: [3, 1, 2, 3] }),
      overview({ title: 'Refused', show: 'numeric', values: [['count()', 'refused']], where: 'outcome:rejected', at: [5, 1, 2, 3] }),
      overview({ title: 'p95, ms', show: 'numeric', values: [['percentile(duration_ms,95)', 'p95']], at: [7, 1, 2, 3] }),
      overview({ title: 'Our own p95, ms', show: 'numeric', values: [['percentile(overhead_ms,95)', 'p95']], at: [9, 1, 2, 3] }),
      overview({ title: 'Callers', show: 'numeric', values: [['card(client)', 'callers']], where: 'direction:inbound', at: [11, 1, 2, 3] }),
      overview({ title: 'By outcome', show: 'bar', rows: ['timestamp'], columns: ['outcome'], values: [['count()', 'commands']], at: [1, 4, 6, 4] }),
      overview({ title: 'By command', show: 'bar', rows: ['timestamp'], columns: ['command'], values: [['count()', 'commands']], at: [7, 4, 6, 4] }),
      overview({ title: 'Commands of each service', show: 'table', rows: ['service+command'], values: [['count()', 'commands'], ['percentile(duration_ms,95)', 'p95, ms'], ['avg(upstream_ms)', 'instance, ms'], ['avg(overhead_ms)', 'Fourmi, ms'], ['max(duration_ms)', 'slowest, ms']], at: [1, 8, 8, 6] }),
      overview({ title: 'By tag', show: 'table', rows: ['tags'], values: [['count()', 'commands']], at: [9, 8, 4, 6] }),
    ],
  },
  {
    name: 'Troubles',
    parts: [
      trouble({ title: 'Failures by service', show: 'bar', rows: ['timestamp'], columns: ['service'], values: [['count()', 'failures']], where: FAILED, from: FAILURES, at: [1, 1, 6, 4] }),
      trouble({ title: 'Why', show: 'table', rows: ['error'], values: [['count()', 'commands']], where: FAILED, from: FAILURES, at: [7, 1, 6, 4] }),
      trouble({ title: 'Failing instances', show: 'table', rows: ['service+upstream'], values: [['count()', 'failures']], where: FAILED, from: FAILURES, at: [1, 5, 4, 4] }),
      trouble({ title: 'Refused consumers', show: 'table', rows: ['consumer+error'], values: [['count()', 'commands']], where: 'outcome:rejected', at: [5, 5, 4, 4] }),
      trouble({ title: 'Sent more than once', show: 'table', rows: ['service+command'], values: [['count()', 'commands'], ['max(attempt)', 'attempts']], where: 'attempt:>1', at: [9, 5, 4, 4] }),
      messages('trouble', { title: 'Latest failures', fields: LIST, where: FAILED, from: FAILURES, at: [1, 9, 12, 6] }),
    ],
  },
])

// A search of the user's own kind: a histogram above, the messages below.
const saved = (title, summary, text) =>
  view('SEARCH', title, summary, summary, [
    {
      name: title,
      text,
      fields: LIST,
      parts: [
        aggregation(title, { title: 'Over time', show: 'bar', rows: ['timestamp'], values: [['count()', 'commands']], where: text, at: [1, 1, 12, 2] }),
        messages(title, { title: 'Records', fields: LIST, where: text, at: [1, 3, 12, 6] }),
      ],
    },
  ])
const searches = [
  saved('Fourmi: failures', 'Commands that failed', FAILED),
  saved('Fourmi: slow commands', 'Commands that took longer than a second', 'duration_ms:>1000'),
  saved('Fourmi: slow because of us', 'Commands that Fourmi held for longer than 100 ms', 'overhead_ms:>100'),
  saved('Fourmi: refused', 'Commands that Fourmi refused', 'outcome:rejected'),
  saved('Fourmi: one command', 'All that is known of one command: put its id in place of the star', 'command_id:*'),
  saved('Fourmi: one trace', 'All hops of one trace: put its id in place of the star', 'trace_id:*'),
]

module.exports = {
  v: '1',
  id: id('content pack'),
  rev: 1,
  name: 'Fourmi',
  summary: 'Streams, searches and a dashboard for commands',
  description: `For records that Fourmi sends by GELF. Make a GELF input first. Fields: ${DOCS}/logs.md`,
  vendor: 'Fourmi',
  url: 'https://github.com/fourmi-proxy/fourmi',
  created_at: SINCE,
  server_version: '5.1.0',
  parameters: [],
  entities: [...streams, ...searches, dashboard],
}
