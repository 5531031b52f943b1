/**
 * Adds to package-lock.json the optional packages of other platforms that `npm install` left out.
 * Background: npm writes only packages that it could fetch or that are installed. `npm ci` then
 * refuses the lockfile on every machine. Run this script after `npm install` changed a dependency
 * that has a package for each platform; it changes nothing else. `--check` reports missing packages
 * without writing.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const path = join(dirname(dirname(fileURLToPath(import.meta.url))), 'package-lock.json')
const lock = JSON.parse(readFileSync(path, 'utf8'))
const platform =
  /-(android|darwin|freebsd|linux|openharmony|win32)-([a-z0-9]+)(?:-(gnu|musl|eabi|gnueabihf|musleabihf|msvc))?$/

let added = 0
for (const [key, entry] of Object.entries({ ...lock.packages })) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!/^\d+\.\d+\.\d+$/.test(version)) continue
    if (lock.packages[`node_modules/${name}`] ?? lock.packages[`${key}/node_modules/${name}`]) continue
    const [, os, cpu, abi] = platform.exec(name) ?? []
    if (os === undefined) continue
    lock.packages[`node_modules/${name}`] = {
      version,
      cpu: [cpu],
      ...(entry.dev && { dev: true }),
      ...(os === 'linux' && abi !== undefined && { libc: [abi.startsWith('musl') ? 'musl' : 'glibc'] }),
      optional: true,
      os: [os],
    }
    added += 1
  }
}
if (added > 0 && process.argv.includes('--check')) {
  console.error(`package-lock.json lacks ${added} packages of other platforms; run node scripts/complete-lockfile.mjs`)
  process.exit(1)
}
if (added > 0) {
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`)
}
console.log(`${added} entries added`)
