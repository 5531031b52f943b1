/**
 * Starts one chat system (Chorus, or a server it is compared with) with a Redis of its own, so that
 * all bytes through that Redis belong to this system.
 */
import { startRedis } from '@chorus/testkit'
import type { Databases, Postgres, Redis } from '@chorus/testkit'
import { startChorus } from '../targets/chorus.ts'
import { startPeer } from '../targets/peer.ts'
import type { Target } from '../targets/target.ts'
import { ChorusCrowd } from './chorus-crowd.ts'
import { peerCrowd } from './crowd.ts'
import type { Population } from './crowd.ts'

export const curvePeers = {
  'socket-io-redis-adapter': 'stock Socket.IO with @socket.io/redis-adapter, nothing stored',
  'one-channel': 'every process subscribes to one Redis channel and emits to all clients, nothing stored',
} as const
export type CurvePeer = keyof typeof curvePeers

export interface CurveTarget {
  readonly target: Target
  readonly redis: Redis
  readonly crowd: Population
  stop(): Promise<void>
}

export interface ChorusCurveTarget extends CurveTarget {
  readonly crowd: ChorusCrowd
}

interface Settings {
  readonly servers: number
  readonly postgres: Postgres
  readonly environment: Readonly<Record<string, string>>
}

export async function startCurveChorus({ servers, postgres, environment }: Settings): Promise<ChorusCurveTarget> {
  const redis = await startRedis()
  // Starting Chorus creates a new database. The code that inserts users needs its URL.
  let databaseUrl = ''
  const databases: Databases = {
    url: postgres.url,
    createDatabase: async (template) => {
      databaseUrl = await postgres.createDatabase(template)
      return databaseUrl
    },
    dropDatabase: postgres.dropDatabase,
    query: postgres.query,
  }
  try {
    const target = await startChorus({
      databases,
      servers,
      redisUrl: redis.url,
      environment,
      processes: [
        { role: 'database', pid: postgres.pid, withChildren: true },
        { role: 'redis', pid: redis.pid },
      ],
    })
    return {
      target,
      redis,
      crowd: new ChorusCrowd(postgres, databaseUrl, `http://127.0.0.1:${target.ports[0] ?? 0}`),
      async stop() {
        await target.stop()
        await redis.remove()
      },
    }
  } catch (error) {
    await redis.remove()
    throw error
  }
}

export async function startCurvePeer(name: CurvePeer, servers: number): Promise<CurveTarget> {
  const redis = await startRedis()
  try {
    const target = await startPeer({
      name,
      description: curvePeers[name],
      servers,
      redisUrl: redis.url,
      processes: [{ role: 'redis', pid: redis.pid }],
    })
    return {
      target,
      redis,
      crowd: peerCrowd,
      async stop() {
        await target.stop()
        await redis.remove()
      },
    }
  } catch (error) {
    await redis.remove()
    throw error
  }
}
