/**
 * Tests every fault that the proxy can simulate with real sockets: which data passes, and how each
 * end sees the connection close.
 */
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { waitForFact } from '@chorus/testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FaultProxy } from './fault-proxy.ts'
import { heldBytesMax } from './flow.ts'
import { PublishFaults } from './publish-faults.ts'

/**
 * A server behind the proxy. It stores what it receives and sends the response that the test sets.
 */
class Target {
  readonly sockets: Socket[] = []
  received = Buffer.alloc(0)
  answer: ((data: Buffer) => Buffer | undefined) | undefined
  readonly #server: Server

  constructor() {
    this.#server = createServer((socket) => {
      this.sockets.push(socket)
      socket.on('error', () => undefined)
      socket.on('data', (data) => {
        this.received = Buffer.concat([this.received, data])
        const answer = this.answer?.(data)
        if (answer !== undefined) socket.write(answer)
      })
    })
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy()
    this.#server.close()
  }
}

class Caller {
  received = Buffer.alloc(0)
  end: 'open' | 'reset' | 'closed' = 'open'
  readonly socket: Socket

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('data', (data) => {
      this.received = Buffer.concat([this.received, data])
    })
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNRESET') this.end = 'reset'
    })
    this.socket.on('close', () => {
      if (this.end === 'open') this.end = 'closed'
    })
  }
}

let target: Target
let proxy: FaultProxy
const callers: Caller[] = []

function call(): Caller {
  const caller = new Caller(proxy.port)
  callers.push(caller)
  return caller
}

beforeEach(async () => {
  target = new Target()
  target.answer = (data) => data
  proxy = await FaultProxy.start({ targetPort: await target.listen() })
})

afterEach(async () => {
  for (const caller of callers.splice(0)) caller.socket.destroy()
  await proxy.close()
  target.close()
})

const text = (caller: Caller): string => caller.received.toString()

describe('the fault proxy', () => {
  it('the fault proxy passes data both ways, then the end of the stream', async () => {
    const caller = call()
    caller.socket.end('hello')
    await waitForFact(() => text(caller) === 'hello')
    await waitForFact(() => caller.end === 'closed')
    await waitForFact(() => proxy.connectionCount === 0)
  })

  it('the fault proxy delays data in one direction and keeps its order', async () => {
    proxy.shape({ forward: { latencyMs: 100, jitterMs: 50 } })
    const caller = call()
    const startedAt = performance.now()
    const pieces = Array.from({ length: 20 }, (_, index) => `<${index}>`)
    for (const piece of pieces) {
      caller.socket.write(piece)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await waitForFact(() => text(caller) === pieces.join(''))
    expect(performance.now() - startedAt).toBeGreaterThan(99)
  })

  it('the fault proxy limits the number of bytes per second', async () => {
    proxy.shape({ back: { bytesPerSecond: 20_000 } })
    const caller = call()
    const startedAt = performance.now()
    caller.socket.write(Buffer.alloc(10_000, 'x'))
    await waitForFact(() => caller.received.length === 10_000)
    expect(performance.now() - startedAt).toBeGreaterThan(400)
  })

  it('the fault proxy stalls one direction and holds a limited amount of data', async () => {
    const caller = call()
    caller.socket.write('a')
    await waitForFact(() => text(caller) === 'a')
    proxy.shape({ forward: { isStalled: true } })
    const much = Buffer.alloc(16 * 1024 * 1024, 'b')
    caller.socket.write(much)
    await waitForFact(() => proxy.heldBytes >= heldBytesMax)
    // The direction from the target to the caller is not stalled. By the time the target's data has
    // arrived, stalled data would have reached the target if the stall did not work.
    target.sockets[0]!.write('c')
    await waitForFact(() => text(caller) === 'ac')
    expect(target.received.length).toBe(1)
    expect(proxy.heldBytes).toBeLessThan(heldBytesMax + 128 * 1024)
    target.answer = undefined
    proxy.heal()
    await waitForFact(() => target.received.length === 1 + much.length, { timeoutMs: 10_000 })
  })

  it('the fault proxy hides the close of a connection while the connection is stalled', async () => {
    const caller = call()
    caller.socket.write('a')
    await waitForFact(() => text(caller) === 'a')
    proxy.shape({ forward: { isStalled: true }, back: { isStalled: true } })
    target.sockets[0]!.resetAndDestroy()
    await waitForFact(() => target.sockets[0]!.destroyed)
    const other = call()
    await waitForFact(() => other.socket.readyState === 'open')
    expect(caller.end).toBe('open')
    proxy.heal()
    await waitForFact(() => caller.end !== 'open')
  })

  it('the fault proxy cuts connections after a given number of bytes', async () => {
    proxy.shape({ back: { cutAfterBytes: 5 } })
    const caller = call()
    caller.socket.write('0123456789')
    await waitForFact(() => caller.end !== 'open')
    expect('01234'.startsWith(text(caller))).toBe(true)
    proxy.heal()
    const next = call()
    next.socket.write('abc')
    await waitForFact(() => text(next) === 'abc')
    proxy.shape({ forward: { cutAfterBytes: 2 } })
    next.socket.write('defg')
    await waitForFact(() => next.end !== 'open')
    expect(target.received.toString().endsWith('abcde')).toBe(true)
  })

  it('the fault proxy resets all connections or a share of them', async () => {
    const all = [call(), call(), call()]
    for (const caller of all) caller.socket.write('x')
    await waitForFact(() => all.every((caller) => text(caller) === 'x'))
    expect(proxy.reset()).toBe(3)
    await waitForFact(() => all.every((caller) => caller.end === 'reset'))
    const next = call()
    next.socket.write('y')
    await waitForFact(() => text(next) === 'y')
    expect(proxy.reset(0)).toBe(0)
  })

  it('the fault proxy makes only existing connections half-open', async () => {
    const caller = call()
    caller.socket.write('a')
    await waitForFact(() => text(caller) === 'a')
    proxy.sever()
    caller.socket.write('b')
    target.sockets[0]!.destroy()
    const next = call()
    next.socket.write('c')
    await waitForFact(() => text(next) === 'c')
    proxy.heal()
    next.socket.write('d')
    await waitForFact(() => text(next) === 'cd')
    expect(caller.end).toBe('open')
    expect(text(caller)).toBe('a')
    expect(target.received.toString()).toBe('acd')
    caller.socket.destroy()
    await waitForFact(() => proxy.connectionCount === 1)
  })

  it('the fault proxy refuses new connections and keeps old ones', async () => {
    const caller = call()
    caller.socket.write('a')
    await waitForFact(() => text(caller) === 'a')
    proxy.refuse()
    const refused = call()
    await waitForFact(() => refused.end !== 'open')
    caller.socket.write('b')
    await waitForFact(() => text(caller) === 'ab')
    proxy.heal()
    const next = call()
    next.socket.write('c')
    await waitForFact(() => text(next) === 'c')
  })

  it('the fault proxy passes a marked request and loses its reply', async () => {
    proxy.cutReplies('commit', 1)
    const caller = call()
    caller.socket.write('select')
    await waitForFact(() => text(caller) === 'select')
    caller.socket.write('commit')
    await waitForFact(() => caller.end !== 'open')
    expect(text(caller)).toBe('select')
    expect(target.received.toString()).toBe('selectcommit')
    expect(proxy.cutReplyCount).toBe(1)
    const next = call()
    next.socket.write('commit')
    await waitForFact(() => text(next) === 'commit')
  })

  it('the fault proxy connects to a new target after retarget', async () => {
    const other = new Target()
    other.answer = () => Buffer.from('other')
    proxy.retarget(await other.listen())
    const caller = call()
    caller.socket.write('x')
    await waitForFact(() => text(caller) === 'other')
    other.close()
  })
})

describe('the faults of Redis publishes', () => {
  const encode = (...parts: string[]): string =>
    `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`
  let faults: PublishFaults
  let link: FaultProxy
  const publishesOf = (channel: string): number => target.received.toString().split(channel).length - 1

  beforeEach(async () => {
    target.answer = undefined
    const targetPort = (): number => (target.sockets[0]!.address() as AddressInfo).port
    faults = new PublishFaults(targetPort, () => 0.5)
    link = await FaultProxy.start({ targetPort: await portOf(), tap: faults.tap })
  })

  afterEach(async () => {
    faults.close()
    await link.close()
  })

  /** Returns the port of the target, found through a connection over the proxy without faults. */
  async function portOf(): Promise<number> {
    call().socket.write('')
    await waitForFact(() => target.sockets.length === 1)
    return (target.sockets[0]!.address() as AddressInfo).port
  }

  it('only publishes are lost, doubled or delayed, even if data arrives byte by byte', async () => {
    const caller = new Caller(link.port)
    callers.push(caller)
    const write = async (bytes: string): Promise<void> => {
      for (const byte of bytes) {
        caller.socket.write(byte)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const plain = encode('SET', 'key', 'publish')
    await write(plain + encode('SPUBLISH', 'first', 'one'))
    await waitForFact(() => publishesOf('first') === 1)

    faults.rule = { lostShare: 1 }
    await write(encode('spublish', 'second', 'two') + plain)
    await waitForFact(() => publishesOf('chorus:lost') === 1 && publishesOf('SET') === 2)
    expect(publishesOf('second')).toBe(0)

    faults.rule = { doubledShare: 1 }
    caller.socket.write(encode('SPUBLISH', 'third', 'three'))
    await waitForFact(() => publishesOf('third') === 2)

    faults.rule = { lateShare: 1, lateMs: 100 }
    caller.socket.write(encode('SPUBLISH', 'fourth', 'four'))
    await waitForFact(() => publishesOf('chorus:lost') === 2)
    faults.rule = {}
    caller.socket.write(encode('SPUBLISH', 'fifth', 'five'))
    await waitForFact(() => publishesOf('fourth') === 1 && publishesOf('fifth') === 1)
    expect({ ...counts() }).toEqual({ lost: 1, doubled: 1, late: 1 })
  })

  function counts(): { lost: number; doubled: number; late: number } {
    return { lost: faults.lostCount, doubled: faults.doubledCount, late: faults.lateCount }
  }
})
