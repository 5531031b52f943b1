/**
 * Fails if a production dependency has a licence that would bind users or distributors of Chorus.
 * Permissive licences pass. Weak copyleft (MPL, LGPL) passes only for packages named in NOTICE. All
 * other licences fail. Reads only the lockfile and the installed packages.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const permissive = new Set([
  'MIT',
  'MIT-0',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  '0BSD',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'Unlicense',
  'PostgreSQL',
  'Python-2.0',
])
const weakCopyleft = /^(MPL-2[.]0|LGPL-[0-9.]+(-or-later|-only)?)$/

/**
 * Returns whether a licence expression such as `(MIT OR GPL-2.0)` can be met with accepted licences
 * alone. For OR, one side must be accepted; for AND, both.
 */
function isAccepted(expression, accepts) {
  const text = expression.trim()
  const inner = /^\((.*)\)$/.exec(text)
  if (inner !== null && isBalanced(inner[1])) return isAccepted(inner[1], accepts)
  for (const [operator, combine] of [
    [' OR ', 'some'],
    [' AND ', 'every'],
  ]) {
    const parts = splitOutside(text, operator)
    if (parts.length > 1) return parts[combine]((part) => isAccepted(part, accepts))
  }
  return accepts(text)
}

function isBalanced(text) {
  let depth = 0
  for (const character of text) {
    if (character === '(') depth += 1
    if (character === ')') depth -= 1
    if (depth < 0) return false
  }
  return depth === 0
}

function splitOutside(text, operator) {
  const parts = []
  let depth = 0
  let from = 0
  for (let index = 0; index < text.length; index += 1) {
    if (text[index] === '(') depth += 1
    if (text[index] === ')') depth -= 1
    if (depth === 0 && text.startsWith(operator, index)) {
      parts.push(text.slice(from, index))
      from = index + operator.length
    }
  }
  return [...parts, text.slice(from)]
}

function licenceOf(path) {
  const file = join(root, path, 'package.json')
  if (!existsSync(file)) return undefined
  const { license, licenses } = JSON.parse(readFileSync(file, 'utf8'))
  if (typeof license === 'string') return license
  if (typeof license?.type === 'string') return license.type
  if (Array.isArray(licenses)) return licenses.map((entry) => entry.type).join(' OR ')
  return 'none stated'
}

const notice = readFileSync(join(root, 'NOTICE'), 'utf8')
const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'))
const problems = []
const counts = new Map()
for (const [path, entry] of Object.entries(packages)) {
  const name = path.split('node_modules/').at(-1)
  if (!path.includes('node_modules/') || entry.link || entry.dev) continue
  const licence = licenceOf(path) ?? entry.license
  // Skip a package without a licence: it is an optional package for another platform. It is not
  // installed here, and the lockfile may not name its licence.
  if (licence === undefined) continue
  counts.set(licence, (counts.get(licence) ?? 0) + 1)
  if (isAccepted(licence, (part) => permissive.has(part))) continue
  const isNamed = notice.split(/\s+/).includes(name)
  if (isNamed && isAccepted(licence, (part) => permissive.has(part) || weakCopyleft.test(part))) continue
  problems.push(`${name} ${entry.version}: ${licence}`)
}

for (const [licence, count] of [...counts].sort((a, b) => b[1] - a[1]))
  console.log(`${String(count).padStart(4)}  ${licence}`)
if (problems.length > 0) {
  console.error('These production dependencies have a licence that is neither permissive nor named in NOTICE:')
  for (const problem of problems) console.error(`  ${problem}`)
  process.exit(1)
}
