/**
 * Checks the documents and the generated code. The reference pages (docs/reference/), the client's
 * tables and the tables of generate-tables.mjs must match the code. Every relative link and anchor
 * must have a target. Every file that docs/message-path.md and docs/decisions/ name must exist.
 * `--write` writes the generated files instead of comparing them.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { buildFunctionSet, buildTables, keyOf } from './generate-tables.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isWriting = process.argv.includes('--write')
const problems = []

const load = (path) => import(pathToFileURL(join(root, path)).href)

/** Returns a Markdown table. Escapes `|` in cells, because it would end the cell. */
function table(head, rows) {
  const line = (cells) =>
    `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

const generated = 'Generated from the code by `npm run docs`. Do not edit.'

async function metricRows() {
  const { Metrics } = await load('packages/server/dist/support/metrics.js')
  const metrics = new Metrics()
  const rows = (await metrics.describe()).map(({ name, type, help }) => [`\`${name}\``, type, help])
  metrics.stop()
  return rows
}

function commandRows(commands) {
  return Object.values(commands).map((command) => [
    `\`${command.name}\``,
    command.route === undefined ? '' : `\`${command.route.method} ${command.route.path}\` → ${command.route.status}`,
    command.event === undefined ? '' : `\`${command.event.name}\``,
    `${command.summary}${{ none: ' (no session needed)', session: '', key: ` (API key, scope ${command.scope})` }[command.auth]}`,
  ])
}

/** Returns a row for each limit. The meaning of a limit is its comment. */
function limitRows(limits) {
  const limitsSource = readFileSync(join(root, 'packages/protocol/src/limits.ts'), 'utf8')
  const rows = [...limitsSource.matchAll(/\/\*\* (.+?) \*\/\s+(\w+):/gs)].map(([, meaning, name]) => [
    `\`${name}\``,
    limits[name],
    meaning.replace(/\s*\n\s*\*\s*/g, ' '),
  ])
  if (rows.length !== Object.keys(limits).length) {
    problems.push('packages/protocol/src/limits.ts: a limit has no comment')
  }
  return rows
}

async function buildReference() {
  const protocol = await load('packages/protocol/dist/index.js')
  const { describeSettings } = await load('packages/server/dist/config/config.js')
  return {
    'errors.md': `# Errors

${generated} The source is \`packages/protocol/src/errors.ts\`.

One catalogue for all transports. Over HTTP, an error is \`application/problem+json\` (RFC 9457) with \`type, title, status,
detail, code, retry\`. In a Socket.IO acknowledgement it is \`{ok: false, error: {code, message, retry, retryAfterMs?}}\`.
The message has the form \`unable to X; Y\`. \`retry: later\` means: the same request may succeed later.

${table(
  ['code', 'status', 'retry', 'meaning'],
  Object.entries(protocol.errorCatalogue).map(([code, entry]) => [
    `\`${code}\``,
    entry.status,
    entry.retry,
    entry.title,
  ]),
)}
`,
    'limits.md': `# Limits of the wire

${generated} The source is \`packages/protocol/src/limits.ts\`.

${table(['limit', 'value', 'meaning'], limitRows(protocol.limits))}
`,
    'configuration.md': `# Environment variables

${generated} The source is \`packages/server/src/config/config.ts\`.

A wrong or contradictory setting stops the server with one line that names the variable, the value and what is expected.

${table(
  ['variable', 'default', 'meaning', 'expected'],
  describeSettings().map((entry) => [`\`${entry.variable}\``, entry.default, entry.meaning, entry.expected]),
)}
`,
    'metrics.md': `# Metrics

${generated} The source is \`packages/server/src/support/metrics.ts\`.

Prometheus reads them from \`/metrics\` on \`METRICS_PORT\`. Units are in the names.

${table(['metric', 'type', 'meaning'], await metricRows())}
`,
    'commands.md': `# Commands

${generated} The source is \`packages/protocol/src/commands/\`; the schemas are in [openapi.json](openapi.json).

All commands of a client, with their transports. [wire.md](../wire.md) describes how to send them.

${table(['command', 'HTTP', 'Socket.IO event', 'does'], commandRows(protocol.commands))}
`,
    'openapi.json': `${JSON.stringify(protocol.buildOpenApiDocument('http://127.0.0.1:3000'), null, 2)}\n`,
  }
}

function* markdownFiles(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (['node_modules', 'dist', '.git', '.setup', 'data', 'results'].includes(entry.name)) continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* markdownFiles(path)
    else if (entry.name.endsWith('.md')) yield path
  }
}

const withoutCode = (text) => text.replace(/^```.*?^```/gms, '').replace(/`[^`\n]*`/g, '')

/** Returns the link anchor that Git hosts (GitHub and others) create for a heading. */
function anchorOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-')
}

function anchorsIn(file) {
  const text = readFileSync(file, 'utf8').replace(/^```.*?^```/gms, '')
  return new Set([...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => anchorOf(heading)))
}

function checkLinks() {
  for (const file of markdownFiles(root)) {
    const text = withoutCode(readFileSync(file, 'utf8'))
    for (const [, target] of text.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)) {
      if (/^[a-z]+:/i.test(target)) continue
      const [path, anchor] = target.split('#')
      const linked = path === '' ? file : join(dirname(file), decodeURIComponent(path))
      if (!existsSync(linked)) problems.push(`${relative(root, file)}: the link ${target} is broken`)
      else if (anchor && linked.endsWith('.md') && statSync(linked).isFile() && !anchorsIn(linked).has(anchor)) {
        problems.push(`${relative(root, file)}: ${target} names a heading that does not exist`)
      }
    }
  }
}

/**
 * Checks that each source file that a document names exists. Names are relative to the root of the
 * repository.
 */
function checkNamedFiles(document) {
  const file = join(root, document)
  if (!existsSync(file)) {
    problems.push(`${document} is missing`)
    return
  }
  const text = readFileSync(file, 'utf8')
  const named = new Set([...text.matchAll(/(?:packages|apps|tests|lab|scripts)\/[\w./-]*[\w/]/g)].map(([path]) => path))
  for (const path of named) {
    if (!existsSync(join(root, path))) problems.push(`${document} names ${path}, which does not exist`)
  }
}

/**
 * Returns the client's tables of commands and changes. The client does not import the protocol's
 * definitions instead, because they contain schemas, which no browser needs to load.
 */
async function buildClientTables() {
  const { changeFields, commands } = await load('packages/protocol/dist/index.js')
  const sorted = Object.values(commands)
    .filter(({ auth }) => auth !== 'key')
    .sort((one, other) => (one.name < other.name ? -1 : 1))
  const lines = (entries) => entries.map(([name, value]) => `  ${keyOf(name)}: ${value},\n`).join('')
  const routes = sorted.map(({ name, route }) => {
    if (route === undefined) return [name, 'undefined']
    const { method, path, bodyIs } = route
    return [name, `'${[method, path, ...(bodyIs === undefined ? [] : [bodyIs])].join(' ')}'`]
  })
  const events = sorted.flatMap(({ name, event }) => (event === undefined ? [] : [[name, `'${event.name}'`]]))
  const fields = Object.entries(changeFields).map(([type, names]) => [
    type,
    `[${names.map((name) => `'${name}'`).join(', ')}]`,
  ])
  return [
    [
      'packages/client/src/wire/http-routes.ts',
      `/**
 * HTTP method and path of each command that users can send; undefined for a command of Socket.IO
 * alone. Generated from packages/protocol/src/commands/ by \`npm run docs\`. Do not edit.
 */
import type { Method, UserCommandName } from '@chorus/protocol'

/**
 * Method and path of a command. An optional third word names the request field that becomes the
 * whole body.
 */
export type HttpRoute = \`\${Method} \${string}\`

export const httpRoutes: { readonly [Name in UserCommandName]: HttpRoute | undefined } = {
${lines(routes)}}
`,
    ],
    [
      'packages/client/src/wire/command-events.ts',
      `/**
 * Socket.IO event name of each command. Generated from packages/protocol/src/commands/ by
 * \`npm run docs\`. Do not edit.
 */
import type { EventCommandName } from '@chorus/protocol'

export const commandEvents: { readonly [Name in EventCommandName]: string } = {
${lines(events)}}
`,
    ],
    [
      'packages/client/src/model/change-fields.ts',
      `/**
 * Fields of each type of change. Generated from packages/protocol/src/objects/ by \`npm run docs\`.
 * Do not edit.
 */
import type { Change, ChangeField, ChangeType, MessageChangeType } from '@chorus/protocol'

export const changeFields: { readonly [Type in ChangeType]: readonly ChangeField[] } = {
${lines(fields)}}

/** Returns whether this version knows a type of change. */
export function isChangeType(type: string): type is ChangeType {
  return Object.hasOwn(changeFields, type)
}

/**
 * Returns whether a change contains the message after it. A server that does not know the type sends
 * the change without it.
 */
export function hasMessage(change: Change): change is Extract<Change, { type: MessageChangeType }> {
  return isChangeType(change.type) && changeFields[change.type].includes('message') && 'message' in change
}
`,
    ],
  ]
}

/**
 * Returns the source of the SQL function that reads a message, with one column for each field of a
 * message.
 */
async function buildMessageDetail() {
  const { messageColumns } = await load('packages/server/dist/support/message-columns.js')
  return `-- Returns the columns of a message. Generated from packages/protocol/src/objects/message.ts by
-- npm run docs. Do not edit.
create or replace function message_detail(p_conversation uuid, p_seq bigint) returns json language sql stable as $$
  select json_build_object(
    ${messageColumns.map(({ column, stored }) => `'${column}', ${stored}`).join(',\n    ')})
  from changes where conversation = p_conversation and seq = p_seq;
$$;
`
}

/**
 * With `--write`, writes a generated file. Otherwise reports the file if its text is out of date.
 */
function settle([name, text]) {
  const path = join(root, name)
  if (isWriting) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  } else if (!existsSync(path) || readFileSync(path, 'utf8') !== text) {
    problems.push(`${name} is out of date; run npm run docs`)
  }
}

for (const [name, text] of Object.entries(await buildReference())) settle([`docs/reference/${name}`, text])
for (const table of [...buildTables(), ...(await buildClientTables())]) settle(table)
settle(['packages/server/src/database/functions/message-detail.sql', await buildMessageDetail()])
settle(buildFunctionSet())
checkLinks()
checkNamedFiles('docs/message-path.md')
for (const page of readdirSync(join(root, 'docs/decisions'))) checkNamedFiles(`docs/decisions/${page}`)

if (problems.length > 0) {
  console.error(problems.join('\n'))
  process.exit(1)
}
console.log('documents are up to date')
