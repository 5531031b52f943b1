/**
 * Job queue of a cluster: BullMQ on one Redis or on a Redis Cluster (a hash tag keeps all its keys
 * on one master). Any free server runs a job. While Redis is unavailable, or when it rejects a job,
 * this server runs the job itself. When Redis was emptied, the dispatcher adds the lost jobs again.
 *
 * BullMQ's adapter for node-redis does not support Redis Cluster, so the queue opens its own
 * ioredis connections.
 */
import { Queue, Worker } from 'bullmq'
import { Cluster, Redis as IoRedis } from 'ioredis'
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Redis } from '../redis/redis.ts'
import { parseRedisPlace, redisHostOf, redisTlsOf } from '../redis/redis-tls.ts'
import { type Job, type JobKind, type JobQueue, type JobWork, queueLimits } from './queue.ts'
import { LocalQueue } from './queue-local.ts'

const queueName = 'jobs'
const addTimeoutMs = 1_000
const reconnectMaxMs = 1_000
const silenceMaxMs = 4_000
/**
 * Maximum time without data on a connection for blocking reads. BullMQ's blocking reads get a reply
 * within 10 s.
 */
const blockingSilenceMaxMs = 15_000
/**
 * Time within which a worker must renew the lock of its job. After it, the worker counts as dead,
 * and another worker takes the job.
 */
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
      this.#options.logger.debug({ err: error }, 'Redis accepted no jobs; this server runs them itself')
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

  /**
   * Opens the queue after the first successful Redis connection, because only then is it known
   * whether Redis is a cluster.
   */
  #open(): void {
    if (this.#opened !== undefined || this.#isClosed) return
    const { url, redis, logger, work } = this.#options
    const asking = connect(url, redis.isCluster, 'ask')
    const waiting = connect(url, redis.isCluster, 'wait')
    // Prefix of BullMQ's keys. The hash tag `{jobs}` keeps all of them on one master.
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
      { ...settings, connection: waiting, concurrency: queueLimits.concurrency, lockDuration: lockMs },
    )
    const onError = (error: unknown): void => logger.debug({ err: error }, 'the job queue cannot use Redis')
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
    // A job that was not added needs no handling: the dispatcher finds the work later.
    added.catch(() => undefined)
    const late = new Promise<never>((_resolve, reject) => {
      this.#options.clock.setTimer(() => reject(new Error('no answer from Redis')), addTimeoutMs)
    })
    await Promise.race([added, late])
  }

  async #end({ queue, worker, connections }: Opened): Promise<void> {
    const late = new Promise<void>(
      (resolve) => void this.#options.clock.setTimer(resolve, queueLimits.closeTimeoutMs + 500),
    )
    const ended = (async () => {
      await worker.close()
      await queue.close()
    })().catch(() => undefined)
    await Promise.race([ended, late])
    for (const connection of connections) connection.disconnect()
  }
}

/**
 * Opens a Redis connection. With use `ask`, commands fail at once while Redis is unavailable. Use
 * `wait` is for BullMQ's blocking reads: BullMQ requires connections without a retry limit.
 */
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
    // Maximum time without any reply to a command that was sent.
    socketTimeout: use === 'ask' ? silenceMaxMs : blockingSilenceMaxMs,
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
      // Keeps host names. By default, ioredis would resolve them to IP addresses, and TLS could not
      // verify the name of the server.
      dnsLookup: (name, callback) => callback(null, name),
      natMap: (known) => {
        const { host, port } = parseRedisPlace(known)
        const tls = redisTlsOf(url, host)
        // ioredis also uses these TLS options for its connection to this master.
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
