/**
 * Starts a plain Socket.IO server to compare Chorus with, as one or several processes. Its clients
 * name their own rooms when they connect.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { WatchedProcess } from '../machine/process-watch.ts'
import { assignUsers } from './assign-users.ts'
import type { Audience, Population, PeerName, Target } from './target.ts'

export interface PeerOptions {
  readonly name: PeerName
  readonly description: string
  /** Number of server processes. Default: 1. */
  readonly servers?: number
  readonly databaseUrl?: string
  readonly redisUrl?: string
  /** Other processes that the server uses, such as Redis. */
  readonly processes?: readonly WatchedProcess[]
}

const startTimeoutMs = 15_000

export async function startPeer({ name, description, servers = 1, ...options }: PeerOptions): Promise<Target> {
  const started: { readonly child: ChildProcess; readonly port: number }[] = []
  const stop = async (): Promise<void> => {
    for (const { child } of started) {
      if (child.exitCode !== null || child.signalCode !== null) continue // The process has already ended.
      const exited = once(child, 'exit')
      // Kill it, because a regular stop could take minutes: the process may still handle a backlog
      // that is no longer needed. It has nothing to save.
      child.kill('SIGKILL')
      await exited
    }
  }
  try {
    for (let server = 0; server < servers; server++) started.push(await startProcess(name, options))
  } catch (error) {
    await stop()
    throw error
  }

  const member = (index: number, room: string, group: number, hears: boolean) => ({
    auth: JSON.stringify({ user: `user-${index}`, rooms: [`user-${index}`, room] }),
    group,
    hears,
  })

  return {
    name,
    description,
    ports: started.map(({ port }) => port),
    processes: [...started.map(({ child }) => ({ role: 'server', pid: child.pid ?? 0 })), ...(options.processes ?? [])],
    async pairs(count): Promise<Audience> {
      return {
        // Only the receiver of a direct message counts: a plain Socket.IO server does not send the
        // message back to its sender.
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
    async idle(people): Promise<Audience> {
      return { members: Array.from({ length: people }, (_, index) => member(index, 'room', 0, false)), senders: [] }
    },
    async crowd(plan): Promise<Population> {
      const conversations = assignUsers(plan)
      const roomsOf = Array.from({ length: plan.people }, (): number[] => [])
      for (const [index, people] of conversations.entries()) for (const person of people) roomsOf[person]?.push(index)
      return {
        members: roomsOf.map((rooms, index) => ({
          auth: JSON.stringify({ user: `user-${index}`, rooms: rooms.map((room) => `room-${room}`) }),
          conversations: rooms,
        })),
        conversations: conversations.map((_people, index) => ({ id: `room-${index}`, poster: 0 })),
        posts: false,
      }
    },
    ownFigures: async () => ({}),
    stop,
  }
}

async function startProcess(
  name: PeerName,
  { databaseUrl, redisUrl }: Pick<PeerOptions, 'databaseUrl' | 'redisUrl'>,
): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = fork(fileURLToPath(new URL(`../../peers/${name}/server.mjs`, import.meta.url)), [], {
    env: {
      PATH: process.env.PATH,
      NODE_ENV: 'production',
      ...(databaseUrl !== undefined && { DATABASE_URL: databaseUrl }),
      ...(redisUrl !== undefined && { REDIS_URL: redisUrl }),
    },
    execArgv: [],
  })
  const port = await new Promise<number>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`unable to start ${name}; it does not listen`)), startTimeoutMs)
    child.once('message', (message: { readonly port: number }) => {
      clearTimeout(timer)
      resolve(message.port)
    })
    child.once('exit', (code) => reject(new Error(`unable to start ${name}; it ended with ${code ?? 'a signal'}`)))
  })
  return { child, port }
}
