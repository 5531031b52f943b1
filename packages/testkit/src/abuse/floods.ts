/**
 * Floods of one attacker: sends a command over its HTTP route or its Socket.IO event as fast as
 * possible, with limits on the requests in flight and on the time. The attacker continues after
 * refusals. It uses its own IP address, so that limits per address do not affect other clients.
 */
import { Agent, request } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { commands, type CommandName } from '@chorus/protocol'
import { EngineClient } from '../engine-client.ts'
import { waitForFact } from '../wait-for-fact.ts'
import type { WorstInputs } from './worst-inputs.ts'

export const attackerAddress = '127.0.0.2'
const parallelRequests = 200
const requestTimeoutMs = 10_000
const burstIntervalMs = 10
const defaultPacketsPerSecond = 2_000

export interface HttpFlood {
  readonly url: string
  /** Headers with the credential of the attacker. */
  readonly headers: Readonly<Record<string, string>>
  readonly method: string
  /** Returns the path and the body of the next request. */
  readonly next: () => { readonly path: string; readonly body: unknown }
  readonly forMs: number
  /** Requests per second. Default: as many as possible. */
  readonly perSecond?: number
}

/**
 * Sends HTTP requests until the time is over, at most `parallelRequests` at a time. Resolves to the
 * number of responses by status.
 */
export async function floodHttp({
  url,
  headers,
  method,
  next,
  forMs,
  perSecond,
}: HttpFlood): Promise<Map<number, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: parallelRequests })
  const statuses = new Map<number, number>()
  const endMs = performance.now() + forMs
  const ask = (): Promise<number> =>
    new Promise((resolve) => {
      const { path, body } = next()
      const payload = body === undefined ? undefined : JSON.stringify(body)
      const outgoing = request(
        new URL(path, url),
        {
          method,
          agent,
          localAddress: attackerAddress,
          headers: {
            ...headers,
            ...(payload !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(payload),
            }),
          },
          timeout: requestTimeoutMs,
        },
        (incoming) => {
          incoming.resume()
          incoming.once('close', () => resolve(incoming.statusCode ?? 0))
        },
      )
      outgoing.once('timeout', () => outgoing.destroy(new Error('no answer')))
      outgoing.once('error', () => resolve(0))
      outgoing.end(payload)
    })
  const startMs = performance.now()
  let asked = 0
  const loop = async (): Promise<void> => {
    for (;;) {
      const dueMs = perSecond === undefined ? 0 : startMs + (asked++ * 1_000) / perSecond - performance.now()
      if (dueMs > 0) await pause(dueMs)
      if (performance.now() >= endMs) return
      const status = await ask()
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
    }
  }
  await Promise.all(Array.from({ length: parallelRequests }, loop))
  agent.destroy()
  return statuses
}

/** Puts the fields of a command's input into path, query and body, as its HTTP route defines. */
export function placeInput(name: CommandName, input: Record<string, unknown>): { path: string; body: unknown } {
  const { route } = commands[name] as { route: { method: string; path: string; bodyIs?: string } }
  const rest = { ...input }
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, field: string) => {
    const value = rest[field]
    delete rest[field]
    return encodeURIComponent(String(value))
  })
  if (route.bodyIs !== undefined) return { path, body: rest[route.bodyIs] }
  if (['GET', 'DELETE'].includes(route.method)) {
    const query = new URLSearchParams()
    for (const [field, value] of Object.entries(rest)) {
      query.set(
        field,
        typeof value === 'string' ? value : Array.isArray(value) ? value.join(',') : JSON.stringify(value),
      )
    }
    return { path: query.size === 0 ? path : `${path}?${query}`, body: undefined }
  }
  return { path, body: rest }
}

export interface SocketFlood {
  readonly url: string
  readonly cookie: string | undefined
  readonly event: string
  readonly inputs: WorstInputs
  readonly forMs: number
  /** Packets per second. Default: 2 000. */
  readonly perSecond?: number
}

/**
 * Sends commands as Socket.IO packets without reading responses. Reconnects whenever the server
 * closes the connection.
 */
export async function floodSocket({
  url,
  cookie,
  event,
  inputs,
  forMs,
  perSecond = defaultPacketsPerSecond,
}: SocketFlood): Promise<void> {
  const endMs = performance.now() + forMs
  let id = 0
  while (performance.now() < endMs) {
    const client = await openAttacker(url, cookie)
    if (client === undefined) continue
    client.pause()
    while (performance.now() < endMs && !client.isClosed) {
      for (let n = 0; n < Math.ceil((perSecond * burstIntervalMs) / 1_000); n++) {
        const input = inputs.next()
        client.send(`42${id++}${JSON.stringify([event, input])}`)
      }
      client.packets.length = 0
      await pause(burstIntervalMs)
    }
    client.close()
  }
}

/**
 * Opens a connection for the attacker and waits until it is ready. Returns undefined when the
 * server refuses it at present.
 */
export async function openAttacker(url: string, cookie: string | undefined): Promise<EngineClient | undefined> {
  const client = EngineClient.open(url, { cookie })
  client.ws.once('open', () => client.send('40'))
  const received = (prefix: string): boolean => client.packets.some((packet) => packet.startsWith(prefix))
  // The server refuses some connections with a packet (`44`) and expects the client to close them.
  const isRefused = (): boolean => client.isClosed || received('44')
  try {
    await waitForFact(() => isRefused() || received('42["ready"'), { what: 'ready or a refusal', timeoutMs: 5_000 })
  } catch {
    client.close()
    return undefined
  }
  if (!isRefused()) return client
  client.close()
  await pause(50)
  return undefined
}
