/**
 * Metrics for Prometheus. Every metric is described once, here, with its unit in its name; the
 * reference in docs/ is generated from the same registry. Each node has its own registry, so that
 * two nodes in one process do not mix their metrics.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { IntervalHistogram } from 'node:perf_hooks'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'

const latencyBucketsSeconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
const sizeBuckets = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000]

/** One line of the generated metrics reference. */
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
    'Messages sent by outcome: stored, duplicate, or the code of the refusal.',
    ['outcome'],
  )
  readonly ackSeconds = this.#histogram(
    'chorus_ack_seconds',
    'From the arrival of a send to its acknowledgement.',
    latencyBucketsSeconds,
  )
  readonly deliverySeconds = this.#histogram(
    'chorus_delivery_seconds',
    'From the commit of a change to its hand-over to the connections of this server.',
    latencyBucketsSeconds,
  )
  readonly appendBatchRows = this.#histogram('chorus_append_batch_rows', 'Rows committed together.', sizeBuckets)
  readonly deliveryBatchChanges = this.#histogram(
    'chorus_delivery_batch_changes',
    'Changes that left in one event.',
    sizeBuckets,
  )
  readonly queueDepth = this.#gauge('chorus_queue_depth', 'Entries waiting in a queue of the server.', ['queue'])
  readonly repairedChanges = this.#counter(
    'chorus_repaired_changes_total',
    'Changes that no hint announced, by what found them: gap or sweep. Near zero in health.',
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
    'Messages between servers that came to nothing. Going out: away, queue, failed, unsendable. Coming in, refused for their size, version, length, hmac, header or channel.',
    ['reason'],
  )
  readonly busGaps = this.#counter(
    'chorus_bus_gaps_total',
    'Times when something may have been missed between servers, each followed by a sweep, by cause: connected, moved, late.',
    ['cause'],
  )
  readonly busProbeSeconds = this.#histogram(
    'chorus_bus_probe_seconds',
    'From the publishing of a probe to its return by the subscription.',
    latencyBucketsSeconds,
  )
  readonly presenceLeases = this.#counter(
    'chorus_presence_leases_total',
    'Presence leases taken, by cause: start, lost (it had ended or was gone), doubt (Redis was away or did not answer). Every one but the first means that all users of a part were written again.',
    ['cause'],
  )
  readonly presenceUnreachable = this.#gauge(
    'chorus_presence_unreachable_parts',
    'Parts of the users whose presence is unknown because Redis cannot be asked.',
    [],
  )
  readonly stalls = this.#counter(
    'chorus_stalls_total',
    'Times when this server stood still for more than a second, and swept before it delivered again.',
    [],
  )
  readonly prefersMemory = this.#gauge(
    'chorus_prefers_memory',
    'Has this server so little to do that it collects garbage and gives memory back? 1 or 0. What that costs shows in the lag of the event loop.',
    [],
  )
  readonly outboundBytes = this.#gauge(
    'chorus_outbound_bytes',
    'Bytes that clients have not read yet, frames shared by many counted once.',
    [],
  )
  readonly slowCloses = this.#counter(
    'chorus_slow_closes_total',
    'Connections closed because they did not read, by the bound they met: bytes, time or server.',
    ['bound'],
  )
  readonly rateLimited = this.#counter(
    'chorus_rate_limited_total',
    'Requests and connections over a limit, by the limit.',
    ['limit'],
  )
  readonly limitReports = this.#counter(
    'chorus_limit_reports_total',
    'Reports of what users took here to what all servers count together: answered, failed, or dropped for want of room.',
    ['outcome'],
  )
  readonly cacheReads = this.#counter(
    'chorus_cache_reads_total',
    'Reads of what is kept to spare the database. local: in this process; in Redis: hit, miss, away, refused (a seal that is not ours) or distrusted (there, and not counting right now); read: asked of the database.',
    ['cache', 'outcome'],
  )
  readonly consumerLagSeconds = this.#gauge(
    'chorus_consumer_lag_seconds',
    'Age of the oldest change that a consumer of the log has not handled, at the server that runs it.',
    ['consumer'],
  )
  readonly consumerLagRows = this.#gauge(
    'chorus_consumer_lag_rows',
    'Changes that a consumer of the log has not handled, counted up to 1000, at the server that runs it.',
    ['consumer'],
  )
  readonly jobsDue = this.#gauge('chorus_jobs_due', 'Jobs in the database that wait: webhook or mail.', ['kind'])
  readonly jobsOldestSeconds = this.#gauge(
    'chorus_jobs_oldest_seconds',
    'How long the job that has been due for longest waits.',
    ['kind'],
  )
  readonly webhookDeliveries = this.#counter(
    'chorus_webhook_deliveries_total',
    'Attempts to deliver webhooks by outcome: delivered, retried or dead.',
    ['outcome'],
  )
  readonly webhookDeadLetters = this.#gauge('chorus_webhook_dead_letters', 'Webhooks that were given up.', [])
  readonly webhooksDisabled = this.#counter(
    'chorus_webhooks_disabled_total',
    'Endpoints disabled by the server: gone (it answered 410) or failing (it accepted nothing for too long).',
    ['reason'],
  )
  readonly mails = this.#counter(
    'chorus_mails_total',
    'Mails by kind and what became of them: sent, ready (to be tried again), refused, void (nothing left to say) or unknown.',
    ['kind', 'state'],
  )
  readonly originRefusals = this.#counter(
    'chorus_origin_refusals_total',
    'Requests refused for where they came from.',
    [],
  )
  readonly databaseErrors = this.#counter(
    'chorus_database_errors_total',
    'Statements that failed for want of the database.',
    ['kind'],
  )
  readonly httpRequests = this.#counter('chorus_http_requests_total', 'HTTP requests answered.', [
    'method',
    'route',
    'status',
  ])
  readonly httpRequestSeconds = this.#histogram(
    'chorus_http_request_seconds',
    'From the request to the end of its answer, streams left out.',
    latencyBucketsSeconds,
    ['route'],
  )
  readonly passwordSeconds = this.#histogram(
    'chorus_password_hash_seconds',
    'Duration of one password hash, without the wait for its turn.',
    latencyBucketsSeconds,
  )
  readonly ready = this.#gauge('chorus_ready', 'May this server get traffic? 1 or 0.', [])
  readonly partUp = this.#gauge(
    'chorus_part_up',
    'Can what the server stands on be used? 1 or 0, by part: database, redis, bus (publishing and subscribing).',
    ['part'],
  )
  readonly sweepAgeSeconds = this.#gauge(
    'chorus_sweep_age_seconds',
    'How long ago the last sweep began that saw everything: what was lost on the bus comes this late.',
    [],
  )
  readonly oldestTransactionSeconds = this.#gauge(
    'chorus_oldest_transaction_seconds',
    'How long the oldest transaction that writes has been open in this Postgres; cursors and sweeps do not move past it.',
    [],
  )
  readonly movesAsked = this.#counter(
    'chorus_moves_asked_total',
    'Connections asked to move to another server, by reason: stopping, or cut-off (from the database).',
    ['reason'],
  )
  readonly canaryReceived = this.#counter(
    'chorus_canary_received_total',
    'Messages of the canary that came here, by the server that sent them and the transport they came over.',
    ['from', 'transport'],
  )
  readonly canaryLost = this.#counter(
    'chorus_canary_lost_total',
    'Acknowledged messages of the canary that did not come here within 30 s.',
    ['from', 'transport'],
  )
  readonly canaryDoubled = this.#counter(
    'chorus_canary_doubled_total',
    'Messages of the canary that came here twice over one connection.',
    ['from', 'transport'],
  )
  readonly canaryReordered = this.#counter(
    'chorus_canary_reordered_total',
    'Messages of the canary that came here behind a later one.',
    ['from', 'transport'],
  )
  readonly canarySeconds = this.#histogram(
    'chorus_canary_seconds',
    'From before the sending of a message of the canary to its arrival here, over the way that clients take.',
    latencyBucketsSeconds,
    ['from', 'transport'],
  )

  constructor() {
    this.#loopDelay.enable()
    const loopDelay = this.#loopDelay
    this.#gauge(
      'chorus_event_loop_lag_seconds',
      'Delay of the event loop since the last scrape.',
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

  /** Returns the metrics in Prometheus text format. */
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
