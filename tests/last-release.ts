/**
 * Prepares the last release, so that tests can run its server and its SDK together with the present ones.
 * Reads the sources of the release's commit from the repository and transpiles them without a check
 * of types. The release uses the installed npm packages.
 *
 * Guarantee: tests that start at the same time may prepare the same release, because the folder
 * gets its name only when it is complete.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const root = fileURLToPath(new URL('../', import.meta.url))
const kept = join(root, '.setup/releases')
const packages = ['protocol', 'server', 'client'] as const
const archiveMaxBytes = 256 * 1024 * 1024

interface Release {
  readonly version: string
  readonly commit: string
}

export interface PreparedRelease {
  readonly version: string
  /** Main file of the server, for `startServer`. */
  readonly serverMain: string
  /** Entry of the SDK. */
  readonly client: string
}

function readLastRelease(): Release | undefined {
  const releases = JSON.parse(readFileSync(join(root, 'releases.json'), 'utf8')) as readonly Release[]
  return releases.at(-1)
}

/** Returns whether the repository contains the commit of the last release. A copy without git does not. */
export function hasLastRelease(): boolean {
  const release = readLastRelease()
  if (release === undefined) return false
  try {
    execFileSync('git', ['cat-file', '-e', `${release.commit}^{commit}`], { cwd: root, stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Prepares the last release, unless an earlier test has done so. */
export function prepareLastRelease(): PreparedRelease {
  const release = readLastRelease()
  if (release === undefined) throw new Error('unable to prepare the last release; releases.json is empty')
  const folder = join(kept, `${release.version}-${release.commit.slice(0, 12)}`)
  if (!existsSync(folder)) build(release, folder)
  return {
    version: release.version,
    serverMain: join(folder, 'packages/server/dist/main.js'),
    client: join(folder, 'packages/client/dist/index.js'),
  }
}

function build({ commit }: Release, folder: string): void {
  mkdirSync(kept, { recursive: true })
  const unfinished = mkdtempSync(join(kept, 'unfinished-'))
  try {
    const paths = ['package.json', 'tsconfig.base.json', ...packages.map((name) => `packages/${name}`)]
    const input = execFileSync('git', ['archive', commit, ...paths], { cwd: root, maxBuffer: archiveMaxBytes })
    execFileSync('tar', ['-x', '-C', unfinished], { input })
    for (const name of packages) transpile(join(unfinished, 'packages', name))
    linkPackages(unfinished)
    renameSync(unfinished, folder)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    if (!existsSync(folder)) throw error
  }
}

/** Writes `dist` of a package, as its build would. */
function transpile(folder: string): void {
  const config = ts.readConfigFile(join(folder, '../../tsconfig.base.json'), (path) => readFileSync(path, 'utf8'))
  const { compilerOptions } = config.config as { readonly compilerOptions: object }
  const { options } = ts.convertCompilerOptionsFromJson(compilerOptions, folder)
  const { ESNext } = ts.ModuleKind
  for (const path of readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts') || /[.](?:test|suite)[.]ts$/.test(path)) continue
    const { outputText } = ts.transpileModule(readFileSync(join(folder, 'src', path), 'utf8'), {
      fileName: path,
      compilerOptions: { ...options, module: ESNext, sourceMap: false },
    })
    const file = join(folder, 'dist', path.replace(/[.]ts$/, '.js'))
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, outputText)
  }
}

/** Links the installed npm packages, and the release's own packages. */
function linkPackages(folder: string): void {
  const installed = join(root, 'node_modules')
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, '@chorus'), { recursive: true })
  for (const name of readdirSync(installed))
    if (name !== '@chorus' && !name.startsWith('.')) symlinkSync(join(installed, name), join(modules, name))
  for (const name of packages) symlinkSync(join('../../packages', name), join(modules, '@chorus', name))
}
