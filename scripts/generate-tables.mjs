/**
 * Generates the files that depend on sources alone: the tables of commands of the protocol and of
 * the server, and the version number of the SQL functions. So this script can run before the build.
 * `npm run docs` writes the files; scripts/check-docs.mjs compares them.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const read = (path) => readFileSync(join(root, path), 'utf8').replaceAll('\r\n', '\n')

/** Returns the key of an object literal, in quotes if it needs them. */
export const keyOf = (name) => (/^\w+$/.test(name) ? name : `'${name}'`)

/**
 * Finds every exported command that matches the pattern, in the folders directly below `folder`.
 * Returns them sorted by the name of the command.
 */
function findExports(folder, pattern) {
  const found = readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== 'testing')
    .flatMap(({ name: subject }) =>
      readdirSync(join(root, folder, subject))
        .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
        .flatMap((file) =>
          [...read(`${folder}/${subject}/${file}`).matchAll(pattern)].map(({ groups }) => ({
            ...groups,
            path: `${subject}/${file}`,
          })),
        ),
    )
  return found.sort((one, other) => (one.name < other.name ? -1 : 1))
}

const imports = (found, folder) =>
  [...new Set(found.map(({ path }) => path))]
    .map((path) => {
      const identifiers = found.filter((one) => one.path === path).map(({ identifier }) => identifier)
      return `import { ${identifiers.join(', ')} } from '${folder}/${path}'\n`
    })
    .join('')

const entries = (found) =>
  found.map(({ name, identifier }) => `  ${name === identifier ? name : `${keyOf(name)}: ${identifier}`},\n`).join('')

/**
 * Returns the source of the table of all protocol commands, which are the exports that call
 * `defineCommand`.
 */
function buildProtocolCommands() {
  const found = findExports(
    'packages/protocol/src/commands',
    /^export const (?<identifier>\w+) = defineCommand\(\{\s*name: '(?<name>[\w-]+)'/gm,
  )
  return `/**
 * All commands that a client can send (the "up" side of the wire). Generated from the definitions in
 * the folders of this folder by \`npm run docs\`. Do not edit.
 */
${imports(found, '.')}
export const commands = {
${entries(found)}} as const
`
}

/**
 * Returns the source of the table of all server commands, which are the exports of a type
 * `Command<…>`.
 */
function buildServerCommands() {
  const found = findExports(
    'packages/server/src/commands',
    /^export const (?<identifier>\w+): Command<'(?<name>[\w-]+)'>/gm,
  )
  return `/**
 * Maps every command to its cost and its handler. Socket.IO and REST both dispatch through this
 * table, and its type makes it complete. Generated from the files in commands/ by \`npm run docs\`.
 * Do not edit.
 */
import type { CommandTable } from '../commands/command.ts'
${imports(found, '../commands')}
export const commandTable: CommandTable = {
${entries(found)}}
`
}

/**
 * Returns the source of the file with the version number of the SQL functions. The number grows
 * whenever the checksum of the functions changes.
 */
export function buildFunctionSet() {
  const path = 'packages/server/src/database/function-set.ts'
  const folder = 'packages/server/src/database/functions'
  const hash = createHash('sha256')
  for (const name of readdirSync(join(root, folder)).sort()) hash.update(`${name}\n${read(`${folder}/${name}`)}\n`)
  const checksum = hash.digest('hex').slice(0, 16)
  const known = existsSync(join(root, path)) ? read(path) : ''
  const number = Number(/number: (\d+)/.exec(known)?.[1] ?? 0)
  return [
    path,
    `/**
 * Number and checksum of the SQL functions. The number grows with each change of a function.
 * Generated from functions/ by \`npm run docs\`. Do not edit.
 */
export const functionSet = { number: ${known.includes(`'${checksum}'`) ? number : number + 1}, checksum: '${checksum}' } as const
`,
  ]
}

/** Returns the tables of commands, each as the path and the text of its file. */
export function buildTables() {
  return [
    ['packages/protocol/src/commands/commands.ts', buildProtocolCommands()],
    ['packages/server/src/dispatch/command-table.ts', buildServerCommands()],
  ]
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const [path, text] of buildTables()) writeFileSync(join(root, path), text)
