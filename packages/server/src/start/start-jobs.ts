/**
 * Connects the consumers of the log, the job queue and the workers. A consumer reads a page of the
 * log, stores the due work (mails, webhooks) in the database, and adds jobs to the queue. A worker
 * takes a job and does the work. The dispatcher adds jobs again for work that no worker has taken.
 * Every server runs all these parts; leases and claims in the database decide which server does
 * what.
 */
import type { Id, PresenceStatus } from '@chorus/protocol'
import type { Config } from '../config/config.ts'
import { Dispatcher, type DueSource } from '../jobs/dispatcher.ts'
import { type ConsumedLog, LogConsumer } from '../jobs/log-consumer.ts'
import type { Mailer } from '../jobs/mailer.ts'
import { MailWorker } from '../jobs/mail-worker.ts'
import type { Job, JobQueue } from '../jobs/queue.ts'
import { LocalQueue } from '../jobs/queue-local.ts'
import { RedisQueue } from '../jobs/queue-redis.ts'
import { sendWebhook } from '../jobs/send-webhook.ts'
import { handOver } from '../jobs/smtp-line.ts'
import { keyOfLane, laneOfKey, WebhookWorker } from '../jobs/webhook-worker.ts'
import {
  type ConsumerLease,
  type ConsumerName,
  type ConsumerPage,
  historyOf,
  openConsumerLog,
} from '../log/consumer-log.ts'
import type { Database } from '../database/database.ts'
import * as mail from '../jobs/mail.ts'
import { readRange } from '../log/read-changes.ts'
import { readSetting } from '../database/settings.ts'
import * as webhooks from '../jobs/webhooks.ts'
import type { Clock } from '../support/clock.ts'
import type { Logger } from '../support/logger.ts'
import type { Metrics } from '../support/metrics.ts'
import type { Redis } from '../redis/redis.ts'

export interface JobsOptions {
  readonly config: Pick<Config, 'redisUrl' | 'webhookGiveUpS' | 'smtpUrl' | 'mailFrom' | 'mailDelayS' | 'publicUrl'>
  readonly database: Database
  readonly epoch: () => string
  readonly redis: Redis | undefined
  /** Returns the database's time. */
  readonly now: () => Date
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Metrics
  /** Delay before the first retry of a failed webhook or mail. Tests set a short delay. */
  readonly firstDelayMs?: number
  /** Returns a user's presence over all servers. */
  readonly statusOf: (user: Id) => Promise<PresenceStatus>
}

export interface Jobs {
  /** Interface for commands that send mail. Undefined when mail is not configured. */
  readonly mail: Mailer | undefined
  /** Key that signs the unsubscribe links of digests. */
  readonly mailKey: string
  /** Returns why jobs work in degraded mode, or undefined when they are healthy. */
  problem(): string | undefined
  stop(): Promise<void>
}

export async function startJobs(options: JobsOptions): Promise<Jobs> {
  const { config, database, epoch, redis, clock, logger } = options
  const mailKey = await readSetting(database, 'mail-key')
  const addJobs = (jobs: readonly Job[]): void => queue.add(jobs)

  const webhookWorker = openWebhookWorker(options, addJobs)
  const mailWorker = openMailWorker(options, mailKey, addJobs)

  const work = async ({ kind, key }: Job): Promise<void> => {
    switch (kind) {
      case 'webhook': {
        const lane = laneOfKey(key)
        if (lane !== undefined) await webhookWorker.work(lane)
        return
      }
      case 'digest':
        return mailWorker?.workOnPerson(key)
      case 'mail':
        return mailWorker?.workOnMail(key)
    }
  }
  const queue: JobQueue =
    redis === undefined || config.redisUrl === undefined
      ? new LocalQueue({ work, clock })
      : new RedisQueue({ redis, url: config.redisUrl, work, clock, logger })

  const consumers = [
    follow(
      options,
      'webhooks',
      () => webhooks.hasEndpoints(database),
      async (lease, page) => {
        const lanes = await webhooks.storeWebhookPage(database, lease, page, epoch())
        if (lanes === undefined) return 'lost'
        addJobs(lanes.map((lane) => ({ kind: 'webhook', key: keyOfLane(lane) })))
        return 'stored'
      },
    ),
  ]
  if (mailWorker !== undefined) {
    const delayMs = config.mailDelayS * 1_000
    consumers.push(
      follow(
        options,
        'mail',
        () => mail.hasDigestReaders(database),
        (lease, page) => mail.storeMailPage(database, lease, page, delayMs),
      ),
    )
  }
  const sources = [webhookSource(options), ...(mailWorker === undefined ? [] : [mailSource(options)])]
  const dispatcher = new Dispatcher({ sources, addJobs, clock, logger })
  for (const consumer of consumers) consumer.start()
  dispatcher.start()

  return {
    mail: mailWorker && { hint: (id) => addJobs([{ kind: 'mail', key: id }]) },
    mailKey,
    problem: () => queue.problem(),
    stop: async () => {
      await Promise.all([dispatcher.stop(), ...consumers.map((consumer) => consumer.stop())])
      webhookWorker.stop()
      await queue.close()
    },
  }
}

function openWebhookWorker(
  { config, database, now, clock, logger, metrics, firstDelayMs }: JobsOptions,
  addJobs: (jobs: readonly Job[]) => void,
): WebhookWorker {
  return new WebhookWorker({
    records: {
      claim: (lane, claim, leaseMs) => webhooks.claimLane(database, lane, claim, leaseMs),
      settle: (lane, claim, seq, settlement, leaseMs) =>
        webhooks.settleDelivery(database, lane, claim, seq, settlement, leaseMs),
      release: (lane, claim) => webhooks.releaseLane(database, lane, claim),
      disable: (endpoint, reason) => webhooks.disableEndpoint(database, endpoint, reason),
      readChange: async (conversation, seq) =>
        (await readRange(database, { conversation, from: seq, to: seq }, 1))[0]?.json,
    },
    send: sendWebhook,
    now,
    clock,
    logger,
    giveUpAfterMs: config.webhookGiveUpS * 1_000,
    ...(firstDelayMs !== undefined && { firstDelayMs }),
    addJobs,
    observer: {
      ended: (outcome) => metrics.webhookDeliveries.inc({ outcome }),
      disabled: (reason) => metrics.webhooksDisabled.inc({ reason }),
    },
  })
}

function follow(
  { database, epoch, clock, logger, metrics }: JobsOptions,
  consumer: ConsumerName,
  isNeeded: () => Promise<boolean>,
  store: (lease: ConsumerLease, page: ConsumerPage) => Promise<'stored' | 'lost'>,
): LogConsumer<ConsumerLease, ConsumerPage> {
  const log: ConsumedLog<ConsumerLease, ConsumerPage> = openConsumerLog(database, consumer)
  return new LogConsumer({
    log,
    store,
    isNeeded,
    history: () => historyOf(epoch()),
    clock,
    logger,
    onLag: (rows, ageMs) => {
      metrics.consumerLagRows.set({ consumer }, rows)
      metrics.consumerLagSeconds.set({ consumer }, ageMs / 1_000)
    },
  })
}

function openMailWorker(
  { config, database, statusOf, logger, metrics, firstDelayMs }: JobsOptions,
  key: string,
  addJobs: (jobs: readonly Job[]) => void,
): MailWorker | undefined {
  const { smtpUrl, mailFrom, publicUrl, mailDelayS } = config
  if (smtpUrl === undefined || mailFrom === undefined || publicUrl === undefined) return undefined
  return new MailWorker({
    records: {
      claimDigest: (user, claim) => mail.claimDigest(database, user, claim),
      begin: (id, claim, leaseMs) => mail.beginMail(database, id, claim, leaseMs),
      settle: (id, claim, end) => mail.settleMail(database, id, claim, end),
      readDigest: (id) => mail.readDigest(database, id),
      startConfirmation: (link) => mail.startConfirmation(database, link),
    },
    handOver: (outgoing) => handOver(smtpUrl, outgoing),
    presenceOf: statusOf,
    from: mailFrom,
    publicUrl,
    key,
    delayMs: mailDelayS * 1_000,
    addJobs,
    logger,
    observer: { ended: (kind, state) => metrics.mails.inc({ kind, state }) },
    ...(firstDelayMs !== undefined && { firstDelayMs }),
  })
}

function webhookSource({ database, metrics }: JobsOptions): DueSource {
  return {
    takeDue: async (due) =>
      (await webhooks.takeDueLanes(database, due)).map((lane) => ({ kind: 'webhook', key: keyOfLane(lane) })),
    measure: async () => {
      const { due, oldestMs, dead } = await webhooks.countDeliveries(database)
      metrics.jobsDue.set({ kind: 'webhook' }, due)
      metrics.jobsOldestSeconds.set({ kind: 'webhook' }, oldestMs / 1_000)
      metrics.webhookDeadLetters.set(dead)
    },
    tidy: () => webhooks.tidyDeliveries(database),
  }
}

function mailSource({ database, metrics, logger }: JobsOptions): DueSource {
  return {
    takeDue: async (due) => {
      const lost = await mail.giveUpLostMails(database)
      if (lost > 0) {
        metrics.mails.inc({ kind: 'digest', state: 'unknown' }, lost)
        logger.warn({ mails: lost }, 'a server stopped while it sent mails; they may have been sent: not sent again')
      }
      const [people, ready] = [await mail.takeDuePeople(database, due), await mail.takeReadyMails(database, due)]
      return [
        ...people.map((key): Job => ({ kind: 'digest', key })),
        ...ready.map((key): Job => ({ kind: 'mail', key })),
      ]
    },
    measure: async () => {
      const { ready, oldestMs } = await mail.countMails(database)
      metrics.jobsDue.set({ kind: 'mail' }, ready)
      metrics.jobsOldestSeconds.set({ kind: 'mail' }, oldestMs / 1_000)
    },
    tidy: () => mail.tidyMails(database),
  }
}
