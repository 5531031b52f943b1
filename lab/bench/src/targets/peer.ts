/** A stock Socket.IO server as a process of its own. Who is in which room, clients say themselves. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { WatchedProcess } from '../machine/process-watch.ts'
import type { Audience, Target } from './target.ts'

export interface PeerOptions {
  readonly name: 'socket-io-memory' | 'socket-io-insert'
  readonly description: string
  readonly databaseUrl?: string
  /** Further processes that work for it. */
  readonly processes?: readonly WatchedProcess[]
}

const startTimeoutMs = 15_000

export async function startPeer({ name, description, databaseUrl, processes = [] }: PeerOptions): Promise<Target> {
  const child = fork(fileURLToPath(new URL(`../../peers/${name}/server.mjs`, import.meta.url)), [], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...(databaseUrl && { DATABASE_URL: databaseUrl }) },
    execArgv: [],
  })
  const exited = once(child, 'exit')
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`unable to start ${name}; it does not listen`)), startTimeoutMs)
    child.once('message', (message: { readonly port: number }) => {
      clearTimeout(timer)
      resolve(message.port)
    })
    child.once('exit', (code) => reject(new Error(`unable to start ${name}; it ended with ${code ?? 'a signal'}`)))
  })

  const member = (index: number, room: string, group: number, hears: boolean) => ({
    auth: JSON.stringify({ user: `user-${index}`, rooms: [`user-${index}`, room] }),
    group,
    hears,
  })

  return {
    name,
    description,
    port,
    processes: [{ role: 'server', pid: child.pid ?? 0 }, ...processes],
    async pairs(count): Promise<Audience> {
      return {
        // In a direct message only the other one hears it: a stock sender has its own text already.
        members: Array.from({ length: count }, (_, group) => [
          member(2 * group, 'nobody', group, false),
          member(2 * group + 1, 'nobody', group, true),
        ]).flat(),
        senders: Array.from({ length: count }, (_, group) => ({
          member: 2 * group,
          payloadHead: `{"to":"user-${2 * group + 1}",`,
          clientIds: false,
        })),
      }
    },
    async room(people, senders): Promise<Audience> {
      return {
        members: Array.from({ length: people }, (_, index) => member(index, 'room', 0, true)),
        senders: Array.from({ length: senders }, (_, index) => ({
          member: index,
          payloadHead: '{"to":"room",',
          clientIds: false,
        })),
      }
    },
    ownFigures: async () => ({}),
    async stop() {
      child.kill('SIGTERM')
      await exited
    },
  }
}
