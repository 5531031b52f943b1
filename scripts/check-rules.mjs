/**
 * The rule report: compares the rules in docs/spec.md with the titles of the tests. Fails when a
 * rule that applies to one server has no test, when a test names a rule that does not exist, or
 * when a rule does not state how it is enforced.
 *
 * A test counts for a rule when its title starts with the id of the rule in brackets, such as
 * `[ACK1] …` or `[IDEM1, ORD1] …`. Tests marked `skip` or `todo` do not count.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const problems = []

/** @returns {Map<string, {title: string, scope: string, tests: number, files: Set<string>}>} */
function readRules() {
  const rules = new Map()
  const text = readFileSync(join(root, 'docs/spec.md'), 'utf8')
  for (const section of text.split(/^### /m).slice(1)) {
    const body = section.split(/^## /m)[0]
    const [, id, title] = /^([A-Z]+\d+) (.+)$/m.exec(body) ?? []
    if (id === undefined) {
      problems.push(`docs/spec.md: "${body.split('\n')[0]}" is not a rule: expected an id and a title`)
      continue
    }
    if (rules.has(id)) problems.push(`docs/spec.md: ${id} is defined twice`)
    const [, scope] = /^- Scope: (one server and cluster|one server|cluster)\b/m.exec(body) ?? []
    if (scope === undefined) problems.push(`docs/spec.md: ${id} has no scope`)
    if (scope === 'cluster' && !/^- Scope: cluster \(.+\)$/m.test(body)) {
      problems.push(`docs/spec.md: ${id} is for a cluster only and gives no reason`)
    }
    if (!/^- Enforced by: .+/m.test(body)) problems.push(`docs/spec.md: ${id} does not state how it is enforced`)
    rules.set(id, { title, scope: scope ?? 'one server', tests: 0, files: new Set() })
  }
  return rules
}

function* testFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (['node_modules', 'dist', 'results', 'data'].includes(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* testFiles(path)
    else if (/[.](test|suite)[.]tsx?$/.test(entry.name) || /-suite[.]ts$/.test(entry.name)) yield path
  }
}

const titleWithIds = /([\w.]*(?:\([^()]*\))?)\(\s*(['"`])((?:\[[A-Z]{2,}\d+(?:\s*[,·]\s*[A-Z]{2,}\d+)*\]\s*)+)/g

const rules = readRules()
for (const folder of ['packages', 'apps', 'tests', 'lab']) {
  for (const file of testFiles(join(root, folder))) {
    const name = relative(root, file)
    for (const [, call, , brackets] of readFileSync(file, 'utf8').matchAll(titleWithIds)) {
      if (/[.](skip|todo)\b/.test(call)) continue
      for (const [id] of brackets.matchAll(/[A-Z]{2,}\d+/g)) {
        const rule = rules.get(id)
        if (rule === undefined) {
          problems.push(`${name}: a test names ${id}, which is not a rule of docs/spec.md`)
          continue
        }
        rule.tests += 1
        rule.files.add(name)
      }
    }
  }
}

console.log(`${'rule'.padEnd(7)}${'scope'.padEnd(23)}${'tests'.padStart(5)}  where`)
for (const [id, { scope, tests, files, title }] of rules) {
  const where = [...files].sort().join(', ')
  console.log(`${id.padEnd(7)}${scope.padEnd(23)}${String(tests).padStart(5)}  ${where || `- (${title})`}`)
  if (tests === 0 && scope !== 'cluster') problems.push(`${id} (${title}) applies to one server and has no test`)
}
const proven = [...rules.values()].filter((rule) => rule.tests > 0).length
console.log(`${rules.size} rules, ${proven} with tests`)
if (problems.length > 0) {
  console.error(`\n${problems.join('\n')}`)
  process.exit(1)
}
