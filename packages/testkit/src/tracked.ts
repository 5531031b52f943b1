/**
 * Tracks every process and folder that the testkit creates. Guarantee: they are ended by pid and
 * removed by path when this process exits, or by the reaper process (reaper.mjs) when this process
 * could not do it (SIGKILL, crash). Child processes stay in this process's group, so ending the
 * group ends them too.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

const children = new Set<ChildProcess>()
const folders = new Set<string>()
let reaper: Writable | undefined

function tellReaper(line: string): void {
  reaper ??= startReaper()
  reaper.write(`${line}\n`)
}

function startReaper(): Writable {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../reaper.mjs', import.meta.url))], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // The reaper runs in a process group of its own, because it must survive when the process group
    // of the test run is killed.
    detached: true,
    cwd: '/',
  })
  child.unref()
  child.stdin.on('error', () => undefined)
  const input: Writable & { unref?(): void } = child.stdin
  input.unref?.() // The open pipe to the reaper must not keep this process running.
  process.once('exit', endEverything)
  return input
}

function endEverything(): void {
  for (const child of children) child.kill('SIGKILL')
  for (const folder of folders) {
    try {
      rmSync(folder, { recursive: true, force: true })
    } catch {
      // The removal failed: a process that is ending may still write to the folder. The reaper
      // removes it later.
    }
  }
}

function startTimeOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
}

/** Starts a child process that cannot outlive this process. */
export function spawnTracked(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = spawn(command, args, options)
  const { pid } = child
  if (pid === undefined) return child // The child's error event reports why it did not start.
  children.add(child)
  tellReaper(`+pid ${pid} ${startTimeOf(pid)}`)
  child.once('exit', () => {
    children.delete(child)
    tellReaper(`-pid ${pid}`)
  })
  return child
}

/** Creates a temporary folder that is removed when this process ends. */
export function makeTempDir(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), `chorus-${name}-`))
  folders.add(folder)
  tellReaper(`+dir ${folder}`)
  return folder
}

/** Removes a folder made by {@link makeTempDir} before this process ends. */
export function removeTempDir(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  folders.delete(folder)
  tellReaper(`-dir ${folder}`)
}

/** Resolves when the process has ended. */
export function whenExited(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode })
  }
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
}
