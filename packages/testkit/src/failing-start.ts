/** Starts a server whose start is expected to fail. Returns its output and exit status. */
import { fileURLToPath } from 'node:url'
import { makeTempDir, removeTempDir, spawnTracked, whenExited } from './tracked.ts'

const endWithinMs = 30_000

export interface FailedStart {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** Lines of the error output, without the empty last line. */
  readonly stderr: readonly string[]
  readonly stdout: readonly string[]
}

export async function runFailingServer(
  env: Readonly<Record<string, string>>,
  timeoutMs = endWithinMs,
): Promise<FailedStart> {
  const main = fileURLToPath(new URL('../../server/dist/main.js', import.meta.url))
  const ownDir = makeTempDir('failing')
  const child = spawnTracked(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NODE_ENV: 'test',
      HOST: '127.0.0.1',
      PORT: '0',
      DATA_DIR: ownDir,
      ...env,
    },
  })
  const output = { stdout: '', stderr: '' }
  child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString('utf8')))
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString('utf8')))
  const closed = new Promise((resolve) => child.once('close', resolve))
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  const { code, signal } = await whenExited(child)
  await closed
  clearTimeout(timer)
  removeTempDir(ownDir)
  const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '')
  return { code, signal, stderr: linesOf(output.stderr), stdout: linesOf(output.stdout) }
}
