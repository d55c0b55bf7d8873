'use strict'
// Says what is wrong with Grafana dashboards by Grafana's own types: node dashboards.js FILE…
// Each file becomes a literal of the type `Dashboard`, its panels' options and fields those of their kind, and TypeScript
// tells of every key that does not exist and every value that is not allowed.

const fs = require('fs')
const os = require('os')
const path = require('path')
const ts = require('typescript')

const schema = path.dirname(require.resolve('@grafana/schema/package.json'))
const raw = path.join(schema, 'dist/types/raw')
const kinds = ['timeseries', 'stat', 'table', 'heatmap', 'bargauge']
const head = `
import * as d from '${raw}/dashboard/x/types.gen'
${kinds.map(k => `import * as ${k} from '${raw}/composable/${k}/panelcfg/x/types.gen'`).join('\n')}
// Enumerations stand for their values in JSON.
type Json<T> = T extends string ? \`\${T}\` : T extends number ? T : T extends (infer U)[] ? Json<U>[]
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T
`
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dashboards-'))
// What only the data source knows of an annotation is not part of Grafana's schema.
const ofSource = ['expr', 'step', 'titleFormat', 'textFormat', 'tagKeys']
const roots = process.argv.slice(2).map((file, i) => {
  const { panels, ...whole } = JSON.parse(fs.readFileSync(file, 'utf8'))
  for (const note of whole.annotations.list ?? []) for (const key of ofSource) delete note[key]
  const lines = [head, `const whole: Json<d.Dashboard> = ${JSON.stringify(whole)}`]
  for (const panel of panels) {
    if (panel.type === 'row') {
      lines.push(`{ const row: Json<d.RowPanel> = ${JSON.stringify(panel)} }`)
      continue
    }
    if (!kinds.includes(panel.type)) throw new Error(`${file}: panels of kind ${panel.type} are not known here`)
    lines.push(`{ const panel: Json<d.Panel> = ${JSON.stringify(panel)} }`)
    lines.push(`{ const options: Json<Partial<${panel.type}.Options>> = ${JSON.stringify(panel.options)} }`)
    const custom = panel.fieldConfig.defaults.custom
    if (custom) lines.push(`{ const field: Json<${panel.type}.FieldConfig> = ${JSON.stringify(custom)} }`)
  }
  const name = path.join(folder, `dashboard${i}.ts`)
  fs.writeFileSync(name, lines.join('\n'))
  return name
})
const options = { noEmit: true, strict: false, skipLibCheck: true, moduleResolution: ts.ModuleResolutionKind.NodeJs, target: ts.ScriptTarget.ES2020, types: [] }
const program = ts.createProgram(roots, options)
const wrong = ts.getPreEmitDiagnostics(program)
for (const one of wrong) {
  const at = one.file ? `${process.argv[2 + roots.indexOf(one.file.fileName)] ?? one.file.fileName}: ` : ''
  const text = one.file && roots.includes(one.file.fileName) ? one.file.text.slice(Math.max(0, one.start - 60), one.start + 60) : ''
  console.log(`${at}${ts.flattenDiagnosticMessageText(one.messageText, ' ')} … ${text}`)
}
fs.rmSync(folder, { recursive: true })
console.log(`${roots.length} dashboards, ${wrong.length} faults`)
