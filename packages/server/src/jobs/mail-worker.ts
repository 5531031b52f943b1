/**
 * Sends digests of unread messages to users who were away, and mails that confirm an address.
 *
 * A digest never contains the same message twice: before anything is sent, one database statement
 * creates the mail and records up to which seq each conversation was mailed (the watermarks). Only
 * the worker that changes the state of a mail to `sending` hands it to the mail server, once. The
 * mail returns to `ready` only when the mail server certainly did not accept it. If a Chorus server
 * dies while it sends a mail, that mail may be lost, but its messages stay unread in Chorus.
 */
import { randomUUID } from 'node:crypto'
import type { PresenceStatus } from '@chorus/protocol'
import type { Logger } from '../support/logger.ts'
import { createConfirmationToken, signUnsubscribe } from './mail-links.ts'
import { type ConversationNews, type MailText, writeConfirmation, writeDigest } from './mail-texts.ts'
import type { Job } from './queue.ts'
import { addressIn, type HandOver, type OutgoingMail } from './smtp-line.ts'

export const mailWorkerLimits = {
  /**
   * Delay before a user whose presence is unknown is checked again. It is never longer than the
   * delay of mails.
   */
  unknownDelayMs: 60_000,
  /** Maximum time to hand one mail to the mail server. After that its outcome is unknown. */
  claimMs: 5 * 60_000,
  /** Maximum number of mails that one server hands to the mail server at a time. */
  linesMax: 4,
  crowdedDelayMs: 500,
  firstDelayMs: 30_000,
  delayMaxMs: 3_600_000,
  giveUpAfterMs: 24 * 3_600_000,
  confirmationValidMs: 24 * 3_600_000,
  /** Minimum time between two digests to a user, in multiples of the mail delay. */
  gapFactor: 6,
} as const

interface Begun {
  readonly id: string
  readonly user: string
  readonly kind: 'digest' | 'confirmation'
  readonly address: string
  readonly attempts: number
  readonly ageMs: number
}

interface End {
  readonly state: 'ready' | 'sent' | 'refused' | 'void' | 'unknown'
  readonly error: string | null
  readonly delayMs: number
}

/** Database operations of the mail worker; implemented in jobs/mail.ts. */
export interface MailRecords {
  claimDigest(
    user: string,
    claim: { mail: string; isConnected: boolean; delayMs: number; gapMs: number },
  ): Promise<string | undefined>
  begin(id: string, claim: string, leaseMs: number): Promise<Begun | undefined>
  settle(id: string, claim: string, end: End): Promise<void>
  readDigest(id: string): Promise<readonly ConversationNews[]>
  startConfirmation(link: { user: string; address: string; hash: Buffer; validMs: number }): Promise<boolean>
}

export interface MailWorkerOptions {
  readonly records: MailRecords
  readonly handOver: (mail: OutgoingMail) => Promise<HandOver>
  /** Returns the presence of a user over all servers. */
  readonly presenceOf: (user: string) => Promise<PresenceStatus>
  readonly from: string
  readonly publicUrl: string
  /** Key that signs the unsubscribe links of digests. */
  readonly key: string
  /** Age at which an unread message is sent by mail. */
  readonly delayMs: number
  readonly addJobs: (jobs: readonly Job[]) => void
  readonly logger: Logger
  readonly observer: { ended(kind: 'digest' | 'confirmation', state: End['state']): void }
  /** Delay before the first retry. Tests set a short one. */
  readonly firstDelayMs?: number
  readonly gapMs?: number
}

export class MailWorker {
  readonly #options: MailWorkerOptions
  #lines = 0

  constructor(options: MailWorkerOptions) {
    this.#options = options
  }

  /** Checks one user, and creates and sends a digest of the messages that the user missed. */
  async workOnPerson(user: string): Promise<void> {
    const { records, presenceOf, delayMs, logger, gapMs } = this.#options
    try {
      const presence = await presenceOf(user)
      const mail = await records.claimDigest(user, {
        mail: randomUUID(),
        // While Redis is down, the user may be connected to another server. So unknown presence
        // counts as connected.
        isConnected: presence !== 'offline',
        delayMs: presence === 'unknown' ? Math.min(delayMs, mailWorkerLimits.unknownDelayMs) : delayMs,
        gapMs: gapMs ?? mailWorkerLimits.gapFactor * delayMs,
      })
      if (mail !== undefined) await this.workOnMail(mail)
    } catch (error) {
      // The user's entry in `mail_due` stays, so a later run tries again.
      logger.warn({ err: error, user }, 'unable to read unread messages for mails; trying again')
    }
  }

  async workOnMail(id: string): Promise<void> {
    const { records, addJobs, logger } = this.#options
    if (this.#lines >= mailWorkerLimits.linesMax) {
      addJobs([{ kind: 'mail', key: id, delayMs: mailWorkerLimits.crowdedDelayMs * (1 + Math.random()) }])
      return
    }
    this.#lines++
    try {
      const claim = randomUUID()
      const mail = await records.begin(id, claim, mailWorkerLimits.claimMs)
      if (mail === undefined) return
      const end = await this.#send(mail)
      await records.settle(id, claim, end)
      this.#report(mail, end)
    } catch (error) {
      logger.warn({ err: error, mail: id }, 'unable to store the result of a mail')
    } finally {
      this.#lines--
    }
  }

  async #send(mail: Begun): Promise<End> {
    let outgoing: OutgoingMail | undefined
    try {
      outgoing = await this.#compose(mail)
    } catch (error) {
      // The mail was not handed to the mail server yet, so a retry is safe.
      return this.#later(mail, error instanceof Error ? error.message : String(error))
    }
    if (outgoing === undefined) return { state: 'void', error: null, delayMs: 0 }
    const outcome = await this.#options.handOver(outgoing)
    switch (outcome.kind) {
      case 'accepted':
        return { state: 'sent', error: null, delayMs: 0 }
      case 'unknown':
        return { state: 'unknown', error: outcome.reason, delayMs: 0 }
      case 'not-accepted':
        return outcome.lasting
          ? { state: 'refused', error: outcome.reason, delayMs: 0 }
          : this.#later(mail, outcome.reason)
    }
  }

  #later({ attempts, ageMs }: Begun, error: string): End {
    if (ageMs > mailWorkerLimits.giveUpAfterMs) return { state: 'refused', error, delayMs: 0 }
    const firstMs = this.#options.firstDelayMs ?? mailWorkerLimits.firstDelayMs
    const delayMs = Math.min(mailWorkerLimits.delayMaxMs, firstMs * 2 ** Math.min(attempts - 1, 20))
    return { state: 'ready', error, delayMs: delayMs * (0.8 + 0.4 * Math.random()) }
  }

  /**
   * Writes the text of a mail just before it is sent. Returns undefined if the mail is no longer
   * needed.
   */
  async #compose({ id, user, kind, address }: Begun): Promise<OutgoingMail | undefined> {
    const { records, from, publicUrl, key } = this.#options
    const headers: Record<string, string> = { 'Auto-Submitted': 'auto-generated' }
    let text: MailText
    switch (kind) {
      case 'confirmation': {
        const { token, hash } = createConfirmationToken()
        const validMs = mailWorkerLimits.confirmationValidMs
        if (!(await records.startConfirmation({ user, address, hash, validMs }))) return undefined
        text = writeConfirmation(`${publicUrl}/mail/confirm?token=${token}`)
        break
      }
      case 'digest': {
        const news = await records.readDigest(id)
        if (news.length === 0) return undefined
        const unsubscribe = `${publicUrl}/mail/unsubscribe?token=${signUnsubscribe(user, key)}`
        text = writeDigest(news, { publicUrl, unsubscribe })
        headers['List-Unsubscribe'] = `<${unsubscribe}>`
        headers['List-Unsubscribe-Post'] = 'List-Unsubscribe=One-Click'
        break
      }
    }
    const domain = addressIn(from).split('@').at(-1) ?? 'localhost'
    return { messageId: `<${id}@${domain}>`, from, to: address, headers, ...text }
  }

  #report({ id, kind }: Begun, { state, error, delayMs }: End): void {
    const { observer, logger, addJobs } = this.#options
    observer.ended(kind, state)
    if (state === 'ready') addJobs([{ kind: 'mail', key: id, delayMs: delayMs + 50 }])
    if (error === null) return
    // The reason is text of the mail server and may contain the address, so it is logged only at
    // debug level.
    logger.warn(
      { mail: id, kind, state },
      state === 'ready' ? 'the mail server did not accept a mail; trying again' : 'a mail reached its final state',
    )
    logger.debug({ mail: id, error }, 'response of the mail server')
  }
}
