/**
 * The model carried to clusters that do not fit a desk: what a thousand servers with ten million connections would need,
 * and which bound is met first on the way. Every assumption is a number with a name; change one and draw again. Nothing of
 * this is measured at that size.
 */
import type { Work } from '../curves/point.ts'
import { predict, priceOf, relayName, servingName, sweptName, writesOf } from './cost-model.ts'
import type { Prices } from './cost-model.ts'

export const assumptions = {
  connectionsPerServer: 10_000,
  /** Of all users, at the busiest time. */
  onlineShare: 0.3,
  messagesPerUserAndDay: 40,
  peakHourShare: 0.1,
  /** Where messages are sent: share of all messages, members of the conversation. */
  sizes: [
    { share: 0.6, members: 2 },
    { share: 0.3, members: 10 },
    { share: 0.09, members: 100 },
    { share: 0.01, members: 1_000 },
  ],
  conversationsEach: 20,
  /** Read markers that are stored, for each message; each is priced as a row and as a command. */
  readMarkersPerMessage: 1,
  /** Of a core or a machine, at the busiest time. */
  usableShare: 0.6,
  databaseCores: 32,
  /** Of a primary, with nothing in between. */
  databaseConnections: 1_000,
  /** Two lanes of the log, ten of the pool. */
  databaseConnectionsPerServer: 12,
  /** Published figure of one Redis. */
  redisDeliveredPerSecond: 650_000,
  /** The parts of the bus: more shards than parts have nothing to do. */
  redisParts: 64,
  /** Of its one core, for the numbers of what others have stored. */
  sweepShare: 0.3,
  /** TCP, IP and Ethernet around a delivery that goes alone. */
  wireOverheadBytes: 78,
  linkBytesPerSecond: 1_250_000_000,
  serverMemoryMb: 16_384,
} as const

/** Further figures that were measured, and are no prices of the model. */
export interface MeasuredBytes {
  readonly delivery: number
  /** Through Redis, both ways: for a message, and for each server that serves its room. */
  readonly redisMessage: number
  readonly redisServing: number
  /** A server that just started. */
  readonly emptyServerMb: number
}

export interface Projection {
  readonly servers: number
  readonly connections: number
  readonly users: number
  readonly work: Work
  readonly receiversPerMessage: number
  readonly servingPerMessage: number
  readonly serverCores: number
  /** Of one server. */
  readonly serverShare: number
  readonly sweepShareOfServer: number
  readonly databaseCores: number
  readonly databaseSweepCores: number
  readonly databaseRowsPerSecond: number
  readonly databaseConnections: number
  readonly primaries: number
  readonly redisDeliveredPerSecond: number
  readonly redisCores: number
  readonly redisShards: number
  readonly redisBytesPerSecond: number
  readonly redisBytesPerMessage: number
  readonly bytesPerServerAndSecond: number
  readonly memoryPerServerMb: number
}

export function project(prices: Prices, bytes: MeasuredBytes, servers: number): Projection {
  const a = assumptions
  const connections = servers * a.connectionsPerServer
  const users = connections / a.onlineShare
  const messages = (users * a.messagesPerUserAndDay * a.peakHourShare) / 3_600
  const mean = (of: (members: number) => number): number =>
    a.sizes.reduce((sum, { share, members }) => sum + share * of(members), 0)
  // The sender is there, and so many of the others.
  const online = (members: number): number => 1 + (members - 1) * a.onlineShare
  const receiversPerMessage = mean(online)
  // Everybody is at any server: how many different ones are met.
  const servingPerMessage = mean((members) => servers * (1 - (1 - 1 / servers) ** online(members)))
  const deliveries = messages * receiversPerMessage
  const rows = messages * (1 + a.readMarkersPerMessage)
  const work: Work = {
    servers,
    serving: servingPerMessage,
    connections,
    hearers: connections,
    subscriptions: connections * a.conversationsEach,
    rooms: connections * a.conversationsEach,
    messages,
    deliveries,
    // So quiet that nothing comes together.
    changesPerWrite: 1,
    rowsPerCommit: 1,
  }
  // Markers are rows, too, for the one who sends them, for Postgres, and for every server that sweeps.
  const asRows: Work = { ...work, messages: rows, deliveries: 0, serving: 1 }
  const relayed = messages * (servingPerMessage - 1)
  const serverUs =
    predict(prices, 'server', asRows) +
    priceOf(prices, 'server', relayName) * relayed +
    priceOf(prices, 'server', 'a write to a connection') * writesOf(work) +
    priceOf(prices, 'server', 'a delivery within a write') * deliveries
  const databaseUs = predict(prices, 'database', asRows)
  const databaseSweepUs = priceOf(prices, 'database', sweptName) * rows * servers
  const redisUs = predict(prices, 'redis', work)
  const redisDeliveredPerSecond = messages * servingPerMessage
  const redisCores = redisUs / 1_000_000
  const redisBytesPerMessage = bytes.redisMessage + bytes.redisServing * servingPerMessage
  const kilobytesOfConnection = priceOf(prices, 'memory', 'a connection in five rooms of a hundred')
  const kilobytesOfRoom = priceOf(prices, 'memory', 'a room at one server, two of its members there')
  return {
    servers,
    connections,
    users,
    work,
    receiversPerMessage,
    servingPerMessage,
    serverCores: serverUs / 1_000_000,
    serverShare: serverUs / 1_000_000 / servers,
    sweepShareOfServer: (priceOf(prices, 'server', sweptName) * rows) / 1_000_000,
    databaseCores: databaseUs / 1_000_000,
    databaseSweepCores: databaseSweepUs / 1_000_000,
    databaseRowsPerSecond: rows,
    databaseConnections: servers * a.databaseConnectionsPerServer,
    primaries: Math.ceil(databaseUs / 1_000_000 / (a.databaseCores * a.usableShare)),
    redisDeliveredPerSecond,
    redisCores,
    redisShards: Math.max(
      1,
      Math.ceil(redisDeliveredPerSecond / a.redisDeliveredPerSecond),
      Math.ceil(redisCores / a.usableShare),
    ),
    redisBytesPerSecond: redisBytesPerMessage * messages,
    redisBytesPerMessage,
    bytesPerServerAndSecond: (writesOf(work) / servers) * (bytes.delivery + a.wireOverheadBytes),
    memoryPerServerMb:
      bytes.emptyServerMb +
      priceOf(prices, 'memory', servingName) / 1_024 +
      (a.connectionsPerServer * (kilobytesOfConnection + a.conversationsEach * kilobytesOfRoom)) / 1_024,
  }
}

export interface Wall {
  readonly what: string
  /** With {@link assumptions}.connectionsPerServer connections each; Infinity: it does not come nearer with servers. */
  readonly atServers: number
  readonly moves: string
}

/** The bounds, the nearest first. */
export function findWalls(prices: Prices, bytes: MeasuredBytes): Wall[] {
  const a = assumptions
  const walls: readonly { what: string; moves: string; use: (p: Projection) => number }[] = [
    {
      what: `connections to Postgres: ${a.databaseConnectionsPerServer} a server, ${a.databaseConnections} a primary bears`,
      moves: 'a pooler that keeps prepared statements; a smaller pool per server',
      use: (p) => p.databaseConnections / a.databaseConnections,
    },
    {
      what: `processor of one primary: ${a.databaseCores} cores used to ${a.usableShare * 100} %`,
      moves: 'sweep on replicas, or only what a server serves; then conversations divided over several primaries',
      use: (p) => p.databaseCores / (a.databaseCores * a.usableShare),
    },
    {
      what: `every server sweeps what all have stored: ${a.sweepShare * 100} % of its core`,
      moves: 'one sweep for many servers, or by parts of the conversations',
      use: (p) => p.sweepShareOfServer / a.sweepShare,
    },
    {
      what: `processor of a server: its one core used to ${a.usableShare * 100} %`,
      moves: 'fewer connections a server, which is more servers',
      use: (p) => p.serverShare / a.usableShare,
    },
    {
      what: `one Redis: ${a.redisDeliveredPerSecond.toLocaleString('en').replaceAll(',', ' ')} messages delivered a second, or its core used to ${a.usableShare * 100} %`,
      moves: 'shards of a Redis Cluster, as it is',
      use: (p) => Math.max(p.redisDeliveredPerSecond / a.redisDeliveredPerSecond, p.redisCores / a.usableShare),
    },
    {
      what: `all ${a.redisParts} parts of the bus, each on a Redis of its own`,
      moves: 'more parts',
      use: (p) =>
        Math.max(p.redisDeliveredPerSecond / a.redisDeliveredPerSecond, p.redisCores / a.usableShare) / a.redisParts,
    },
    {
      what: `network of a server: ${(a.linkBytesPerSecond * 8) / 1_000_000_000} Gbit/s`,
      moves: 'fewer connections a server',
      use: (p) => p.bytesPerServerAndSecond / a.linkBytesPerSecond,
    },
    {
      what: `memory of a server: ${a.serverMemoryMb / 1_024} GB`,
      moves: 'fewer connections a server',
      use: (p) => p.memoryPerServerMb / a.serverMemoryMb,
    },
  ]
  return walls
    .map(({ what, moves, use }) => ({
      what,
      moves,
      atServers: firstOver((servers) => use(project(prices, bytes, servers))),
    }))
    .sort((x, y) => x.atServers - y.atServers)
}

const serversMax = 1_000_000

/** The least number of servers at which a use that grows goes over 1. */
function firstOver(use: (servers: number) => number): number {
  if (use(serversMax) <= 1) return Number.POSITIVE_INFINITY
  let [low, high] = [0, serversMax]
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2)
    if (use(middle) > 1) high = middle
    else low = middle
  }
  return high
}
