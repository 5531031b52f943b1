/**
 * Predicts the cost of large clusters from the cost model: what a thousand servers with ten million
 * connections would need, and which limit they reach first. Every assumption is a named number;
 * after changing one, generate the page again. Nothing here was measured at that size.
 */
import type { Work } from '../points/point.ts'
import { predict, priceOf, relayName, servingName, sweptName, writesOf } from './cost-model.ts'
import type { Prices } from './cost-model.ts'

export const assumptions = {
  connectionsPerServer: 10_000,
  /** Share of all users that are online at the busiest time. */
  onlineShare: 0.3,
  messagesPerUserAndDay: 40,
  peakHourShare: 0.1,
  /**
   * Sizes of conversations: number of members, and share of all messages that conversations of this
   * size receive.
   */
  sizes: [
    { share: 0.6, members: 2 },
    { share: 0.3, members: 10 },
    { share: 0.09, members: 100 },
    { share: 0.01, members: 1_000 },
  ],
  conversationsEach: 20,
  /**
   * Number of read markers stored per message. Each costs as much as a stored row and a request.
   */
  readMarkersPerMessage: 1,
  /** Share of a core or a machine that may be in use at the busiest time. */
  usableShare: 0.6,
  databaseCores: 32,
  /** Number of connections that one Postgres primary accepts without a connection pooler. */
  databaseConnections: 1_000,
  /**
   * Number of Postgres connections of each server: two that append to the log, and ten of the pool.
   */
  databaseConnectionsPerServer: 12,
  /**
   * Number of messages that one Redis can deliver to subscribers per second (a published figure).
   */
  redisDeliveredPerSecond: 650_000,
  /**
   * Number of partitions of the message bus. More Redis shards than partitions would have nothing
   * to do.
   */
  redisParts: 64,
  /**
   * Share of a server's one core that the sweep may use, which reads the rows that other servers
   * stored.
   */
  sweepShare: 0.3,
  /** Size of the TCP, IP and Ethernet headers of a delivery that is sent alone. */
  wireOverheadBytes: 78,
  linkBytesPerSecond: 1_250_000_000,
  serverMemoryMb: 16_384,
} as const

/** Measured sizes that are not part of the cost model. */
export interface MeasuredBytes {
  readonly delivery: number
  /**
   * Bytes through Redis in both directions for each message (`redisMessage`), and in addition for
   * each server that has members of the message's room (`redisServing`).
   */
  readonly redisMessage: number
  readonly redisServing: number
  /** Memory of a server that has just started. */
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
  /** Share of its core that each server uses. */
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
  // Returns the number of online members: the sender, and a share of `onlineShare` of the other
  // members.
  const online = (members: number): number => 1 + (members - 1) * a.onlineShare
  const receiversPerMessage = mean(online)
  // Each online member is connected to a random server. This is the expected number of servers that
  // have at least one of these members.
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
    // Each conversation has so few messages that they are rarely written together.
    changesPerWrite: 1,
    rowsPerCommit: 1,
  }
  // Read markers are stored as rows, too. Each costs processor time on the server that receives it,
  // on Postgres, and on every server that sweeps.
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
  const kilobytesOfConnection = priceOf(prices, 'memory', 'a connection in five rooms of 100 users')
  const kilobytesOfRoom = priceOf(prices, 'memory', 'a room on one server with two of its members')
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
  /**
   * Number of servers, with {@link assumptions}.connectionsPerServer connections each, at which the
   * limit is reached. Infinity if more servers never reach it.
   */
  readonly atServers: number
  readonly moves: string
}

/** Returns the limits of a growing cluster, beginning with the limit that is reached first. */
export function findBottlenecks(prices: Prices, bytes: MeasuredBytes): Wall[] {
  const a = assumptions
  const walls: readonly { what: string; moves: string; use: (p: Projection) => number }[] = [
    {
      what: `connections to Postgres: ${a.databaseConnectionsPerServer} per server, at most ${a.databaseConnections} per primary`,
      moves: 'a pooler that keeps prepared statements; a smaller pool per server',
      use: (p) => p.databaseConnections / a.databaseConnections,
    },
    {
      what: `processor of one primary: ${a.databaseCores} cores used to ${a.usableShare * 100} %`,
      moves: 'sweep on replicas, or only served conversations; then split conversations over several primaries',
      use: (p) => p.databaseCores / (a.databaseCores * a.usableShare),
    },
    {
      what: `every server sweeps the changes of all servers: ${a.sweepShare * 100} % of its core`,
      moves: 'one sweep for several servers, or each server sweeps some of the conversations',
      use: (p) => p.sweepShareOfServer / a.sweepShare,
    },
    {
      what: `processor of a server: its one core used to ${a.usableShare * 100} %`,
      moves: 'fewer connections per server, so more servers',
      use: (p) => p.serverShare / a.usableShare,
    },
    {
      what: `one Redis: ${a.redisDeliveredPerSecond.toLocaleString('en').replaceAll(',', ' ')} messages delivered per second, or its core used to ${a.usableShare * 100} %`,
      moves: 'shards of a Redis Cluster, already supported',
      use: (p) => Math.max(p.redisDeliveredPerSecond / a.redisDeliveredPerSecond, p.redisCores / a.usableShare),
    },
    {
      what: `all ${a.redisParts} partitions of the bus, each on its own Redis`,
      moves: 'more partitions',
      use: (p) =>
        Math.max(p.redisDeliveredPerSecond / a.redisDeliveredPerSecond, p.redisCores / a.usableShare) / a.redisParts,
    },
    {
      what: `network of a server: ${(a.linkBytesPerSecond * 8) / 1_000_000_000} Gbit/s`,
      moves: 'fewer connections per server',
      use: (p) => p.bytesPerServerAndSecond / a.linkBytesPerSecond,
    },
    {
      what: `memory of a server: ${a.serverMemoryMb / 1_024} GB`,
      moves: 'fewer connections per server',
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

/**
 * Returns the lowest number of servers at which `use` exceeds 1. `use` must grow with the number of
 * servers.
 */
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
