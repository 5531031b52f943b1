/**
 * One server per data directory. The embedded engine takes no lock of its own, and two processes on one directory
 * silently lost thousands of rows, so this lock is what makes the embedded database safe.
 *
 * The lock is the file `lock.N` with the highest N; it names the holder's pid, the machine's boot id and the process'
 * start time. To take over from a dead holder of `lock.N` a process creates `lock.N+1` by hard link, which only one can;
 * then it looks again, and backs off if a higher one has appeared. Files are never removed by their holder, only lower
 * ones by a later holder, so N never goes back. A holder counts as dead when its pid is gone, a zombie, of another boot
 * or start time, or our own pid (a container restarts with the same one).
 */
import { randomUUID } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, readFileSync, realpathSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StartError } from '../support/start-error.ts'

interface Holder {
  readonly pid: number
  readonly bootId: string
  readonly startTime: string
}

export interface DirectoryLock {
  release(): void
}

/** Held by this process: our own pid counts as dead on disk, so this is what refuses a second opening here. */
const heldHere = new Set<string>()

const attemptsMax = 10

/** Takes the lock or throws a `StartError` that names the holder, or why the folder cannot be used. */
export function lockDirectory(directory: string): DirectoryLock {
  try {
    return takeLock(directory)
  } catch (error) {
    if (error instanceof StartError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new StartError(
      `unable to open the data directory ${directory}; it is no folder that can be written (${code}): set another DATA_DIR`,
      { cause: error },
    )
  }
}

function takeLock(directory: string): DirectoryLock {
  mkdirSync(directory, { recursive: true })
  const path = realpathSync(directory)
  if (heldHere.has(path)) throw refusal(directory, process.pid)

  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const generation = highestGeneration(path)
    if (generation > 0) {
      const holder = readHolder(path, generation)
      if (holder !== undefined && isAlive(holder)) throw refusal(directory, holder.pid)
    }
    if (!createGeneration(path, generation + 1)) continue
    if (highestGeneration(path) > generation + 1) {
      // The holder of the higher one may have cleared it away by now.
      unlinkIfThere(fileOf(path, generation + 1))
      continue
    }
    removeBelow(path, generation + 1)
    heldHere.add(path)
    return { release: () => releaseGeneration(path, generation + 1) }
  }
  throw new StartError(`unable to open the data directory ${directory}; several servers are trying to take it at once`)
}

function refusal(directory: string, pid: number): StartError {
  return new StartError(
    `unable to open the data directory ${directory}; the server with pid ${pid} is using it: stop it or set another DATA_DIR`,
  )
}

function fileOf(path: string, generation: number): string {
  return join(path, `lock.${generation}`)
}

function generationsIn(path: string): number[] {
  return readdirSync(path)
    .map((name) => /^lock\.(\d+)$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
}

function highestGeneration(path: string): number {
  return Math.max(0, ...generationsIn(path))
}

function createGeneration(path: string, generation: number): boolean {
  const draft = join(path, `lock-draft-${randomUUID()}`)
  writeFileSync(draft, JSON.stringify(describeProcess(process.pid) ?? { pid: process.pid, bootId: '', startTime: '' }))
  try {
    linkSync(draft, fileOf(path, generation))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  } finally {
    unlinkSync(draft)
  }
}

function removeBelow(path: string, generation: number): void {
  for (const lower of generationsIn(path)) {
    if (lower >= generation) continue
    unlinkIfThere(fileOf(path, lower))
  }
}

function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function releaseGeneration(path: string, generation: number): void {
  // Marked as nobody's rather than removed: the highest number must never go back.
  writeFileSync(fileOf(path, generation), JSON.stringify({ pid: 0, bootId: '', startTime: '' }))
  heldHere.delete(path)
}

function readHolder(path: string, generation: number): Holder | undefined {
  try {
    const parsed = JSON.parse(readFileSync(fileOf(path, generation), 'utf8')) as Partial<Holder>
    return {
      pid: Number(parsed.pid ?? 0),
      bootId: String(parsed.bootId ?? ''),
      startTime: String(parsed.startTime ?? ''),
    }
  } catch {
    return undefined
  }
}

function isAlive(holder: Holder): boolean {
  if (holder.pid <= 0 || holder.pid === process.pid) return false
  const now = describeProcess(holder.pid)
  if (now === undefined) return false
  return now.bootId === holder.bootId && now.startTime === holder.startTime
}

/** What tells this process from a later one with the same pid; undefined when it is gone or a zombie. */
function describeProcess(pid: number): Holder | undefined {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined
  }
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    // No /proc: the pid alone has to do.
    return { pid, bootId: '', startTime: '' }
  }
  // The command's name may contain blanks and brackets: fields are counted after the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state] = fields
  if (state === 'Z' || state === 'X') return undefined
  return { pid, bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), startTime: fields[19] ?? '' }
}
