/**
 * The npm packages as they are published. The package of the server, unpacked into an empty folder
 * with its dependencies, must serve the web application and the API.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LogLines, makeTempDir, removeTempDir, spawnTracked, whenExited } from '@chorus/testkit'
import { afterAll, beforeAll, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = makeTempDir('packages')
const modules = join(folder, 'node_modules')

interface Manifest {
  readonly name: string
  readonly dependencies?: Readonly<Record<string, string>>
}

/**
 * Packs a package of the workspace and unpacks it into node_modules. Returns the names of its
 * files.
 */
function install(name: string): string[] {
  const tarball = execFileSync('npm', ['pack', '--silent', '--pack-destination', folder, '-w', `@chorus/${name}`], {
    cwd: root,
    encoding: 'utf8',
  }).trim()
  const target = join(modules, '@chorus', name)
  mkdirSync(target, { recursive: true })
  execFileSync('tar', ['-xzf', join(folder, tarball), '-C', target, '--strip-components=1'])
  return readdirSync(target, { recursive: true, encoding: 'utf8' })
}

/**
 * Links all dependencies from other sources than the workspace, so that the test needs no network.
 */
function linkDependencies(name: string): void {
  const manifest = JSON.parse(readFileSync(join(modules, '@chorus', name, 'package.json'), 'utf8')) as Manifest
  for (const dependency of Object.keys(manifest.dependencies ?? {})) {
    if (dependency.startsWith('@chorus/')) continue
    const path = join(modules, dependency)
    if (existsSync(path)) continue
    mkdirSync(dirname(path), { recursive: true })
    const nested = join(root, 'packages', name, 'node_modules', dependency)
    symlinkSync(existsSync(nested) ? nested : join(root, 'node_modules', dependency), path)
  }
}

const files = new Map<string, string[]>()

beforeAll(() => {
  for (const name of ['protocol', 'client', 'react', 'server']) files.set(name, install(name))
}, 120_000)

afterAll(() => removeTempDir(folder))

it.each(['protocol', 'client', 'react', 'server'])(
  'the published package %s has a README, but no tests and no fixtures',
  (name) => {
    const packed = files.get(name) ?? []
    expect(packed).toContain('README.md')
    expect(packed).toContain('package.json')
    expect(packed.filter((path) => /[.](test|suite)[.]tsx?$|(^|\/)testing(\/|$)/.test(path))).toEqual([])
  },
)

it('the published server serves the web page and the API from an empty folder', async () => {
  linkDependencies('protocol')
  linkDependencies('server')
  const command = join(modules, '@chorus/server/bin/chorus.js')
  const logs = new LogLines()
  const child = spawnTracked(process.execPath, [command], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: '0', DATA_DIR: join(folder, 'data') },
  })
  try {
    for (const stream of [child.stdout, child.stderr]) if (stream) logs.follow(stream)
    const [, url] = await logs.waitFor(/listening on (http:\/\/[^\s"]+)/, child, 60_000)
    const page = await fetch(new URL('/', url))
    expect(page.status).toBe(200)
    const html = await page.text()
    const [, script] = /<script[^>]+src="([^"]+)"/.exec(html) ?? []
    expect(script).toBeDefined()
    expect((await fetch(new URL(script!, url))).status).toBe(200)
    expect((await fetch(new URL('/v1/session', url))).status).toBe(401)
  } finally {
    child.kill('SIGTERM')
    expect(await whenExited(child)).toEqual({ code: 0, signal: null })
  }
})
