/**
 * Metrics for Prometheus. Every metric is described once, in this file, with its unit in its name.
 * The reference in docs/ is generated from these descriptions. Each server has its own registry, so
 * that two servers in one process (in tests) do not mix their metrics.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { IntervalHistogram } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

const latencyBucketsSeconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
const sizeBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000]

/** One line of the generated reference of metrics. */
export interface MetricDescription {
  readonly name: string
  readonly type: string
  readonly help: string
}

export class Metrics {
  readonly registry = new Registry()
  readonly #loopDelay: IntervalHistogram = monitorEventLoopDelay({ resolution: 20 })

  readonly connections = this.#gauge('chorus_connections', 'Open connections.', ['transport'])
  readonly sends = this.#counter(
    'chorus_sends_total',
    'Messages sent, by outcome: stored, duplicate, or the error code.',
    ['outcome'],
  )
  readonly ackSeconds = this.#histogram(
    'chorus_ack_seconds',
    'Time from the arrival of a send to its acknowledgement.',
    latencyBucketsSeconds,
  )
  readonly deliverySeconds = this.#histogram(
    'chorus_delivery_seconds',
    'Time from the commit of a change until this server hands it to its connections.',
    latencyBucketsSeconds,
  )
  readonly appendBatchRows = this.#histogram(
    'chorus_append_batch_rows',
    'Rows committed in one transaction.',
    sizeBuckets,
  )
  readonly deliveryBatchChanges = this.#histogram(
    'chorus_delivery_batch_changes',
    'Changes sent in one event.',
    sizeBuckets,
  )
  readonly queueDepth = this.#gauge('chorus_queue_depth', 'Entries waiting in a queue of the server.', ['queue'])
  readonly repairedChanges = this.#counter(
    'chorus_repaired_changes_total',
    'Changes that no hint announced, by the repair that found them: gap or sweep. Near zero in normal operation.',
    ['by'],
  )
  readonly sweepSeconds = this.#histogram(
    'chorus_sweep_seconds',
    'Duration of one sweep of the database.',
    latencyBucketsSeconds,
  )
  readonly busMessages = this.#counter(
    'chorus_bus_messages_total',
    'Messages between servers, by direction: in or out.',
    ['direction'],
  )
  readonly busDropped = this.#counter(
    'chorus_bus_dropped_total',
    'Messages between servers that were dropped, by reason. Outgoing: away, queue, failed or unsendable. Incoming, when that part is invalid: size, version, length, hmac, header or channel.',
    ['reason'],
  )
  readonly busGaps = this.#counter(
    'chorus_bus_gaps_total',
    'Times when messages between servers may have been missed, by cause: connected, moved or late. A sweep follows each.',
    ['cause'],
  )
  readonly busProbeSeconds = this.#histogram(
    'chorus_bus_probe_seconds',
    'Time from publishing a probe until the subscription receives it.',
    latencyBucketsSeconds,
  )
  readonly presenceLeases = this.#counter(
    'chorus_presence_leases_total',
    'Presence leases taken, by cause: start, lost (the lease had expired or was missing), doubt (Redis was away or did not answer). After lost and doubt, the server writes all users of a partition again.',
    ['cause'],
  )
  readonly presenceUnreachable = this.#gauge(
    'chorus_presence_unreachable_parts',
    'Partitions whose users have an unknown presence because Redis does not answer.',
    [],
  )
  readonly stalls = this.#counter(
    'chorus_stalls_total',
    'Stalls: times when this server did not run for more than a second. It sweeps before it delivers again.',
    [],
  )
  readonly prefersMemory = this.#gauge(
    'chorus_prefers_memory',
    'Whether this server is idle enough to collect garbage and return memory: 1 or 0. The cost shows in the lag of the event loop.',
    [],
  )
  readonly outboundBytes = this.#gauge(
    'chorus_outbound_bytes',
    'Bytes that clients have not read yet. A frame shared by several connections counts once.',
    [],
  )
  readonly tokenCheckSeconds = this.#histogram(
    'chorus_token_check_seconds',
    'Duration of one check of a user token, by outcome: cached (known from an earlier check), verified or refused.',
    [0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.005, 0.02, 0.1, 1],
    ['outcome'],
  )
  readonly keySetLoads = this.#counter(
    'chorus_key_set_loads_total',
    'Loads of sets of public keys (JWKS) that verify user tokens, by outcome: loaded or failed. Stale keys are used for a day.',
    ['outcome'],
  )
  readonly hookQuestions = this.#counter(
    'chorus_hook_questions_total',
    'Messages and edits that the pre-send hook was to be asked about, by outcome: allowed, replaced, refused, bad-replacement (refused: the replacement was not valid), failed (no usable answer), skipped (not asked, because the hook did not answer before) or overloaded (refused: too many questions).',
    ['outcome'],
  )
  readonly hookUnchecked = this.#counter(
    'chorus_hook_unchecked_total',
    'Messages and edits that were stored without an answer of the pre-send hook, because PRE_SEND_HOOK_FAILURE is open.',
    [],
  )
  readonly hookSeconds = this.#histogram(
    'chorus_hook_seconds',
    'Time from a question to the pre-send hook until its answer or failure.',
    latencyBucketsSeconds,
  )
  readonly slowCloses = this.#counter(
    'chorus_slow_closes_total',
    'Connections closed because the client did not read what the server sent.',
    ['bound'],
  )
  readonly rateLimited = this.#counter(
    'chorus_rate_limited_total',
    'Requests and connections over a limit, by limit.',
    ['limit'],
  )
  readonly limitReports = this.#counter(
    'chorus_limit_reports_total',
    'Reports of this server to the limits that all servers share, by outcome: answered, failed, or dropped because too many were waiting.',
    ['outcome'],
  )
  readonly cacheReads = this.#counter(
    'chorus_cache_reads_total',
    'Reads of caches that spare the database, by outcome. local: found in this process. In Redis: hit, miss, away, refused (wrong seal) or distrusted (found, but not trusted at the moment). read: read from the database.',
    ['cache', 'outcome'],
  )
  readonly consumerLagSeconds = this.#gauge(
    'chorus_consumer_lag_seconds',
    'Age of the oldest change that a consumer of the log has not handled, on the server that runs the consumer.',
    ['consumer'],
  )
  readonly consumerLagRows = this.#gauge(
    'chorus_consumer_lag_rows',
    'Changes that a consumer of the log has not handled, counted up to 1000, on the server that runs the consumer.',
    ['consumer'],
  )
  readonly jobsDue = this.#gauge('chorus_jobs_due', 'Jobs waiting in the database, by kind: webhook or mail.', ['kind'])
  readonly jobsOldestSeconds = this.#gauge(
    'chorus_jobs_oldest_seconds',
    'Waiting time of the job that has been due for the longest time.',
    ['kind'],
  )
  readonly webhookDeliveries = this.#counter(
    'chorus_webhook_deliveries_total',
    'Attempts to deliver webhooks, by outcome: delivered, retried or dead.',
    ['outcome'],
  )
  readonly webhookDeadLetters = this.#gauge('chorus_webhook_dead_letters', 'Webhooks that the server gave up.', [])
  readonly webhooksDisabled = this.#counter(
    'chorus_webhooks_disabled_total',
    'Webhook endpoints that the server disabled, by reason: gone (it answered 410) or failing (it accepted nothing for too long).',
    ['reason'],
  )
  readonly mails = this.#counter(
    'chorus_mails_total',
    'Mails by kind and state: sent, ready (will be retried), refused, void (nothing left to report) or unknown.',
    ['kind', 'state'],
  )
  readonly originRefusals = this.#counter(
    'chorus_origin_refusals_total',
    'Requests refused because of their origin.',
    [],
  )
  readonly databaseErrors = this.#counter(
    'chorus_database_errors_total',
    'Failed batches of the change log, by kind of error.',
    ['kind'],
  )
  readonly httpRequests = this.#counter('chorus_http_requests_total', 'HTTP requests answered.', [
    'method',
    'route',
    'status',
  ])
  readonly httpRequestSeconds = this.#histogram(
    'chorus_http_request_seconds',
    'Time from an HTTP request to the end of its response, without event streams.',
    latencyBucketsSeconds,
    ['route'],
  )
  readonly passwordSeconds = this.#histogram(
    'chorus_password_hash_seconds',
    'Duration of one password hash, without the time in the queue.',
    latencyBucketsSeconds,
  )
  readonly ready = this.#gauge('chorus_ready', 'Whether this server is ready for traffic: 1 or 0.', [])
  readonly partUp = this.#gauge(
    'chorus_part_up',
    'Whether a part that the server depends on works: 1 or 0, by part: database, redis, bus (publishing and subscribing).',
    ['part'],
  )
  readonly sweepAgeSeconds = this.#gauge(
    'chorus_sweep_age_seconds',
    'Time since the last complete sweep began. A change whose hint was lost arrives this late.',
    [],
  )
  readonly oldestTransactionSeconds = this.#gauge(
    'chorus_oldest_transaction_seconds',
    'Age of the oldest open write transaction in this Postgres. Cursors and sweeps do not move past it.',
    [],
  )
  readonly movesAsked = this.#counter(
    'chorus_moves_asked_total',
    'Connections asked to move to another server, by reason: stopping, or cut-off (this server cannot reach the database).',
    ['reason'],
  )
  readonly canaryReceived = this.#counter(
    'chorus_canary_received_total',
    'Canary messages received by this server, by sending server and transport.',
    ['from', 'transport'],
  )
  readonly canaryLost = this.#counter(
    'chorus_canary_lost_total',
    'Acknowledged canary messages that this server did not receive within 30 s.',
    ['from', 'transport'],
  )
  readonly canaryDoubled = this.#counter(
    'chorus_canary_doubled_total',
    'Canary messages received twice over one connection.',
    ['from', 'transport'],
  )
  readonly canaryReordered = this.#counter(
    'chorus_canary_reordered_total',
    'Canary messages received after a later one.',
    ['from', 'transport'],
  )
  readonly canarySeconds = this.#histogram(
    'chorus_canary_seconds',
    'Time from before a canary message is sent until this server receives it, over the path that clients use.',
    latencyBucketsSeconds,
    ['from', 'transport'],
  )

  constructor() {
    this.#loopDelay.enable()
    const loopDelay = this.#loopDelay
    this.#gauge(
      'chorus_event_loop_lag_seconds',
      'Delay of the event loop since the last scrape, by quantile.',
      ['quantile'],
      (gauge) => {
        gauge.set({ quantile: '0.5' }, loopDelay.percentile(50) / 1e9)
        gauge.set({ quantile: '0.99' }, loopDelay.percentile(99) / 1e9)
        gauge.set({ quantile: '1' }, loopDelay.max / 1e9)
        loopDelay.reset()
      },
    )
    this.#gauge('chorus_resident_memory_bytes', 'Resident memory of the process.', [], (gauge) =>
      gauge.set(process.memoryUsage.rss()),
    )
    this.#gauge('chorus_heap_used_bytes', 'Used JavaScript heap.', [], (gauge) =>
      gauge.set(process.memoryUsage().heapUsed),
    )
    this.#gauge('chorus_cpu_seconds', 'Processor time used by the process.', [], (gauge) => {
      const { user, system } = process.cpuUsage()
      gauge.set((user + system) / 1e6)
    })
  }

  /** Returns all metrics in the text format of Prometheus. */
  async render(): Promise<string> {
    return this.registry.metrics()
  }

  async describe(): Promise<readonly MetricDescription[]> {
    const metrics = await this.registry.getMetricsAsJSON()
    return metrics.map(({ name, type, help }) => ({ name, type: String(type), help }))
  }

  stop(): void {
    this.#loopDelay.disable()
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] })
  }

  #gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect?: (gauge: Gauge<Label>) => void,
  ): Gauge<Label> {
    const gauge: Gauge<Label> = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.registry],
      ...(collect !== undefined && { collect: () => collect(gauge) }),
    })
    return gauge
  }

  #histogram<Label extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly Label[] = [],
  ): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets: [...buckets], registers: [this.registry] })
  }
}
