'use strict'
// Fourmi itself: what it uses, what it loses, what it was told.

const { steps } = require('../panel')
const { sidecar, rate, share, total } = require('./source')

const sinks = 'fourmi_sink_records_total'
const lost = sidecar('result!="sent"')
// Every process has `process_` metrics; only ours are meant.
const ours = metric => `${metric}${sidecar()} and on (instance) fourmi_build_info${sidecar()}`

// Stored commands by state; how often a state was entered.
const WAITING = 'state=~"scheduled|ready|running|retrying"'
const stored = states => `fourmi_spool_commands${sidecar(states)}`
const transitions = 'fourmi_spool_transitions_total'

module.exports = {
  uid: 'fourmi-sidecar',
  title: 'Fourmi / Sidecar',
  about: 'The processes themselves: sinks and what they lost, processor, memory, descriptors, connections, reloads, certificates, the spool.',
  rows: [
    ['Now', [
      { kind: 'stat', width: 3, title: 'Running', about: 'Processes that Prometheus reads.', unit: 'short', queries: [[`count(fourmi_build_info${sidecar()})`]] },
      { kind: 'stat', width: 3, title: 'Lost', about: 'Share of records and metric lines that no receiver will get.', unit: 'percentunit', good: steps(0.001, 0.01), docs: 'runbooks.md#fourmirecordslost', queries: [[share(sinks, lost, sidecar())]] },
      { kind: 'stat', width: 3, title: 'Cores in use', about: 'Processor, all processes together.', unit: 'short', decimals: 2, docs: 'benchmarks.md', queries: [[`sum(rate(process_cpu_seconds_total${sidecar()}[$__rate_interval]) and on (instance) fourmi_build_info${sidecar()})`]] },
      { kind: 'stat', width: 3, title: 'Memory, largest', about: 'The process with the most resident memory.', unit: 'bytes', good: steps(268435456, 1073741824), docs: 'benchmarks.md', queries: [[`max(${ours('process_resident_memory_bytes')})`]] },
      { kind: 'stat', width: 3, title: 'Descriptors used', about: 'Share of the descriptors that a process may open, of the worst one.', unit: 'percentunit', good: steps(0.5, 0.8), docs: 'runbooks.md#fourmidescriptors', queries: [[`max((process_open_fds${sidecar()} / process_max_fds${sidecar()}) and on (instance) fourmi_build_info${sidecar()})`]] },
      { kind: 'stat', width: 3, title: 'Youngest', about: 'Since the process that was started last was started.', unit: 's', line: false, docs: 'life.md', queries: [[`min(time() - (${ours('process_start_time_seconds')}))`]] },
      { kind: 'stat', width: 3, title: 'Reloads refused', about: 'In the last hour. The old configuration goes on.', unit: 'short', good: steps(1), line: false, docs: 'runbooks.md#fourmireloadfailed', queries: [[`sum(increase(fourmi_reloads_total${sidecar('result="failed"')}[1h]))`]] },
      { kind: 'stat', width: 3, title: 'First certificate', about: 'Time until the first certificate expires.', unit: 's', good: undefined, line: false, docs: 'runbooks.md#fourmicertificateexpires', queries: [[`min(fourmi_certificate_expires_timestamp_seconds${sidecar()} - time())`]] },
    ]],
    ['What it tells', [
      { title: 'Sent, by sink', about: 'Records and metric lines a second that receivers took. Over UDP: that nobody refused at once.', unit: 'cps', stacked: true, docs: 'logs.md', queries: [[rate(sinks, sidecar('result="sent"'), 'sink'), '{{sink}}']] },
      { title: 'Lost, by sink', about: 'dropped_full: the receiver is slower than the commands. dropped_error: it refused. oversize: it fits no packet.', unit: 'cps', docs: 'runbooks.md#fourmirecordslost', queries: [[rate(sinks, lost, 'sink, result'), '{{sink}} {{result}}']] },
      { title: 'Troubles, by reason', about: 'How often a receiver could not be reached or did not take something. One that cost nothing is here only.', unit: 'cps', docs: 'metrics.md#troubles', queries: [[rate('fourmi_sink_troubles_total', sidecar(), 'sink, reason'), '{{sink}} {{reason}}']] },
      {
        kind: 'table', width: 24, title: 'Sinks of each process', about: 'Over the last minutes. `fourmi check` and /api/v1/sinks name the receiver and the last error.', unit: 'short', docs: 'logs.md',
        queries: [[rate(sinks, sidecar('result="sent"'), 'instance, sink')], [rate(sinks, lost, 'instance, sink')], [share(sinks, lost, sidecar(), 'instance, sink')]],
        columns: [['sent', 'cps'], ['lost', 'cps', [0.001]], ['lost share', 'percentunit', [0.001, 0.01]]],
      },
    ]],
    ['What it uses', [
      { title: 'Processor', about: 'Cores in use, by process. One data thread can use one core.', unit: 'short', docs: 'benchmarks.md', queries: [[`sum by (instance) (rate(process_cpu_seconds_total${sidecar()}[$__rate_interval]) and on (instance) fourmi_build_info${sidecar()})`, '{{instance}}']] },
      { title: 'Processor a command', about: 'Processor time for each command that ended. It should not depend on the load.', unit: 's', docs: 'benchmarks.md', queries: [[`sum(rate(process_cpu_seconds_total${sidecar()}[$__rate_interval]) and on (instance) fourmi_build_info${sidecar()}) / ${rate(total, sidecar())}`, 'all']] },
      { title: 'Memory', about: 'Resident memory, by process.', unit: 'bytes', docs: 'benchmarks.md', queries: [[ours('process_resident_memory_bytes'), '{{instance}}']] },
      { title: 'Descriptors', about: 'Open files and sockets, by process.', unit: 'short', docs: 'runbooks.md#fourmidescriptors', queries: [[ours('process_open_fds'), '{{instance}}']] },
      { title: 'Connections', about: 'Of callers and to instances, by side.', unit: 'short', docs: 'proxying.md', queries: [[`sum by (side) (fourmi_connections${sidecar()})`, '{{side}}']] },
      { title: 'In flight', about: 'Commands that have begun and not ended.', unit: 'short', docs: 'runbooks.md#fourmioverloaded', queries: [[`sum by (instance, direction) (fourmi_commands_in_flight${sidecar()})`, '{{instance}} {{direction}}']] },
    ]],
    ['What it counts', [
      { title: 'Series of commands', about: 'Distinct combinations that a process counts; at 2,000 the rest becomes _other.', unit: 'short', docs: 'runbooks.md#fourmiseriesfull', queries: [[`count by (instance) (fourmi_command_duration_seconds_count${sidecar()})`, '{{instance}}']] },
      { title: 'Labels left out', about: 'Listed labels that were left out because another has their name. Above 0: rename a tag.', unit: 'short', queries: [[`max by (instance) (fourmi_label_collisions_total${sidecar()})`, '{{instance}}']] },
      { title: 'Worker\'s own lines', about: 'Lines of the worker\'s log a second, by what became of them.', unit: 'cps', docs: 'worker-logs.md', queries: [[rate('fourmi_worker_lines_total', sidecar(), 'result'), '{{result}}']] },
    ]],
    ['What it was told', [
      { kind: 'table', width: 8, height: 8, title: 'Versions', about: 'Processes by version.', unit: 'short', docs: 'deploy.md', queries: [[`count by (version) (fourmi_build_info${sidecar()})`]], columns: [['processes', 'short']] },
      { title: 'Reloads', about: 'Configurations that were read again, by result, in ten minutes.', unit: 'short', docs: 'runbooks.md#fourmireloadfailed', queries: [[`sum by (result) (increase(fourmi_reloads_total${sidecar()}[10m]))`, '{{result}}']] },
      { kind: 'table', width: 8, height: 8, title: 'Certificates', about: 'Time left, by file.', unit: 's', docs: 'runbooks.md#fourmicertificateexpires', queries: [[`min by (instance, file) (fourmi_certificate_expires_timestamp_seconds${sidecar()}) - time()`]], columns: [['left', 's']] },
    ]],
    ['Spool', [
      { title: 'Waiting', about: 'Stored commands that have not ended, by state. Scheduled ones wait for their time, retrying ones for their next attempt. Only a Fourmi with `spool:` has any.', unit: 'short', stacked: true, docs: 'runbooks.md#fourmispoolold', queries: [[`sum by (state) (${stored(WAITING)})`, '{{state}}']] },
      { title: 'Oldest', about: 'How long ago the oldest command came that should have been delivered by now, by process and state. Scheduled ones may be old and are left out.', unit: 's', docs: 'runbooks.md#fourmispoolold', queries: [[`max by (instance, state) (fourmi_spool_oldest_age_seconds${sidecar('state=~"ready|retrying"')})`, '{{instance}} {{state}}']] },
      { title: 'Ended without success', about: 'Stored commands that were given up, expired, were taken back, or of which nobody knows whether they ran, as long as they are kept. Above 0 of dead and unknown: somebody has to decide.', unit: 'short', stacked: true, good: steps(1), docs: 'runbooks.md#fourmispooldead', queries: [[`sum by (state) (${stored('state=~"dead|unknown|expired|cancelled"')})`, '{{state}}']] },
      { title: 'Changes of state', about: 'How many stored commands a second come into a state. Much retrying and little succeeded: the service refuses them.', unit: 'cps', docs: 'runbooks.md#fourmispoolold', queries: [[rate(transitions, sidecar(), 'state'), '{{state}}']] },
      { title: 'Stored commands that succeed', about: 'Share of the stored commands that ended. What was taken back by hand is left out.', unit: 'percentunit', max: 1, docs: 'runbooks.md#fourmispooldead', queries: [[share(transitions, sidecar('state="succeeded"'), sidecar('state=~"succeeded|dead|expired|unknown"')), 'succeeded']] },
      { title: 'Refused', about: 'Commands that could not be stored, a second, by reason. Their callers were told so (503); nothing is lost that was accepted.', unit: 'cps', good: steps(0.001), docs: 'runbooks.md#fourmispoolfull', queries: [[rate('fourmi_spool_refused_total', sidecar(), 'instance, reason'), '{{instance}} {{reason}}']] },
      { width: 24, title: 'Bytes of the file', about: 'What is used of the spool\'s file, by process. `fourmi spool` says how much it may become (`spool.max_bytes`).', unit: 'bytes', docs: 'runbooks.md#fourmispoolfull', queries: [[`max by (instance) (fourmi_spool_bytes${sidecar()})`, '{{instance}}']] },
    ]],
  ],
}
