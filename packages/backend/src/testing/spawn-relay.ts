/** Starts {@link ./relay-process.ts} as a process, bundled from the sources that the test sees. */
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { LogLines, spawnTracked, whenExited } from '@chorus/testkit'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('../../../../', import.meta.url))

export interface RelayProcess {
  kill9(): Promise<void>
  /** Freezes the process: its connections stay open. */
  pause(): void
  resume(): void
}

export interface RelaySettings {
  readonly databaseUrl: string
  readonly chorusUrl: string
  readonly secret: string
  readonly timeoutMs: number
}

/** Bundles the relay once. The file lies below the root, where Node finds `pg`. */
export async function bundleRelay(): Promise<string> {
  const file = `${root}node_modules/.cache/chorus-backend/relay-${process.pid}.mjs`
  const bundle = await rolldown({
    input: fileURLToPath(new URL('./relay-process.ts', import.meta.url)),
    external: ['pg'],
    platform: 'node',
    resolve: { conditionNames: ['source', 'import', 'node', 'default'] },
    logLevel: 'silent',
  })
  await bundle.write({ file, format: 'esm' })
  await bundle.close()
  return file
}

export async function spawnRelay(file: string, settings: RelaySettings): Promise<RelayProcess> {
  const logs = new LogLines()
  const child: ChildProcess = spawnTracked(process.execPath, [file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      DATABASE_URL: settings.databaseUrl,
      CHORUS_URL: settings.chorusUrl,
      CHORUS_SECRET: settings.secret,
      TIMEOUT_MS: String(settings.timeoutMs),
    },
  })
  for (const stream of [child.stdout, child.stderr]) if (stream) logs.follow(stream)
  await logs.waitFor(/relay started/, child, 60_000)
  return {
    async kill9() {
      child.kill('SIGKILL')
      await whenExited(child)
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
  }
}
