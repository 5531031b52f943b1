/**
 * The queue of a cluster: BullMQ on Redis, one or several masters (the hash tag keeps its keys on one of them). Jobs are
 * worked on by whichever server is free. While Redis is away, and when it does not take a job, this server works on it
 * itself; what an emptied Redis forgot is given again by the dispatcher.
 *
 * BullMQ's adapter for node-redis knows no Redis Cluster, so it has an ioredis of its own.
 */
import { Queue, Worker } from 'bullmq'
import { Cluster, Redis as IoRedis } from 'ioredis'
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Redis } from '../support/redis.ts'
import { parseRedisPlace, redisHostOf, redisTlsOf } from '../support/redis-tls.ts'
import { type Job, type JobKind, type JobQueue, type JobWork, queueBounds } from './queue.ts'
import { LocalQueue } from './queue-local.ts'

const queueName = 'jobs'
const addTimeoutMs = 1_000
const reconnectMaxMs = 1_000
/** A worker that says nothing for so long is taken for dead, and its jobs go to others. */
const lockMs = 30_000

export interface RedisQueueOptions {
  readonly redis: Pick<Redis, 'isCluster' | 'problem' | 'onReconnect' | 'keyOf'>
  readonly url: string
  readonly work: JobWork
  readonly clock: Clock
  readonly logger: Logger
}

interface JobData {
  readonly key: string
}

interface Opened {
  readonly queue: Queue<JobData, void, JobKind>
  readonly worker: Worker<JobData, void, JobKind>
  readonly connections: readonly (IoRedis | Cluster)[]
}

export class RedisQueue implements JobQueue {
  readonly #options: RedisQueueOptions
  readonly #local: LocalQueue
  #opened: Opened | undefined
  #isClosed = false

  constructor(options: RedisQueueOptions) {
    this.#options = options
    this.#local = new LocalQueue({ work: options.work, clock: options.clock })
    if (options.redis.problem() === undefined) this.#open()
    options.redis.onReconnect(() => this.#open())
  }

  add(jobs: readonly Job[]): void {
    if (jobs.length === 0) return
    if (this.#opened === undefined || this.#options.redis.problem() !== undefined) {
      this.#local.add(jobs)
      return
    }
    void this.#addBulk(this.#opened.queue, jobs).catch((error: unknown) => {
      this.#options.logger.debug({ err: error }, 'Redis took no jobs; working on them here')
      this.#local.add(jobs)
    })
  }

  problem(): string | undefined {
    return this.#options.redis.problem() === undefined ? undefined : 'jobs are not shared between servers'
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const opened = this.#opened
    this.#opened = undefined
    await Promise.all([this.#local.close(), opened === undefined ? undefined : this.#end(opened)])
  }

  /** Once Redis was reached for the first time: only then is it known whether it is a cluster. */
  #open(): void {
    if (this.#opened !== undefined || this.#isClosed) return
    const { url, redis, logger, work } = this.#options
    const asking = connect(url, redis.isCluster, 'ask')
    const waiting = connect(url, redis.isCluster, 'wait')
    // BullMQ names its keys below this; the hash tag keeps them on one master.
    const prefix = redis.keyOf('{jobs}')
    const settings = { prefix, skipVersionCheck: true, skipWaitingForReady: true } as const
    const queue = new Queue<JobData, void, JobKind>(queueName, {
      ...settings,
      connection: asking,
      defaultJobOptions: { removeOnComplete: true, removeOnFail: true, attempts: 1 },
    })
    const worker = new Worker<JobData, void, JobKind>(
      queueName,
      async ({ name, data }) => work({ kind: name, key: data.key }),
      { ...settings, connection: waiting, concurrency: queueBounds.concurrency, lockDuration: lockMs },
    )
    const onError = (error: unknown): void => logger.debug({ err: error }, 'the queue cannot ask Redis')
    queue.on('error', onError)
    worker.on('error', onError)
    asking.on('error', onError)
    waiting.on('error', onError)
    this.#opened = { queue, worker, connections: [asking, waiting] }
  }

  async #addBulk(queue: Queue<JobData, void, JobKind>, jobs: readonly Job[]): Promise<void> {
    const added = queue.addBulk(
      jobs.map(({ kind, key, delayMs }) => ({ name: kind, data: { key }, opts: { delay: Math.max(0, delayMs ?? 0) } })),
    )
    // Late or not, it is no error of anybody: the dispatcher looks again.
    added.catch(() => undefined)
    const late = new Promise<never>((_resolve, reject) => {
      this.#options.clock.setTimer(() => reject(new Error('no answer from Redis')), addTimeoutMs)
    })
    await Promise.race([added, late])
  }

  async #end({ queue, worker, connections }: Opened): Promise<void> {
    const late = new Promise<void>(
      (resolve) => void this.#options.clock.setTimer(resolve, queueBounds.closeTimeoutMs + 500),
    )
    const ended = (async () => {
      await worker.close()
      await queue.close()
    })().catch(() => undefined)
    await Promise.race([ended, late])
    for (const connection of connections) connection.disconnect()
  }
}

/** A line for asking fails at once while Redis is away; BullMQ waits on a line that blocks, and insists on no bound there. */
function connect(url: string, isCluster: boolean, use: 'ask' | 'wait'): IoRedis | Cluster {
  const { port, username, password, pathname } = new URL(url)
  const host = redisHostOf(url)
  const tls = redisTlsOf(url)
  const place = { host, port: port === '' ? 6_379 : Number(port) }
  const retryStrategy = (times: number): number =>
    Math.min(reconnectMaxMs, 50 * 2 ** Math.min(times, 6)) * (0.5 + Math.random() / 2)
  const common = {
    maxRetriesPerRequest: use === 'ask' ? 0 : null,
    connectTimeout: 2_000,
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(password !== '' && { password: decodeURIComponent(password) }),
    ...(tls !== undefined && { tls }),
  }
  const enableOfflineQueue = use === 'wait'
  if (isCluster)
    return new Cluster([place], {
      redisOptions: common,
      enableOfflineQueue,
      clusterRetryStrategy: retryStrategy,
      // Otherwise names become addresses before TLS can look at them.
      dnsLookup: (name, callback) => callback(null, name),
      natMap: (known) => {
        const { host, port } = parseRedisPlace(known)
        const tls = redisTlsOf(url, host)
        // What stands beside host and port is an option of that master's connection.
        return { host, port, ...(tls !== undefined && { tls }) }
      },
    })
  const db = Number(pathname.slice(1))
  return new IoRedis({
    ...common,
    ...place,
    enableOfflineQueue,
    retryStrategy,
    ...(Number.isSafeInteger(db) && { db }),
  })
}
