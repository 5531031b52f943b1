/**
 * Simulates faults of publishes to Redis, on a connection from a server to Redis. Reads the
 * commands of the Redis protocol as they pass, and makes each PUBLISH or SPUBLISH lost, late,
 * doubled or reordered. In place of a dropped publish it sends an empty one to another channel, so
 * the publisher gets its usual response and notices nothing. Late and doubled publishes are sent
 * over a separate connection.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { Tap } from './fault-proxy.ts'

/**
 * Shares (from 0 to 1) of the publishes that each fault affects. All other publishes pass
 * unchanged.
 */
export interface PublishRule {
  readonly lostShare?: number
  readonly doubledShare?: number
  /** Share of publishes that arrive up to `lateMs` late, and so after later publishes. */
  readonly lateShare?: number
  readonly lateMs?: number
}

/** Maximum length of a command that is parsed. A longer command passes unchanged. */
const commandMaxBytes = 8 * 1024 * 1024
/**
 * Maximum number of delayed publishes. When it is reached, publishes that would be late are lost.
 */
const waitingMax = 20_000

const nothing = Buffer.from('*3\r\n$7\r\nPUBLISH\r\n$11\r\nchorus:lost\r\n$0\r\n\r\n')

/**
 * Splits a stream of the Redis protocol into whole commands (arrays of bulk strings). Other data
 * passes unchanged.
 */
class CommandReader {
  #rest: Buffer = Buffer.alloc(0)

  read(data: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data])
    const commands: Buffer[] = []
    for (;;) {
      const length = commandLength(this.#rest)
      if (length === undefined) {
        if (this.#rest.length <= commandMaxBytes) return commands
        commands.push(this.#rest)
        this.#rest = Buffer.alloc(0)
        return commands
      }
      commands.push(this.#rest.subarray(0, length))
      this.#rest = this.#rest.subarray(length)
    }
  }
}

/** Returns the length in bytes of the first command; undefined while it is incomplete. */
function commandLength(bytes: Buffer): number | undefined {
  if (bytes.length === 0) return undefined
  let at = bytes.indexOf('\r\n')
  if (at < 0) return undefined
  if (bytes[0] !== 0x2a) return at + 2
  const count = Number(bytes.toString('latin1', 1, at))
  at += 2
  for (let index = 0; index < count; index += 1) {
    const end = bytes.indexOf('\r\n', at)
    if (end < 0) return undefined
    at = end + 2 + Number(bytes.toString('latin1', at + 1, end)) + 2
    if (at > bytes.length) return undefined
  }
  return at
}

function isPublish(command: Buffer): boolean {
  const name = command.toString('latin1', 0, 32).split('\r\n')[2]?.toUpperCase()
  return name === 'SPUBLISH' || name === 'PUBLISH'
}

export class PublishFaults {
  readonly #targetPort: () => number
  readonly #random: () => number
  readonly #timers = new Set<NodeJS.Timeout>()
  #rule: PublishRule = {}
  #injector: Socket | undefined
  lostCount = 0
  doubledCount = 0
  lateCount = 0

  constructor(targetPort: () => number, random: () => number) {
    this.#targetPort = targetPort
    this.#random = random
  }

  set rule(rule: PublishRule) {
    this.#rule = rule
  }

  /**
   * Creates the tap for one connection of the fault proxy. It inspects and changes the data that
   * passes.
   */
  readonly tap = (): Tap => {
    const reader = new CommandReader()
    return {
      forward: (data) => Buffer.concat(reader.read(data).map((command) => this.#pass(command))),
    }
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    this.#injector?.destroy()
    this.#injector = undefined
  }

  #pass(command: Buffer): Buffer {
    const { lostShare = 0, doubledShare = 0, lateShare = 0, lateMs = 0 } = this.#rule
    if ((lostShare === 0 && doubledShare === 0 && lateShare === 0) || !isPublish(command)) return command
    const chance = this.#random()
    if (chance < lostShare) {
      this.lostCount += 1
      return nothing
    }
    if (chance < lostShare + doubledShare) {
      this.doubledCount += 1
      this.#injectLater(command, this.#random() * 200)
      return command
    }
    if (chance < lostShare + doubledShare + lateShare) {
      this.lateCount += 1
      this.#injectLater(command, this.#random() * lateMs)
      return nothing
    }
    return command
  }

  #injectLater(command: Buffer, delayMs: number): void {
    if (this.#timers.size >= waitingMax) {
      this.lostCount += 1
      return
    }
    const copy = Buffer.from(command)
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#connected().write(copy)
    }, delayMs)
    this.#timers.add(timer)
  }

  #connected(): Socket {
    if (this.#injector !== undefined && !this.#injector.destroyed) return this.#injector
    const socket = connect(this.#targetPort(), '127.0.0.1')
    socket.on('error', () => undefined)
    socket.resume()
    this.#injector = socket
    return socket
  }
}
