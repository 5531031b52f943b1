/**
 * The canary: a synthetic user on every server that continuously exchanges messages with the
 * canaries of the other servers. It takes the same path as clients: sign-in by cookie, sending over
 * Socket.IO, the log, the bus, and receiving over Socket.IO and Server-Sent Events. So the latency
 * and any lost, doubled or reordered messages are measured for each pair of servers and each
 * transport.
 *
 * It costs one small message per server every ten seconds. The canaries share a conversation that
 * no user can see, and its old messages are deleted. Every failure is retried later: a canary never
 * disturbs the chat.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { ChorusError, type Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { type Authenticator, hashToken } from '../auth/authenticator.ts'
import type { CommandTable } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import {
  type CanaryPlace,
  deleteOldCanaryMessages,
  ensureCanaryUser,
  proposeCanaryPlace,
  readCanaryPlace,
} from '../database/canary.ts'
import { insertSession } from '../accounts/sessions.ts'
import type { Clock, Timer } from '../support/clock.ts'
import { CanaryLedger } from './ledger.ts'
import { type Link, type LinkOptions, openEventLink, openSocketLink, type SocketLink } from './links.ts'

export interface CanaryOptions {
  readonly parts: Parts
  readonly commands: Pick<CommandTable, 'put-member'>
  readonly authenticator: Pick<Authenticator, 'cookieName' | 'signer'>
  readonly clock: Clock
  /** Returns the time by the database's clock, which is the same on every server. */
  readonly now: () => Date
  /** Base URL of this server. */
  readonly url: string
}

export const canaryTimings = {
  intervalMs: 10_000,
  retryMinMs: 1_000,
  retryMaxMs: 60_000,
  refreshIntervalMs: 600_000,
  /** Age at which the canary replaces its session, well before the session expires. */
  renewAfterMs: 20 * 86_400_000,
} as const

type Transport = 'websocket' | 'sse'

/** Data of the canary, stored in the `data` of each message that it sends. */
interface Note {
  readonly from: string
  readonly boot: string
  readonly number: number
  readonly sentAt: string
}

export class Canary {
  readonly #options: CanaryOptions
  /** Watchers of received messages, one for each transport, while the canary runs. */
  readonly #watchers: Watcher[] = []
  readonly #timers = new Map<string, Timer>()
  #socket: SocketLink | undefined
  #isStopped = false
  #failures = 0

  private constructor(options: CanaryOptions) {
    this.#options = options
  }

  /** Starts the canary in the background. */
  static start(options: CanaryOptions): Canary {
    const canary = new Canary(options)
    canary.#begin()
    return canary
  }

  stop(): void {
    this.#isStopped = true
    this.#land()
  }

  #land(): void {
    for (const timer of this.#timers.values()) timer.cancel()
    for (const watcher of this.#watchers.splice(0)) watcher.stop()
    this.#socket = undefined
  }

  /** Runs `run` after the delay. A new timer replaces the pending one of the same name. */
  #after(name: string, delayMs: number, run: () => Promise<void>): void {
    if (this.#isStopped) return
    this.#timers.get(name)?.cancel()
    this.#timers.set(
      name,
      this.#options.clock.setTimer(
        () =>
          void run().catch((error: unknown) => {
            this.#options.parts.logger.debug({ err: error }, 'an action of the canary failed')
          }),
        delayMs,
      ),
    )
  }

  #begin(): void {
    this.#settle().then(
      (settled) => {
        if (!this.#isStopped) this.#fly(settled)
      },
      (error: unknown) => {
        this.#options.parts.logger.warn({ err: error }, 'unable to start the canary; trying again later')
        this.#after('begin', this.#retryMs(), async () => this.#begin())
      },
    )
  }

  #retryMs(): number {
    const ceilingMs = Math.min(canaryTimings.retryMaxMs, canaryTimings.retryMinMs * 2 ** this.#failures++)
    return ceilingMs * (0.5 + Math.random() / 2)
  }

  /** Creates the canary's user, its membership and its own session. */
  async #settle(): Promise<{ place: CanaryPlace; cookie: string }> {
    const { parts, authenticator } = this.#options
    const user = await ensureCanaryUser(parts.database, uuidv7(), parts.serverName)
    // Record the id of the canaries' conversation before it contains any message, so that no reader
    // of the log takes these messages for users' messages.
    const place =
      (await readCanaryPlace(parts.database)) ??
      (await proposeCanaryPlace(parts.database, { conversation: uuidv7(), owner: user }))
    await this.#join(place, user)

    const token = randomBytes(32).toString('base64url')
    const tokenHash = hashToken(token)
    await insertSession(parts.database, { id: uuidv7(), userId: user, tokenHash, userAgent: 'chorus canary' })
    return {
      place,
      cookie: `${authenticator.cookieName}=${encodeURIComponent(authenticator.signer.sign(token))}`,
    }
  }

  async #join({ conversation, owner }: CanaryPlace, user: Id): Promise<void> {
    const { parts, commands } = this.#options
    const asOwner = { parts, actor: { userId: owner, sessionId: '' }, address: '', userAgent: null }
    try {
      await commands['put-member'].run(asOwner, { conversation, user })
      return
    } catch (error) {
      if (!(error instanceof ChorusError) || error.code !== 'not-found') throw error
    }
    // The conversation does not exist yet. When two servers create it at once, the second attempt
    // is refused because the id exists. That server joins it at its next attempt.
    const members = [...new Set([owner, user])]
    const create = {
      op: 'create',
      conversation,
      actor: owner,
      kind: 'group',
      name: 'Canaries',
      directKey: null,
    } as const
    await parts.log.apply({ ...create, members })
    for (const member of members) parts.feeds.announceMembership(conversation, member)
  }

  #fly({ place, cookie }: { place: CanaryPlace; cookie: string }): void {
    const { url } = this.#options
    this.#failures = 0
    const watch = (transport: Transport, open: (options: LinkOptions) => Link): void => {
      this.#watchers.push(
        new Watcher({
          open: (options) => open({ ...options, url, cookie }),
          ledger: this.#ledger(transport),
          conversation: place.conversation,
          canary: this.#options,
          transport,
        }),
      )
    }
    watch('websocket', (options) => (this.#socket = openSocketLink(options)))
    watch('sse', openEventLink)
    this.#sendNext(place.conversation, randomUUID(), 1)
    this.#after('renew', canaryTimings.renewAfterMs, async () => {
      this.#land()
      this.#begin()
    })
    this.#tend(place)
  }

  #ledger(transport: Transport): CanaryLedger {
    const { metrics } = this.#options.parts
    return new CanaryLedger({
      received: (from) => metrics.canaryReceived.inc({ from, transport }),
      lost: (from) => metrics.canaryLost.inc({ from, transport }),
      doubled: (from) => metrics.canaryDoubled.inc({ from, transport }),
      reordered: (from) => metrics.canaryReordered.inc({ from, transport }),
    })
  }

  /**
   * Sends the message with this number after a delay, repeats it until it is acknowledged, and then
   * sends the next number.
   */
  #sendNext(conversation: Id, boot: string, number: number): void {
    const { parts, now } = this.#options
    let message: object | undefined
    const attempt = async (): Promise<void> => {
      try {
        if (this.#socket === undefined) throw new Error('the canary has no connection')
        const note: Note = { from: parts.serverName, boot, number, sentAt: now().toISOString() }
        message ??= { conversation, clientId: randomUUID(), text: 'canary', data: { canary: note } }
        const answer = await this.#socket.ask('send', message)
        if (answer.ok !== true) throw new Error('the server refused a message of the canary')
      } catch (error) {
        this.#after('send', canaryTimings.retryMinMs * (0.5 + Math.random()), attempt)
        throw error
      }
      this.#sendNext(conversation, boot, number + 1)
    }
    this.#after(
      'send',
      number === 1 ? canaryTimings.retryMinMs : canaryTimings.intervalMs * (0.9 + Math.random() / 5),
      attempt,
    )
  }

  #tend(place: CanaryPlace): void {
    this.#after('tend', canaryTimings.refreshIntervalMs * (0.5 + Math.random()), async () => {
      this.#tend(place)
      await deleteOldCanaryMessages(this.#options.parts.database, place.conversation)
    })
  }
}

type WatchedLinkOptions = Pick<LinkOptions, 'cursor' | 'onEvent' | 'onEnd'>

interface WatcherOptions {
  readonly open: (options: WatchedLinkOptions) => Link
  readonly ledger: CanaryLedger
  readonly conversation: Id
  readonly canary: CanaryOptions
  readonly transport: Transport
}

/**
 * Keeps one connection open, resumes it after each end, and records received messages in its
 * ledger.
 */
class Watcher {
  readonly #options: WatcherOptions
  #link: Link | undefined
  #cursor: string | undefined
  #timer: Timer | undefined
  #settling: Timer | undefined
  #isStopped = false
  #failures = 0

  constructor(options: WatcherOptions) {
    this.#options = options
    this.#open()
    this.#settle()
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#settling?.cancel()
    this.#link?.close()
  }

  #open(): void {
    const { open, ledger } = this.#options
    if (this.#cursor === undefined) ledger.restart()
    else ledger.resume()
    this.#link = open({
      cursor: this.#cursor,
      onEvent: (name, payload) => this.#onEvent(name, payload),
      onEnd: () => this.#again(),
    })
  }

  #again(): void {
    if (this.#isStopped) return
    const ceilingMs = Math.min(canaryTimings.retryMaxMs, canaryTimings.retryMinMs * 2 ** this.#failures++)
    this.#timer = this.#options.canary.clock.setTimer(() => this.#open(), ceilingMs * (0.5 + Math.random() / 2))
  }

  #settle(): void {
    const { canary, ledger } = this.#options
    this.#settling = canary.clock.setTimer(() => {
      ledger.settle(canary.clock.nowMs())
      this.#settle()
    }, canaryTimings.intervalMs)
  }

  #onEvent(name: string, payload: unknown): void {
    switch (name) {
      case 'ready':
      case 'checkpoint':
        this.#failures = 0
        this.#cursor = (payload as { cursor: string }).cursor
        return
      case 'reset':
        this.#cursor = undefined
        this.#options.ledger.restart()
        return
      case 'conversation':
        // The client missed too many changes to receive them all. The missing messages do not count
        // as lost.
        if ((payload as { limited?: boolean }).limited === true) this.#options.ledger.restart()
        return
      case 'changes':
        this.#onChanges(payload as Changes)
        return
      default:
        return
    }
  }

  #onChanges({ conversation, changes }: Changes): void {
    const { canary, ledger, transport } = this.#options
    if (conversation !== this.#options.conversation) return
    for (const { seq, message } of changes) {
      const note = message?.data?.canary
      if (note === undefined || !ledger.receive(seq, note, canary.clock.nowMs())) continue
      const tookMs = canary.now().getTime() - Date.parse(note.sentAt)
      // The clocks of two servers differ by a few milliseconds, so the difference may be negative.
      canary.parts.metrics.canarySeconds.observe({ from: note.from, transport }, Math.max(0, tookMs) / 1_000)
    }
  }
}

interface Changes {
  readonly conversation: Id
  readonly changes: readonly { readonly seq: number; readonly message?: { readonly data?: { canary?: Note } | null } }[]
}
