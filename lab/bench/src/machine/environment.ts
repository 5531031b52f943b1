/**
 * Describes the environment of a measurement: commit, machine and versions. A figure is worth
 * nothing without them.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, loadavg, release, totalmem, type } from 'node:os'

export interface Environment {
  readonly commit: string
  /**
   * Number of source files that differ from the commit. If it is not 0, the figures do not belong
   * to that commit alone.
   */
  readonly changedFiles: number
  readonly at: string
  readonly machine: {
    readonly cpu: string
    readonly cores: number
    readonly memoryGb: number
    readonly system: string
    /**
     * Load average of the machine in the minute before the run. If it is above about 0.1, other
     * processes influence the figures.
     */
    readonly loadBefore: number
  }
  readonly versions: Readonly<Record<string, string>>
}

export function describeEnvironment(root: string, extraVersions: Readonly<Record<string, string>> = {}): Environment {
  const require = createRequire(import.meta.url)
  const versionOf = (path: string): string =>
    (JSON.parse(readFileSync(require.resolve(path), 'utf8')) as { version: string }).version
  return {
    commit: git(root, 'rev-parse', '--short=12', 'HEAD') ?? 'unknown',
    changedFiles: (git(root, 'status', '--porcelain') ?? '').split('\n').filter((line) => line !== '').length,
    at: new Date().toISOString(),
    machine: {
      cpu: cpus()[0]?.model ?? 'unknown',
      cores: cpus().length,
      memoryGb: Math.round(totalmem() / 1024 ** 3),
      system: `${type()} ${release()}`,
      loadBefore: Math.round((loadavg()[0] ?? 0) * 100) / 100,
    },
    versions: {
      node: process.versions.node,
      'socket.io': versionOf('socket.io/package.json'),
      pg: versionOf('pg/package.json'),
      ...extraVersions,
    },
  }
}

function git(root: string, ...args: string[]): string | undefined {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trimEnd()
  } catch {
    return undefined // The source folder is a copy without git data.
  }
}
