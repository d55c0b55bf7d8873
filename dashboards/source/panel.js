'use strict'
// How a panel is said: `{kind, title, about, unit, queries: [[query, legend], ...]}`. Everything that all panels have in
// common is here, so that a page of panels holds nothing but questions.

const { DashboardBuilder, RowBuilder, DashboardLinkBuilder, DashboardLinkType } = require('@grafana/grafana-foundation-sdk/dashboard')
const dashboard = require('@grafana/grafana-foundation-sdk/dashboard')
const common = require('@grafana/grafana-foundation-sdk/common')
const kinds = {
  series: require('@grafana/grafana-foundation-sdk/timeseries').PanelBuilder,
  stat: require('@grafana/grafana-foundation-sdk/stat').PanelBuilder,
  table: require('@grafana/grafana-foundation-sdk/table').PanelBuilder,
  heat: require('@grafana/grafana-foundation-sdk/heatmap').PanelBuilder,
  bars: require('@grafana/grafana-foundation-sdk/bargauge').PanelBuilder,
}

const DOCS = 'https://github.com/fourmi-proxy/fourmi/blob/main/docs'
const SIZES = { series: [8, 8], stat: [4, 3], table: [8, 12], heat: [8, 12], bars: [8, 8] }
const GREEN = 'green'
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'

// Colours by what a value means: good below the first number, then worse.
const steps = (...bounds) => {
  const colours = bounds.length > 1 ? ['yellow', 'red'] : ['red']
  const all = [{ value: null, color: GREEN }, ...bounds.map((value, i) => ({ value, color: colours[i] }))]
  return new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(all)
}
// The same where more is better.
const falling = (bad, fair) =>
  new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps([{ value: null, color: 'red' }, { value: bad, color: 'yellow' }, { value: fair, color: GREEN }])

// `source` is how this dashboard's data source is asked: {ref, target(query, legend, kind, refId)}.
function panel(source, spec) {
  const { kind = 'series', title, about, unit, queries, docs = 'metrics.md' } = spec
  const [height, width] = SIZES[kind]
  const built = new kinds[kind]()
    .title(title)
    .description(about)
    .unit(unit)
    .datasource(source.ref)
    .height(spec.height ?? height)
    .span(spec.width ?? width)
    .links([new DashboardLinkBuilder(docs.startsWith('runbooks') ? 'Runbook' : 'Documentation').type(DashboardLinkType.Link).url(`${DOCS}/${docs}`).targetBlank(true)])
  queries.forEach(([query, legend], i) => built.withTarget(source.target(query, legend, kind, letters[i])))
  built.thresholds(spec.good ?? steps())
  if (spec.decimals !== undefined) built.decimals(spec.decimals)
  if (spec.max !== undefined) built.max(spec.max)
  shapes[kind](built, spec)
  return built
}

const shapes = {
  series(built, { stacked, min = 0 }) {
    built
      .min(min)
      .lineWidth(1)
      .fillOpacity(stacked ? 30 : 8)
      .showPoints(common.VisibilityMode.Never)
      .legend(
        new common.VizLegendOptionsBuilder()
          .displayMode(common.LegendDisplayMode.Table)
          .placement(common.LegendPlacement.Bottom)
          .showLegend(true)
          .calcs(['mean', 'max', 'lastNotNull']),
      )
      .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending))
    if (stacked) built.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'))
  },
  stat(built, { line = true }) {
    built
      .colorMode(common.BigValueColorMode.Value)
      .graphMode(line ? common.BigValueGraphMode.Area : common.BigValueGraphMode.None)
      .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false))
  },
  table(built, { columns, drill, hidden = [] }) {
    // One row an object, one column a query: `columns` are [name, unit] in the order of the queries.
    const value = i => (columns.length > 1 ? `Value #${letters[i]}` : 'Value')
    const names = Object.fromEntries(columns.map(([name], i) => [value(i), name]))
    const excluded = Object.fromEntries(['Time', ...hidden].map(name => [name, true]))
    if (columns.length > 1) built.withTransformation({ id: 'merge', options: {} })
    built.withTransformation({ id: 'organize', options: { excludeByName: excluded, renameByName: names, indexByName: {} } })
    for (const [name, unit, bounds] of columns) {
      const properties = [{ id: 'unit', value: unit }]
      if (bounds) {
        properties.push(
          { id: 'custom.cellOptions', value: { type: 'color-text' } },
          { id: 'thresholds', value: steps(...bounds).build() },
        )
      }
      built.overrideByName(name, properties)
    }
    if (drill) built.overrideByName('service', [{ id: 'links', value: drill }])
    built.cellOptions({ type: 'auto' }).sortBy([new common.TableSortByFieldStateBuilder().displayName(columns[0][0]).desc(true)])
  },
  heat(built) {
    const heat = require('@grafana/grafana-foundation-sdk/heatmap')
    built
      .calculate(false)
      .yAxis(new heat.YAxisConfigBuilder().unit('s').axisPlacement(common.AxisPlacement.Left))
      .color(new heat.HeatmapColorOptionsBuilder().mode(heat.HeatmapColorMode.Scheme).scheme('Spectral').steps(64))
      .cellGap(1)
  },
  bars(built) {
    built
      .orientation(common.VizOrientation.Horizontal)
      .displayMode(common.BarGaugeDisplayMode.Gradient)
      .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields('').values(false))
  },
}

// A dashboard: `{uid, title, about, rows: [[title, [panel specs]], ...]}` and what its source brings.
function page(source, spec) {
  const built = new DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(spec.about)
    .tags(['fourmi', ...source.tags])
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .refresh('30s')
    .time({ from: 'now-1h', to: 'now' })
    .timezone('browser')
    .link(
      new DashboardLinkBuilder('Fourmi')
        .type(DashboardLinkType.Dashboards)
        .tags(['fourmi', ...source.tags])
        .asDropdown(true)
        .includeVars(true)
        .keepTime(true),
    )
    .link(new DashboardLinkBuilder('Runbooks').type(DashboardLinkType.Link).url(`${DOCS}/runbooks.md`).icon('doc').targetBlank(true))
  for (const variable of source.variables(spec)) built.withVariable(variable)
  for (const note of source.annotations) built.annotation(note)
  for (const [title, panels] of spec.rows) {
    built.withRow(new RowBuilder(title))
    for (const each of panels) built.withPanel(panel(source, each))
  }
  const whole = built.build()
  // Numbers of our own, in the order of the page: a link to a panel holds as long as the page does.
  whole.panels.forEach((each, i) => (each.id = i + 1))
  // The SDK writes keys that Grafana's own schema does not have any more.
  for (const each of whole.panels) delete each.options?.footer
  for (const each of whole.templating.list) for (const key of ['auto', 'auto_min', 'auto_count']) delete each[key]
  return whole
}

module.exports = { page, steps, falling, DOCS }
