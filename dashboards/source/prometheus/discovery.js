'use strict'
// Who is where: the registry, its names, and whether it stands alone.

const { steps } = require('../panel')
const { sidecar, rate, share } = require('./source')

const queries = 'fourmi_dns_queries_total'
const wrong = 'rcode=~"servfail|refused|formerr|notimp|dropped"'
const states = state => `max by (service) (fourmi_instances${sidecar('service=~"$service"', `state="${state}"`)})`

module.exports = {
  uid: 'fourmi-discovery',
  title: 'Fourmi / Discovery and DNS',
  about: 'Services, their instances and their health; questions by DNS; registries that are cut off.',
  rows: [
    ['Now', [
      { kind: 'stat', width: 4, title: 'Services', about: 'Services with at least one instance that takes commands.', unit: 'short', docs: 'discovery.md', queries: [[`count(${states('passing')} > 0)`]] },
      { kind: 'stat', width: 4, title: 'Instances', about: 'Instances that take commands.', unit: 'short', docs: 'discovery.md', queries: [[`sum(${states('passing')})`]] },
      { kind: 'stat', width: 4, title: 'Take none', about: 'Instances that take no commands.', unit: 'short', good: steps(1), docs: 'runbooks.md#fourmiinstanceaway', queries: [[`sum(${states('critical')})`]] },
      { kind: 'stat', width: 4, title: 'Questions', about: 'DNS questions a second.', unit: 'reqps', docs: 'dns.md', queries: [[rate(queries, sidecar())]] },
      { kind: 'stat', width: 4, title: 'Not answered well', about: 'Share of questions answered with an error of ours, or dropped. NXDOMAIN is an answer.', unit: 'percentunit', good: steps(0.01, 0.05), docs: 'runbooks.md#fourmidnsfailures', queries: [[share(queries, sidecar(wrong), sidecar())]] },
      { kind: 'stat', width: 4, title: 'Longest away', about: 'The registry that has been cut off longest.', unit: 's', good: steps(10, 300), docs: 'runbooks.md#fourmiregistryaway', queries: [[`max(fourmi_registry_away_seconds${sidecar()})`]] },
    ]],
    ['Instances', [
      { title: 'Well', about: 'Instances that take commands, by service.', unit: 'short', docs: 'discovery.md', queries: [[states('passing'), '{{service}}']] },
      { title: 'Warning', about: 'Instances of which a check warns; they still take commands.', unit: 'short', docs: 'discovery.md', queries: [[states('warning'), '{{service}}']] },
      { title: 'Critical', about: 'Instances that take none, by service.', unit: 'short', docs: 'runbooks.md#fourmiinstanceaway', queries: [[states('critical'), '{{service}}']] },
      {
        kind: 'table', width: 24, title: 'As each process sees it', about: 'Instances by sidecar and state. Two that differ for longer than a moment do not follow the same registry.', unit: 'short', docs: 'join.md',
        queries: ['passing', 'warning', 'critical'].map(state => [`sum by (instance, service) (fourmi_instances${sidecar('service=~"$service"', `state="${state}"`)})`]),
        columns: [['passing', 'short'], ['warning', 'short', [1]], ['critical', 'short', [1]]],
      },
    ]],
    ['DNS', [
      { title: 'By type', about: 'Questions a second.', unit: 'reqps', stacked: true, docs: 'dns.md', queries: [[rate(queries, sidecar(), 'type'), '{{type}}']] },
      { title: 'By answer', about: 'Answers a second by their code; `dropped` got none.', unit: 'reqps', stacked: true, docs: 'dns.md', queries: [[rate(queries, sidecar(), 'rcode'), '{{rcode}}']] },
      { title: 'Names that are not there', about: 'Share of NXDOMAIN by type. High: a search list (`ndots`), or a service that is asked for and was never registered.', unit: 'percentunit', docs: 'dns.md', queries: [[share(queries, sidecar('rcode="nxdomain"'), sidecar(), 'type'), '{{type}}']] },
    ]],
    ['Registries', [
      { width: 12, title: 'Away', about: 'For how long each registry has been cut off. What it knew last goes on being answered.', unit: 's', docs: 'runbooks.md#fourmiregistryaway', queries: [[`max by (instance) (fourmi_registry_away_seconds${sidecar()})`, '{{instance}}']] },
      { width: 12, title: 'Changes of instances', about: 'How often the number of well instances changed in ten minutes. Much of it: checks that are too strict, or instances that fall over.', unit: 'short', docs: 'discovery.md', queries: [[`sum by (service) (changes(fourmi_instances${sidecar('service=~"$service"', 'state="passing"')}[10m]))`, '{{service}}']] },
    ]],
  ],
}
