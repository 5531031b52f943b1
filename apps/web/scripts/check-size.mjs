/**
 * Fails if the scripts of the first page load, compressed, exceed their budget. Counts the entry
 * script, its imports, and the chunks that every first screen loads. Takes this list from the
 * manifest of the build, so it also counts new imports of the entry script. Run it after
 * `vite build`.
 */
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const budgetBytes = 150_000
/**
 * Patterns of chunks that are imported on demand but counted, because every first screen loads
 * them: the transport (packages/client/src/connection/transport-socket-io.ts).
 */
const alwaysLoaded = [/\/socket\.io-client\//]

const dist = new URL('../../../packages/server/dist/web/', import.meta.url)
const manifest = readManifest()
const entries = Object.keys(manifest).filter((key) => manifest[key].isEntry === true)
if (entries.length === 0) fail('unable to measure the first load; the manifest names no entry')

const counted = new Set()
for (const entry of entries) count(entry)

const sizes = [...counted]
  .map((key) => manifest[key].file)
  .filter((file) => file.endsWith('.js'))
  .map((file) => ({ file, bytes: gzipSync(readFileSync(new URL(file, dist)), { level: 9 }).length }))
  .sort((a, b) => b.bytes - a.bytes)
const total = sizes.reduce((sum, { bytes }) => sum + bytes, 0)

for (const { file, bytes } of sizes) print(file, bytes)
print('first load (gzip)', total)
print('budget', budgetBytes)
if (![...counted].some((key) => alwaysLoaded.some((pattern) => pattern.test(`/${key}`)))) {
  fail(
    'unable to measure the first load; the transport is not among the chunks, so its name in this script is out of date',
  )
}
if (total > budgetBytes)
  fail(`unable to accept the build; the first load is ${total - budgetBytes} bytes over its budget`)

function count(key) {
  if (counted.has(key)) return
  counted.add(key)
  const chunk = manifest[key]
  for (const imported of chunk.imports ?? []) count(imported)
  for (const imported of chunk.dynamicImports ?? []) {
    if (alwaysLoaded.some((pattern) => pattern.test(`/${imported}`))) count(imported)
  }
}

function readManifest() {
  try {
    return JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'))
  } catch {
    return fail('unable to measure the first load; there is no build in packages/server/dist/web')
  }
}

function print(name, bytes) {
  console.log(`${name.padEnd(44)} ${(bytes / 1000).toFixed(1).padStart(7)} kB`)
}

function fail(message) {
  console.error(message)
  process.exit(1)
}
