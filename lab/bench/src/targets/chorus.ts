/**
 * Starts Chorus servers for a measurement, with signed-in users, membership checks and storage.
 * Limits per user are off, because the load exceeds what a person sends.
 *
 * On Postgres, users and sessions are inserted directly into the database. On the embedded
 * database, users sign up over HTTP. Conversations are created over HTTP, except in the scenarios
 * `idle` and `storm`, which insert them directly.
 */
import { findFreePort, HttpUser, insertConversations, insertPeople, makeAttacker, startServer } from '@chorus/testkit'
import type { Databases, ServerProcess } from '@chorus/testkit'
import type { WatchedProcess } from '../machine/process-watch.ts'
import { readFigures } from './server-figures.ts'
import { assignUsers } from './assign-users.ts'
import { fillCrowd } from './fill-crowd.ts'
import type { Audience, Population, CrowdPlan, Target } from './target.ts'

export interface ChorusOptions {
  /**
   * Postgres in which Chorus gets a database of its own. Without it, the server uses its embedded
   * database.
   */
  readonly databases?: Databases
  /** Number of servers of the cluster. Default: 1. Several servers need Redis. */
  readonly servers?: number
  readonly redisUrl?: string
  readonly processes?: readonly WatchedProcess[]
  /** Whether limits per user have their default values. By default, all limits are off. */
  readonly hasDefaultLimits?: boolean
  /** Environment variables that override {@link chorusSettings}. */
  readonly environment?: Readonly<Record<string, string>>
  /**
   * Returns the database URL that one server gets. Set when servers reach Postgres through a proxy.
   */
  readonly linkToDatabase?: (databaseUrl: string) => Promise<string>
  /** Folder for processor profiles. Each server writes one when it stops. */
  readonly profileDir?: string | undefined
}

/** Server settings that differ from the defaults. The result file records them. */
export const chorusSettings = {
  NODE_ENV: 'production',
  LIMIT_SENDS: '0',
  LIMIT_REQUESTS: '0',
  LIMIT_MEMBERS: '0',
  LIMIT_STRANGERS: '0',
  LIMIT_SIGN_INS: '0',
  LIMIT_SIGN_INS_ADDRESS: '0',
  LIMIT_CONNECTIONS: '0',
  LIMIT_CONNECTS: '0',
  LIMIT_CONNECTS_ADDRESS: '0',
} as const

/**
 * Settings with default limits, except the limits per address on sign-ins and connections, because
 * all clients of the benchmark share one address.
 */
export const defaultLimitSettings = {
  NODE_ENV: 'production',
  LIMIT_SIGN_INS_ADDRESS: '0',
  LIMIT_CONNECTIONS: '0',
} as const

const callsTogether = 16
const initialMembersMax = 100

interface Person {
  readonly id: string
  readonly http: HttpUser
}

/** The Postgres of the servers, with the database that belongs to this target. */
interface Store {
  readonly databases: Databases
  readonly databaseUrl: string
}

export async function startChorus(options: ChorusOptions): Promise<Target> {
  const { databases, servers: count = 1, redisUrl, processes = [] } = options
  const store = databases && { databases, databaseUrl: await databases.createDatabase() }
  const metricsPorts: number[] = []
  const servers: ServerProcess[] = []
  const stop = async (): Promise<void> => {
    for (const server of servers) {
      await server.stop()
      await server.remove()
    }
    await store?.databases.dropDatabase(store.databaseUrl)
  }
  try {
    for (let index = 0; index < count; index++) {
      const metricsPort = await findFreePort()
      metricsPorts.push(metricsPort)
      servers.push(await startMeasuredServer(options, store, metricsPort))
    }
  } catch (error) {
    await stop()
    throw error
  }
  const [server] = servers
  if (server === undefined) throw new Error('unable to start Chorus; it needs a server')
  const makePeople = (count: number): Promise<Person[]> =>
    store === undefined ? inBatches(count, () => signUp(server)) : signInInserted(server, store, count)

  return {
    name: store === undefined ? 'chorus-embedded' : 'chorus',
    description:
      store === undefined
        ? 'everything on, embedded database'
        : `everything on, ${count === 1 ? 'one server' : `${count} servers`}, Postgres with fsync${redisUrl === undefined ? '' : ', Redis'}`,
    ports: servers.map(({ port }) => port),
    processes: [...servers.map(({ pid }) => ({ role: 'server', pid })), ...processes],
    async pairs(count): Promise<Audience> {
      const audience = await makePairs(await makePeople(2 * count), count)
      await collectStatistics(store)
      return audience
    },
    async room(count, senders): Promise<Audience> {
      const audience = await makeRoom(await makePeople(count), senders)
      await collectStatistics(store)
      return audience
    },
    async idle(count, conversationsEach): Promise<Audience> {
      const people = await makePeople(count)
      if (store === undefined) throw new Error('unable to fill the embedded database directly')
      await insertIdleConversations(store, people, conversationsEach)
      await collectStatistics(store)
      return { members: people.map(({ http }) => ({ cookie: http.cookie ?? '', group: 0, hears: false })), senders: [] }
    },
    ...(store !== undefined && {
      async crowd(plan: CrowdPlan): Promise<Population> {
        const people = await makePeople(plan.people)
        return fillCrowd(store.databases, store.databaseUrl, people, plan)
      },
    }),
    attacker: () => makeAttacker(server.url, store ?? { dataDir: server.dataDir }),
    // Returns figures of the first server only. The other servers do the same work.
    ownFigures: () => readFigures(`http://127.0.0.1:${metricsPorts[0] ?? 0}/metrics`),
    stop,
  }
}

async function startMeasuredServer(
  {
    hasDefaultLimits = false,
    redisUrl,
    environment = {},
    linkToDatabase = async (url) => url,
    profileDir,
  }: ChorusOptions,
  store: Store | undefined,
  metricsPort: number,
): Promise<ServerProcess> {
  return startServer({
    ...(store !== undefined && { databaseUrl: await linkToDatabase(store.databaseUrl) }),
    env: {
      ...(hasDefaultLimits ? defaultLimitSettings : chorusSettings),
      ...(redisUrl !== undefined && { REDIS_URL: redisUrl }),
      ...environment,
      METRICS_PORT: String(metricsPort),
    },
    ...(profileDir !== undefined && { nodeArguments: ['--cpu-prof', `--cpu-prof-dir=${profileDir}`] }),
  })
}

/**
 * Lets Postgres collect statistics, as a database in production does. Without statistics, a newly
 * filled database has bad query plans.
 */
async function collectStatistics(store: Store | undefined): Promise<void> {
  await store?.databases.query('analyze', [], store.databaseUrl)
}

async function makePairs(people: readonly Person[], count: number): Promise<Audience> {
  const conversations = await inBatches(count, async (group) => {
    const [one, other] = [people[2 * group], people[2 * group + 1]]
    if (one === undefined || other === undefined) throw new Error('unable to make pairs; there are too few users')
    return one.http.createConversation('direct', [other.id])
  })
  return {
    // Both users of a pair receive the message: Chorus also delivers it to the sender's
    // connection.
    members: people.map((person, index) => ({
      cookie: person.http.cookie ?? '',
      group: Math.floor(index / 2),
      hears: true,
    })),
    senders: conversations.map((conversation, group) => sender(2 * group, conversation)),
  }
}

async function makeRoom(people: readonly Person[], senders: number): Promise<Audience> {
  const [owner, ...others] = people
  if (owner === undefined) throw new Error('unable to make a room; it needs users')
  const initial = others.slice(0, initialMembersMax - 1).map(({ id }) => id)
  const conversation = await owner.http.createConversation('group', initial, 'hot room')
  const late = others.slice(initial.length)
  await inBatches(late.length, (index) =>
    owner.http.expect([200, 201, 204], 'PUT', `/v1/conversations/${conversation}/members/${late[index]?.id}`, {}),
  )
  return {
    members: people.map(({ http }) => ({ cookie: http.cookie ?? '', group: 0, hears: true })),
    senders: Array.from({ length: senders }, (_, index) => sender(index, conversation)),
  }
}

/**
 * Inserts conversations directly into the database. HTTP requests would enlarge the server's
 * memory, and so the measured memory per connection.
 */
async function insertIdleConversations(
  { databases, databaseUrl }: Store,
  people: readonly Person[],
  conversationsEach: number,
): Promise<void> {
  const dealt = assignUsers({ people: people.length, conversationsEach, size: initialMembersMax })
  await insertConversations(databases, databaseUrl, {
    conversations: dealt.map((members) => ({ members: members.map((person) => people[person]?.id ?? '') })),
  })
}

const sender = (member: number, conversation: string) => ({
  member,
  payloadHead: `{"conversation":"${conversation}",`,
  clientIds: true,
})

async function signUp(server: ServerProcess): Promise<Person> {
  const http = await HttpUser.signUp(server.url)
  return { id: http.id, http }
}

async function signInInserted(
  server: ServerProcess,
  { databases, databaseUrl }: Store,
  count: number,
): Promise<Person[]> {
  const people = await insertPeople(databases, databaseUrl, count, 1)
  return people.map(({ id, sessions: [session] }) => {
    const http = HttpUser.stranger(server.url)
    http.cookie = `chorus_session=${session?.cookieValue ?? ''}`
    return { id, http }
  })
}

async function inBatches<Result>(count: number, make: (index: number) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = []
  for (let from = 0; from < count; from += callsTogether) {
    const together = Array.from({ length: Math.min(callsTogether, count - from) }, (_, index) => make(from + index))
    results.push(...(await Promise.all(together)))
  }
  return results
}
