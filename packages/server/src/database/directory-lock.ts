/**
 * Locks a data directory for one server. The embedded engine takes no lock of its own: when two
 * processes used one directory, they silently lost thousands of rows.
 *
 * The lock is a listening Unix socket in the directory, because the kernel closes it when its
 * process ends. A pid proves nothing: in two containers both servers are process 1. A socket in the
 * file system can be reached from every PID and network namespace that mounts the directory.
 *
 * The file `lock.N` with the highest N names the valid socket. To take over from a dead holder of
 * `lock.N`, a process listens on a socket with a new name. Then it creates `lock.N+1`, which names
 * the socket, by hard link; only one process can succeed. Then it reads the directory again and
 * gives up its lock if a higher number has appeared. So a socket is never removed while its holder
 * runs, and a visible `lock.N` has a listening socket. Holders never remove their own files, only
 * lower ones, so N never goes back.
 *
 * The file also contains the holder's pid, the machine's boot id and the process' start time. They
 * are used when there is no socket: with servers of an earlier version, and on file systems without
 * sockets. Then a holder counts as dead in these cases: its pid is gone or a zombie, the boot id or
 * start time differs, or the pid is our own (a restarted container gets the same pid).
 */
import { randomBytes, randomUUID } from 'node:crypto'
import {
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StartError } from '../support/start-error.ts'

interface Holder {
  readonly pid: number
  readonly bootId: string
  readonly startTime: string
  /**
   * Name of the lock's socket in the directory, or of a pipe on Windows. Undefined if the lock has
   * none.
   */
  readonly socket: string | undefined
}

export interface DirectoryLock {
  /**
   * Passes each later connection on the lock's socket to the handler. Without a handler, the lock
   * closes such connections. Only processes of the same user and of root can connect.
   */
  serve(handler: (socket: Socket) => void): void
  release(): void
}

/**
 * Directories locked by this process. Needed because a lock file with our own pid counts as one of
 * a dead process.
 */
const heldHere = new Set<string>()

const attemptsMax = 10

/**
 * Maximum length of a socket's path: `sun_path` has 104 bytes on macOS and 108 on Linux, including
 * a zero byte at the end.
 */
const socketPathMaxBytes = 103

/**
 * Time limit for testing whether a process listens on a socket. A holder that accepts no connection
 * within it is busy but alive: the kernel refuses a connection to a dead holder at once.
 */
const connectTimeoutMs = 2_000

/**
 * Age at which sockets are removed that do not listen and never became a lock. A younger socket may
 * be about to listen.
 */
const draftKeptMs = 3_600_000

/**
 * Takes the lock of the directory. Throws a `StartError` that names the holder, or the reason why
 * the directory cannot be used.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  try {
    return await takeLock(directory)
  } catch (error) {
    if (error instanceof StartError) throw error
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new StartError(
      `unable to open the data directory ${directory}; it is not a writable folder (${code}): set another DATA_DIR`,
      { cause: error },
    )
  }
}

async function takeLock(directory: string): Promise<DirectoryLock> {
  mkdirSync(directory, { recursive: true })
  const path = realpathSync(directory)
  if (heldHere.has(path)) throw refusal(directory, process.pid)
  // Register before the first await, so that a second call in this process is refused at once.
  heldHere.add(path)
  let listener: Listener | undefined
  try {
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const generation = highestGeneration(path)
      if (generation > 0) {
        const holder = readHolder(path, generation)
        if (holder !== undefined && (await isAlive(path, holder))) throw refusal(directory, holder.pid)
      }
      listener ??= await listen(path)
      if (!createGeneration(path, generation + 1, listener?.name)) continue
      if (highestGeneration(path) > generation + 1) {
        // Another process that holds a higher lock file may have removed this file already.
        unlinkIfThere(fileOf(path, generation + 1))
        continue
      }
      await removeRemains(path, generation + 1, listener?.name)
      const taken = listener
      return {
        serve: (handler) => taken?.serve(handler),
        release: () => {
          releaseGeneration(path, generation + 1)
          taken?.close()
        },
      }
    }
    throw new StartError(
      `unable to open the data directory ${directory}; several servers are trying to lock it at once`,
    )
  } catch (error) {
    listener?.close()
    heldHere.delete(path)
    throw error
  }
}

interface Listener {
  readonly name: string
  serve(handler: (socket: Socket) => void): void
  close(): void
}

/** Listens on a socket with a new name. Returns undefined if the file system has no sockets. */
async function listen(path: string): Promise<Listener | undefined> {
  const name = `lock-${randomBytes(8).toString('hex')}.sock`
  let onConnection = (socket: Socket): void => void socket.destroy()
  const server = createServer((socket) => onConnection(socket))
  try {
    await withSocketPath(path, name, (address) => listenAt(server, address))
  } catch (error) {
    server.close()
    unlinkIfThere(join(path, name))
    // A directory that is not writable is a real error: creating a lock file would fail the same
    // way.
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'EACCES' || code === 'EROFS' || code === 'ENOSPC' || code === 'ENOENT') throw error
    return undefined
  }
  // The listening socket must not keep the process running.
  server.unref()
  return {
    name,
    serve: (handler) => {
      onConnection = handler
    },
    close: () => {
      server.close()
      unlinkIfThere(join(path, name))
    },
  }
}

function listenAt(server: Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    // `listen` creates the socket in this turn. It must never be open to other users, so the mode
    // cannot be set afterwards.
    const mask = process.platform === 'win32' ? undefined : process.umask(0o177)
    server.listen(address, () => {
      server.off('error', reject)
      server.on('error', () => undefined)
      resolve()
    })
    if (mask !== undefined) process.umask(mask)
  })
}

/**
 * Calls `use` with a socket path that is short enough for the kernel, however deep the directory
 * is.
 */
async function withSocketPath<T>(directory: string, name: string, use: (address: string) => Promise<T>): Promise<T> {
  if (process.platform === 'win32') return use(`\\\\.\\pipe\\chorus-${name}`)
  const plain = join(directory, name)
  if (Buffer.byteLength(plain) <= socketPathMaxBytes) return use(plain)
  if (existsSync('/proc/self/fd')) {
    const descriptor = openSync(directory, 'r')
    try {
      return await use(`/proc/self/fd/${descriptor}/${name}`)
    } finally {
      closeSync(descriptor)
    }
  }
  const folder = mkdtempSync(join(tmpdir(), 'chorus-'))
  try {
    symlinkSync(directory, join(folder, 'd'))
    return await use(join(folder, 'd', name))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Connects to the process that holds the lock. Returns undefined if no process holds it, or if its
 * lock has no socket.
 */
export async function connectToHolder(directory: string): Promise<Socket | undefined> {
  if (!existsSync(directory)) return undefined
  const path = realpathSync(directory)
  const socketName = readHolder(path, highestGeneration(path))?.socket
  if (socketName === undefined) return undefined
  return withSocketPath(path, socketName, (address) => {
    return new Promise<Socket | undefined>((resolve) => {
      const socket = connect(address, () => resolve(socket))
      socket.once('error', () => resolve(undefined))
    })
  })
}

/**
 * Tests whether a process listens on the socket. The kernel answers, so a busy or suspended process
 * counts, too.
 */
async function isListening(directory: string, name: string): Promise<'yes' | 'no' | 'no socket'> {
  return withSocketPath(directory, name, (address) => {
    const socket = connect(address)
    const answer = new Promise<'yes' | 'no' | 'no socket'>((resolve) => {
      socket.once('connect', () => resolve('yes'))
      socket.once('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ECONNREFUSED' || error.code === 'ENOTSOCK') resolve('no')
        else if (error.code === 'ENOENT') resolve('no socket')
        // Treat the directory as in use after any other error, for example if the queue of the
        // socket is full or the socket belongs to another user.
        else resolve('yes')
      })
      socket.setTimeout(connectTimeoutMs, () => resolve('yes'))
    })
    return answer.finally(() => {
      socket.on('error', () => undefined)
      socket.destroy()
    })
  })
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

function createGeneration(path: string, generation: number, socket: string | undefined): boolean {
  const draft = join(path, `lock-draft-${randomUUID()}`)
  const self = describeProcess(process.pid) ?? { pid: process.pid, bootId: '', startTime: '' }
  writeFileSync(draft, JSON.stringify({ ...self, socket }))
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

/** Removes lower lock files with their sockets, and old sockets that never became a lock. */
async function removeRemains(path: string, generation: number, own: string | undefined): Promise<void> {
  for (const lower of generationsIn(path)) {
    if (lower >= generation) continue
    const socket = readHolder(path, lower)?.socket
    unlinkIfThere(fileOf(path, lower))
    if (socket !== undefined && socket !== own) unlinkIfThere(join(path, socket))
  }
  for (const name of readdirSync(path)) {
    if (!isSocketName(name) || name === own) continue
    const isOld = Date.now() - (statSync(join(path, name), { throwIfNoEntry: false })?.mtimeMs ?? 0) > draftKeptMs
    if (isOld && (await isListening(path, name)) === 'no') unlinkIfThere(join(path, name))
  }
}

const isSocketName = (name: string): boolean => /^lock-[0-9a-f]{16}\.sock$/.test(name)

function unlinkIfThere(file: string): void {
  try {
    unlinkSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

function releaseGeneration(path: string, generation: number): void {
  // Overwrite the lock file instead of removing it: the highest number must never go back.
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
      socket: typeof parsed.socket === 'string' && isSocketName(parsed.socket) ? parsed.socket : undefined,
    }
  } catch {
    return undefined
  }
}

async function isAlive(path: string, holder: Holder): Promise<boolean> {
  if (holder.socket === undefined) return isProcessAlive(holder)
  switch (await isListening(path, holder.socket)) {
    case 'yes':
      return true
    case 'no':
      return false
    case 'no socket':
      // The socket file was removed, but the process of the holder may still run.
      return holder.bootId !== '' && isProcessAlive(holder)
  }
}

function isProcessAlive(holder: Holder): boolean {
  if (holder.pid <= 0 || holder.pid === process.pid) return false
  const now = describeProcess(holder.pid)
  if (now === undefined) return false
  return now.bootId === holder.bootId && now.startTime === holder.startTime
}

/**
 * Returns data that distinguishes this process from a later one with the same pid. Returns
 * undefined if the process is gone or a zombie.
 */
function describeProcess(pid: number): Omit<Holder, 'socket'> | undefined {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined
  }
  let stat: string
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    // This system has no /proc, so only the pid can be compared.
    return { pid, bootId: '', startTime: '' }
  }
  // The command name may contain blanks and brackets, so count fields after the last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state] = fields
  if (state === 'Z' || state === 'X') return undefined
  return { pid, bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), startTime: fields[19] ?? '' }
}
