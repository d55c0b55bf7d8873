'use strict'
// Instances, names, certificates, stored commands, as StatsD with tags tells of them.

const { events, gauges, by, total } = require('./tagged')

const SERVICE = 'service=~^(${service:regex})$'

module.exports = {
  uid: 'fourmi-graphite-discovery',
  title: 'Fourmi / Discovery, DNS and sidecars (Graphite with tags)',
  about: 'Instances by state, questions by DNS, registries that are cut off, certificates, the spool. Levels are those of the sidecar that spoke last. Needs the StatsD dialect graphite.',
  rows: [
    ['Instances', [
      { title: 'Well', about: 'Instances that take commands, by service.', unit: 'short', docs: 'discovery.md', queries: [[by(gauges('instances', SERVICE, 'state=passing'), ['service'], 'max')]] },
      { title: 'Critical', about: 'Instances that take none, by service.', unit: 'short', docs: 'runbooks.md#fourmiinstanceaway', queries: [[by(gauges('instances', SERVICE, 'state=critical'), ['service'], 'max')]] },
      { title: 'Registry away', about: 'For how long a registry has been cut off from the one that it follows.', unit: 's', docs: 'runbooks.md#fourmiregistryaway', queries: [[`maxSeries(${gauges('registry.away')})`, 'away']] },
    ]],
    ['DNS', [
      { title: 'By type', about: 'Questions a second.', unit: 'reqps', stacked: true, docs: 'dns.md', queries: [[by(events('dns.queries'), ['type'])]] },
      { title: 'By answer', about: 'Answers a second by their code; `dropped` got none.', unit: 'reqps', stacked: true, docs: 'dns.md', queries: [[by(events('dns.queries'), ['rcode'])]] },
      { title: 'Questions', about: 'All of them, a second.', unit: 'reqps', docs: 'dns.md', queries: [[total(events('dns.queries')), 'questions']] },
    ]],
    ['Sidecars', [
      { title: 'In flight', about: 'Commands that have begun and not ended, by direction.', unit: 'short', docs: 'runbooks.md#fourmioverloaded', queries: [[by(gauges('commands.in.flight'), ['direction'], 'max')]] },
      { title: 'Connections', about: 'Of callers and to instances.', unit: 'short', docs: 'proxying.md', queries: [[by(gauges('connections'), ['side'], 'max')]] },
      { kind: 'bars', title: 'Certificates expire', about: 'When, by file.', unit: 'dateTimeFromNow', docs: 'runbooks.md#fourmicertificateexpires', queries: [[`scale(${by(gauges('certificate.expires.timestamp'), ['file'], 'min')}, 1000)`]] },
    ]],
    ['Spool', [
      { title: 'Stored commands', about: 'Commands in the spool that have not ended, and those that were given up, by state.', unit: 'short', stacked: true, docs: 'runbooks.md#fourmispooldead', queries: [[by(gauges('spool.commands', 'state=~^(scheduled|ready|running|retrying|dead|unknown)$'), ['state'], 'max')]] },
      { title: 'Oldest', about: 'How long ago the oldest command came that should have been delivered by now, by state.', unit: 's', docs: 'runbooks.md#fourmispoolold', queries: [[by(gauges('spool.oldest.age', 'state=~^(ready|retrying)$'), ['state'], 'max')]] },
      { title: 'Bytes of the spool', about: 'What is used of its file.', unit: 'bytes', docs: 'runbooks.md#fourmispoolfull', queries: [[`maxSeries(${gauges('spool.bytes')})`, 'bytes']] },
      { width: 24, title: 'Changes of state', about: 'How many stored commands a second come into a state.', unit: 'cps', docs: 'runbooks.md#fourmispoolold', queries: [[by(events('spool.transitions'), ['state'])]] },
    ]],
  ],
}
