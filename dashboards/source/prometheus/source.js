'use strict'
// How Prometheus is asked, and the words that its queries are made of.

const dashboard = require('@grafana/grafana-foundation-sdk/dashboard')
const { DataqueryBuilder, PromQueryFormat } = require('@grafana/grafana-foundation-sdk/prometheus')
const { choice, datasource } = require('../variables')

const ref = { type: 'prometheus', uid: '${datasource}' }
// A label that nobody sets is matched as well: `env` comes from the scrape's configuration, and may be missing.
const query = choice(ref, '.*')

const objectives = ['99', '99.5', '99.9', '99.95', '99.99']
const objective = () => {
  const built = new dashboard.CustomVariableBuilder('objective')
    .label('Objective, %')
    .description('Share of commands that shall not fail')
    .values(objectives.join(','))
    .current({ text: '99.9', value: '99.9' })
    .options(objectives.map(value => ({ text: value, value, selected: value === '99.9' })))
  return built
}

const note = (name, colour, expr, title) => {
  const built = new dashboard.AnnotationQueryBuilder().name(name).datasource(ref).enable(true).hide(false).iconColor(colour)
  return built.expr(expr).step('15s').titleFormat(title).tagKeys('instance').textFormat('{{instance}}')
}

const source = {
  ref,
  tags: ['prometheus'],
  target(expr, legend, kind, refId) {
    const built = new DataqueryBuilder().refId(refId).datasource(ref).expr(expr).legendFormat(legend ?? '__auto')
    if (kind === 'table') return built.format(PromQueryFormat.Table).instant(true).range(false)
    if (kind === 'bars') return built.instant(true).range(false)
    if (kind === 'heat') return built.format(PromQueryFormat.Heatmap).range(true)
    return built.range(true)
  },
  variables({ objective: wanted }) {
    const all = [
      datasource('prometheus'),
      query('environment', 'Environment', 'label_values(fourmi_build_info, env)'),
      query('service', 'Service', 'label_values(fourmi_commands_total{env=~"$environment"}, service)'),
      query('instance', 'Sidecar', 'label_values(fourmi_build_info{env=~"$environment"}, instance)'),
      query('command', 'Command', 'label_values(fourmi_commands_total{env=~"$environment", service=~"$service"}, command)'),
    ]
    if (wanted) all.push(objective())
    return all
  },
  annotations: [
    note('Starts', 'blue', 'time() - process_start_time_seconds{env=~"$environment", instance=~"$instance"} < 60 and on (instance) fourmi_build_info', 'Fourmi started'),
    note('Reloads', 'green', 'increase(fourmi_reloads_total{env=~"$environment", instance=~"$instance", result="ok"}[1m]) > 0', 'Configuration read again'),
    note('Refused reloads', 'red', 'increase(fourmi_reloads_total{env=~"$environment", instance=~"$instance", result="failed"}[1m]) > 0', 'Configuration refused'),
  ],
}

// Selectors. Everywhere: the environment and the sidecar; of commands also the service and the command.
const sidecar = (...more) => `{${['env=~"$environment"', 'instance=~"$instance"', ...more].join(', ')}}`
const commands = (...more) => sidecar('service=~"$service"', 'command=~"$command"', ...more)
// What the service, or the way to it, answers for. A refusal and a caller's error are not failures of the service.
const failed = 'outcome=~"server_error|timeout|unreachable|dead|unknown"'
const inbound = 'direction="inbound"'
const outbound = 'direction="outbound"'

const by = labels => (labels ? `sum by (${labels}) ` : 'sum ')
const rate = (metric, where, labels, range = '$__rate_interval') => `${by(labels)}(rate(${metric}${where}[${range}]))`
// A share. Where nothing of the first kind was ever counted there is no series, which must read as 0 and not as a hole.
const share = (metric, part, whole, labels, range = '$__rate_interval') => {
  const all = rate(metric, whole, labels, range)
  return `(${rate(metric, part, labels, range)} or 0 * ${all}) / ${all}`
}
const quantile = (q, metric, where, labels, range = '$__rate_interval') =>
  `histogram_quantile(${q}, ${rate(`${metric}_bucket`, where, labels ? `le, ${labels}` : 'le', range)})`
const mean = (metric, where, labels, range = '$__rate_interval') =>
  `${rate(`${metric}_sum`, where, labels, range)} / ${rate(`${metric}_count`, where, labels, range)}`

const quantiles = (metric, where) => [0.5, 0.95, 0.99].map(q => [quantile(q, metric, where), `p${q * 100}`])

module.exports = {
  source, sidecar, commands, failed, inbound, outbound, rate, share, quantile, quantiles, mean,
  total: 'fourmi_commands_total',
  whole: 'fourmi_command_duration_seconds',
  upstream: 'fourmi_upstream_duration_seconds',
  overhead: 'fourmi_overhead_seconds',
}
