#!/usr/bin/env node
'use strict'
// Writes every file of `dashboards/` that is not written by hand: node build.js DIRECTORY.
// `./test` runs it into an empty folder and compares; after a change run it into `dashboards/` (see its README).

const fs = require('fs')
const path = require('path')

const target = process.argv[2]
if (!target) {
  console.error('usage: NODE_PATH=tests/.peers/node_modules node dashboards/source/build.js DIRECTORY')
  process.exit(2)
}
const write = (name, text) => {
  const file = path.join(target, name)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
}
const json = value => JSON.stringify(value, null, 1) + '\n'
const yaml = (about, value) => about.map(line => `# ${line}\n`).join('') + require('yaml').stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })

const { page } = require('./panel')
const prometheus = require('./prometheus/source').source
const grafana = (kind, source, names) => {
  for (const name of names) write(`grafana/dashboards/${kind}/${name}.json`, json(page(source, require(`./${kind}/${name}`))))
}
grafana('prometheus', prometheus, ['overview', 'service', 'gateway', 'discovery', 'sidecar'])
grafana('graphite', require('./graphite/source').source, ['overview', 'service'])
grafana('graphite', require('./graphite/tagged').source, ['commands', 'gateway', 'discovery'])
write('datadog/fourmi.json', json(require('./datadog')))
write('graylog/content-pack.json', json(require('./graylog')))

const PROMETHEUS = 'fourmi-prometheus'
const alerts = require('./alerts')
write('prometheus/fourmi.rules.yaml', yaml(['Alerts on what Fourmi counts: load it with `rule_files:`. Made by dashboards/source; docs/runbooks.md has a section for each.'], alerts.rules()))
write('prometheus/fourmi.test.yaml', yaml(['Each alert fires, and keeps quiet: promtool test rules fourmi.test.yaml. Made by dashboards/source.'], alerts.tests()))
write('prometheus/prometheus.yaml', yaml(['What Prometheus needs to know. The label `env` is the dashboards\' environment; `instance` is the sidecar.'], {
  global: { scrape_interval: '15s' },
  rule_files: ['fourmi.rules.yaml'],
  scrape_configs: [{ job_name: 'fourmi', static_configs: [{ targets: ['127.0.0.1:9901'], labels: { env: 'production' } }] }],
}))
write('grafana/provisioning/alerting/fourmi.yaml', yaml(['Alerts for Grafana\'s own alerting: the same as for Prometheus; load one of the two. Made by dashboards/source.'], alerts.provisioned(PROMETHEUS)))
write('grafana/provisioning/datasources/fourmi.yaml', yaml(['Where Grafana finds the numbers. The dashboards let you choose any other one.'], {
  apiVersion: 1,
  datasources: [
    { name: 'Fourmi Prometheus', uid: PROMETHEUS, type: 'prometheus', access: 'proxy', url: 'http://prometheus:9090', isDefault: true, jsonData: { httpMethod: 'POST', timeInterval: '15s' } },
    { name: 'Fourmi Graphite', uid: 'fourmi-graphite', type: 'graphite', access: 'proxy', url: 'http://graphite:8080', jsonData: { graphiteVersion: '1.1' } },
  ],
}))
write('grafana/provisioning/dashboards/fourmi.yaml', yaml(['Which dashboards Grafana loads: mount dashboards/grafana/dashboards there.'], {
  apiVersion: 1,
  providers: ['prometheus', 'graphite'].map(kind => ({
    name: `fourmi-${kind}`,
    orgId: 1,
    folder: kind === 'prometheus' ? 'Fourmi' : 'Fourmi (Graphite)',
    folderUid: `fourmi-${kind}`,
    type: 'file',
    disableDeletion: true,
    allowUiUpdates: false,
    updateIntervalSeconds: 30,
    options: { path: `/etc/grafana/dashboards/fourmi/${kind}` },
  })),
}))
