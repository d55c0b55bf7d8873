'use strict'
// The variables on top of a dashboard that all data sources have in common.

const dashboard = require('@grafana/grafana-foundation-sdk/dashboard')
const { VariableRefresh, VariableSort } = dashboard

// Which data source of this type is asked.
const datasource = type =>
  new dashboard.DatasourceVariableBuilder('datasource').label('Data source').type(type).current({ text: 'default', value: 'default' })

// Names that the data source `ref` knows, several at once; `everything` is what "All" becomes in a query.
const choice = (ref, everything) => (name, label, query) =>
  new dashboard.QueryVariableBuilder(name)
    .label(label)
    .query(query)
    .datasource(ref)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(everything)
    .current({ text: 'All', value: '$__all' })

module.exports = { datasource, choice }
