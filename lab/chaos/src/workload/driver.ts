/**
 * Runs the users' activity. Clients chat in busy rooms and direct conversations, edit, react, read,
 * join and leave. The driver also revokes sessions and restarts and kills clients. Everything is
 * drawn from the seed and recorded.
 *
 * Guarantee: the number of waiting messages is bounded. A bug in the driver ends the run, so it
 * cannot look like a fault of the servers.
 */
import type { HttpUser } from '@chorus/testkit'
import type { Actor } from '../clients/actor.ts'
import { callForOutcome, readPage } from '../clients/http-calls.ts'
import { CursorLoot, HostileClient } from '../clients/hostile-client.ts'
import { signedIn } from '../clients/person.ts'
import type { Person, SessionSeed } from '../clients/person.ts'
import { RawActor } from '../clients/raw-actor.ts'
import type { Recorder } from '../clients/recorder.ts'
import { SdkActor } from '../clients/sdk-actor.ts'
import { createSocketIoWire } from '../clients/socket-io-wire.ts'
import { createSseWire } from '../clients/sse-wire.ts'
import { Random } from '../random/random.ts'
import type { ActorPlan, DriverJob, DriverStatus, Top } from './job.ts'
import type { ConversationRole, ConversationSeed } from './conversations.ts'

const tickMs = 20
const burstTickMs = 10
const burstWaitingPerActor = 24
const churnEveryMs = 700
const restartEveryMs = 1_500
const revokeEveryMs = 6_000
/** Time for which a revoked client is watched before the driver stops it. */
const revokedWatchMs = 3_000
const tabLivesMs = 6_000
const removedTryChance = 0.3
/**
 * Share of removed members that rejoin at once, after `quickReturnSends` messages. A server may
 * miss both the removal and the rejoin.
 */
const quickReturnChance = 0.4
const quickReturnSends = 15
const hostileClients = 2
const awaitEveryMs = 20
/**
 * Maximum number of pages that an existing client reads of each conversation at the end. A fresh
 * client reads all pages.
 */
const finalPagesMax = 20
const finalReadersTogether = 6

const roleWeights: Readonly<Record<ConversationRole, number>> = { hot: 30, group: 25, direct: 20, churn: 20, bulk: 5 }

type Deed = 'send' | 'edit' | 'delete' | 'react' | 'unreact' | 'page' | 'read' | 'type'
const deeds: readonly (readonly [Deed, number])[] = [
  ['send', 80],
  ['edit', 4],
  ['delete', 1],
  ['react', 4],
  ['unreact', 2],
  ['page', 6],
  ['read', 4],
  ['type', 2],
]

interface Seat {
  readonly plan: ActorPlan
  actor: Actor
}

export class Driver {
  readonly #job: DriverJob
  readonly #recorder: Recorder
  readonly #onProblem: (text: string) => void
  readonly #random: Random
  readonly #seats: Seat[] = []
  readonly #tabs = new Set<SdkActor>()
  readonly #hostile: HostileClient[] = []
  readonly #nextSession = new Map<number, number>()
  readonly #conversations = new Map<string, ConversationSeed>()
  /** Members who are currently removed, by conversation with churn. */
  readonly #removed = new Map<string, Set<string>>()
  #perSecond = 0
  #owed = 0
  #isBursting = false
  #isChurning = false
  #isEnded = false
  #replacements = 0
  readonly #timers: NodeJS.Timeout[] = []
  readonly #busy = new Set<string>()

  constructor(job: DriverJob, recorder: Recorder, onProblem: (text: string) => void) {
    this.#job = job
    this.#recorder = recorder
    this.#onProblem = onProblem
    this.#random = new Random(job.seed)
    for (const conversation of job.conversations) this.#conversations.set(conversation.id, conversation)
  }

  /** Starts every client. */
  async start(): Promise<void> {
    for (const plan of this.#job.actors) {
      const session = this.#takeSession(plan.person)
      if (session === undefined) throw new Error(`unable to start ${plan.name}; no session is left`)
      this.#seats.push({ plan, actor: this.#makeActor(plan, session, plan.name) })
    }
    await Promise.all(this.#seats.map(({ actor }) => actor.start()))
    this.#startHostileClients()
    this.#every(tickMs, () => this.#tick())
    this.#every(burstTickMs, () => this.#fillWindows())
    this.#every(churnEveryMs, () => this.#churnMembers())
    this.#every(restartEveryMs, () => this.#restartSomebody())
    this.#every(revokeEveryMs, () => this.#revokeSomebody())
  }

  /** Starts the hostile clients. They use members' accounts, and none of them has to catch up. */
  #startHostileClients(): void {
    const loot = new CursorLoot()
    for (const { plan } of this.#seats.slice(0, hostileClients)) {
      const session = this.#takeSession(plan.person)
      if (session === undefined) continue
      const url = this.#front(plan.front)
      const name = `hostile ${plan.name}`
      const client = new HostileClient({
        name,
        url,
        person: this.#person(plan.person),
        session,
        conversations: this.#job.conversations.map(({ id }) => id),
        recorder: this.#recorder,
        random: this.#random.branch(name),
        wires: [createSocketIoWire(url, 'websocket'), createSseWire(url)],
        loot,
      })
      this.#hostile.push(client)
      client.start()
    }
  }

  set rate(perSecond: number) {
    this.#perSecond = perSecond
  }

  set isBursting(isOn: boolean) {
    this.#isBursting = isOn
  }

  set isChurning(isOn: boolean) {
    this.#isChurning = isOn
  }

  get status(): DriverStatus {
    const { acknowledgedSends, deliveries, infos, fails } = this.#recorder
    const actors = this.#actors()
    return {
      acknowledged: acknowledgedSends,
      deliveries,
      infos,
      fails,
      waiting: actors.reduce((sum, { waitingCount }) => sum + waitingCount, 0),
      attached: actors.filter(({ isAttached }) => isAttached).length,
    }
  }

  pauseReaders(share: number, isPaused: boolean): void {
    const raw = this.#seats.map(({ actor }) => actor).filter((actor) => actor instanceof RawActor)
    for (const actor of raw.slice(0, Math.ceil(raw.length * share))) actor.pause(isPaused)
  }

  /**
   * Waits until every client that is attached now was seen connected, with each conversation of its
   * user up to the given top. A client that is detached in between counts as done. A client that
   * was complete once is not checked again, even if it restarts. Returns descriptions of the
   * clients that are behind at the timeout.
   */
  async awaitTops(tops: readonly Top[], timeoutMs: number): Promise<readonly string[]> {
    const endsAt = performance.now() + timeoutMs
    const waiting = new Set(this.#actors().filter(({ isAttached }) => isAttached))
    for (;;) {
      const behind: string[] = []
      for (const actor of waiting) {
        const lack = actor.isAttached ? describeLack(actor, tops) : undefined
        if (lack === undefined) waiting.delete(actor)
        else behind.push(lack)
      }
      if (behind.length === 0 || performance.now() > endsAt) return behind
      await pause(awaitEveryMs)
    }
  }

  /**
   * Stops the workload and waits until no message is waiting. Returns the number of messages that
   * still wait at the timeout.
   */
  async settle(timeoutMs: number): Promise<number> {
    this.#perSecond = 0
    this.#isBursting = false
    this.#isChurning = false
    const endsAt = performance.now() + timeoutMs
    await Promise.all(this.#hostile.map((client) => client.stop()))
    while (performance.now() < endsAt) {
      const isQuiet = this.status.waiting === 0 && this.#busy.size === 0
      if (isQuiet) return 0
      await pause(awaitEveryMs)
    }
    return this.status.waiting
  }

  /** Reads all conversations at the end, once as existing clients and once as fresh ones. */
  async readFinally(tops: readonly Top[]): Promise<void> {
    const readers: (() => Promise<void>)[] = []
    const mine = new Set(this.#job.actors.map(({ person }) => person))
    for (const index of mine) {
      const person = this.#person(index)
      const own = tops.filter(({ members }) => members.includes(person.id))
      readers.push(async () => {
        for (const { conversation, seq } of own) await this.#readLog(person, 0, conversation, seq, 'client')
      })
    }
    // Fresh reads use sessions that no client has used. This driver reads each conversation only
    // once that way.
    const fresh = new Set<string>()
    for (const index of mine) {
      const person = this.#person(index)
      const unread = tops.filter(({ conversation, members }) => members.includes(person.id) && !fresh.has(conversation))
      for (const { conversation } of unread) fresh.add(conversation)
      const last = person.sessions.length - 1
      readers.push(async () => {
        for (const { conversation, seq } of unread) await this.#readLog(person, last, conversation, seq, 'fresh')
      })
    }
    const next = readers.values()
    await Promise.all(
      Array.from({ length: finalReadersTogether }, async () => {
        for (const read of next) await read()
      }),
    )
  }

  async end(): Promise<void> {
    this.#isEnded = true
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#hostile.map((client) => client.stop()))
    await Promise.all(this.#actors().map((actor) => actor.stop()))
  }

  // Random choice of the next operations.

  #tick(): void {
    this.#owed = Math.min(this.#owed + (this.#perSecond * tickMs) / 1_000, 200)
    while (this.#owed >= 1) {
      this.#owed -= 1
      this.#doSomething()
    }
  }

  #doSomething(): void {
    const { actor } = this.#random.pick(this.#seats)
    const own = this.#conversationsOf(actor)
    if (own.length === 0) return
    const conversation = this.#random.pickWeighted(own.map((one) => [one, roleWeights[one.role]] as const)).id
    const deed = this.#random.pickWeighted(deeds)
    const chance = this.#random.next()
    switch (deed) {
      case 'send':
        actor.send(conversation)
        return
      case 'edit':
      case 'delete':
      case 'react':
      case 'unreact': {
        if (!(actor instanceof SdkActor)) {
          actor.send(conversation)
          return
        }
        const target = actor.pickMessage(conversation, deed === 'edit' || deed === 'delete', chance)
        if (target !== undefined) this.#track(actor.change(deed, conversation, target))
        return
      }
      case 'page':
        this.#track(this.#readNewest(actor, conversation))
        return
      case 'read':
        if (actor instanceof SdkActor) actor.markRead(conversation)
        return
      case 'type':
        if (actor instanceof SdkActor) actor.type(conversation)
        return
    }
  }

  #fillWindows(): void {
    if (!this.#isBursting) return
    for (const { actor } of this.#seats) {
      if (!(actor instanceof RawActor)) continue
      for (const { id, role } of this.#conversationsOf(actor)) {
        if (role !== 'bulk') continue
        for (let count = 0; count < 4 && actor.waitingCount < burstWaitingPerActor; count += 1) actor.send(id)
      }
    }
  }

  #churnMembers(): void {
    if (!this.#isChurning || this.#job.churned.length === 0) return
    const conversation = this.#conversations.get(this.#random.pick(this.#job.churned))
    if (conversation === undefined || this.#busy.has(conversation.id)) return
    const [ownerIndex, ...others] = conversation.members
    const owner = this.#person(ownerIndex ?? 0)
    const member = this.#person(this.#random.pick(others)).id
    const removed = this.#removed.get(conversation.id) ?? new Set<string>()
    this.#removed.set(conversation.id, removed)
    const isOut = removed.has(member)
    const returnsAtOnce = !isOut && this.#random.chance(quickReturnChance)
    this.#exclusively(conversation.id, async () => {
      if (!(await this.#changeMember(conversation.id, owner, member, isOut ? 'member-add' : 'member-remove'))) return
      if (!returnsAtOnce) return
      const senders = this.#seats.map(({ actor }) => actor).filter(({ person }) => person.id === owner.id)
      for (let count = 0; count < quickReturnSends; count += 1) for (const actor of senders) actor.send(conversation.id)
      await this.#changeMember(conversation.id, owner, member, 'member-add')
    })
  }

  /**
   * Returns whether the change may have happened. A repeated request for the same change is
   * harmless.
   */
  async #changeMember(
    conversation: string,
    owner: Person,
    member: string,
    op: 'member-add' | 'member-remove',
  ): Promise<boolean> {
    const id = this.#recorder.invoke({
      op,
      process: `${this.#job.name} owner of ${conversation}`,
      user: owner.id,
      conversation,
      member,
    })
    const isAdding = op === 'member-add'
    const outcome = await callForOutcome<{ member?: { joinedSeq?: number } } | undefined>(
      this.#httpOf(owner),
      isAdding ? 'PUT' : 'DELETE',
      `/v1/conversations/${conversation}/members/${member}`,
      isAdding ? {} : undefined,
      (body) => (body?.member?.joinedSeq === undefined ? {} : { seq: body.member.joinedSeq }),
    )
    this.#recorder.settle(op, id, outcome)
    if (outcome.type === 'fail') return false
    const removed = this.#removed.get(conversation)
    if (isAdding) removed?.delete(member)
    else removed?.add(member)
    return true
  }

  #restartSomebody(): void {
    if (!this.#isChurning) return
    const actors = this.#seats.map(({ actor }) => actor).filter((actor) => actor instanceof SdkActor)
    const fitting = actors.filter((actor) => actor.isAttached && !this.#busy.has(actor.name))
    if (fitting.length === 0) return
    const actor = this.#random.pick(fitting)
    const how = this.#random.pickWeighted([
      ['restart', 40],
      ['crash', 35],
      ['lose', 10],
      ['copied-tab', 10],
      ['shared-tab', 15],
    ] as const)
    this.#exclusively(actor.name, async () => {
      switch (how) {
        case 'restart':
          return actor.restart()
        case 'crash':
          return actor.crash()
        case 'lose':
          // One of two tabs cannot lose the store that both share.
          return actor.isSharing ? actor.restart() : actor.loseStore()
        case 'copied-tab':
          return this.#openTab(actor, 'copied')
        case 'shared-tab':
          return this.#openTab(actor, 'shared')
      }
    })
  }

  /**
   * Runs another client for a while: on a copy of the store, or on the store itself as a second
   * tab.
   */
  async #openTab(of: SdkActor, store: 'copied' | 'shared'): Promise<void> {
    this.#replacements += 1
    const seat = this.#seats.find(({ actor }) => actor === of)
    if (seat === undefined) return
    if (store === 'shared') await of.shareStore()
    if (!of.isAttached) return
    const tab = new SdkActor({
      ...this.#sdkOptions(seat.plan, of.session, `${seat.plan.name}.tab${this.#replacements}`),
      ...(store === 'shared' ? { sharesStoreOf: of } : { copyOf: of }),
    })
    this.#tabs.add(tab)
    await tab.start()
    setTimeout(() => {
      if (this.#isEnded) return
      this.#tabs.delete(tab)
      this.#track(tab.stop())
    }, tabLivesMs)
  }

  #revokeSomebody(): void {
    if (!this.#isChurning) return
    const seat = this.#random.pick(this.#seats)
    const { actor, plan } = seat
    if (!actor.isAttached || this.#busy.has(actor.name)) return
    if ([...this.#tabs].some(({ session }) => session.id === actor.session.id)) return
    const session = this.#takeSession(plan.person)
    if (session === undefined) return
    this.#exclusively(actor.name, async () => {
      const id = this.#recorder.invoke({
        op: 'revoke',
        process: `${this.#job.name} ${actor.name}`,
        user: actor.person.id,
        session: actor.session.id,
      })
      actor.doom()
      const http = this.#httpOf(actor.person)
      const outcome = await callForOutcome(http, 'DELETE', `/v1/sessions/${actor.session.id}`, undefined, () => ({}))
      this.#recorder.settle('revoke', id, outcome)
      await pause(revokedWatchMs)
      if (this.#isEnded) return
      await actor.stop()
      this.#replacements += 1
      seat.actor = this.#makeActor(plan, session, `${plan.name}.${this.#replacements}`)
      await seat.actor.start()
    })
  }

  // The operations themselves.

  async #readNewest(actor: Actor, conversation: string): Promise<void> {
    if (!actor.isAttached) return
    const id = this.#recorder.invoke({
      op: 'page',
      process: actor.name,
      user: actor.person.id,
      conversation,
      session: actor.session.id,
    })
    this.#recorder.settle(
      'page',
      id,
      await readPage(signedIn(this.#front(0), actor.person, actor.session), conversation, 'limit=50'),
    )
  }

  async #readLog(
    person: Person,
    sessionIndex: number,
    conversation: string,
    top: number,
    final: 'client' | 'fresh',
  ): Promise<void> {
    const session = person.sessions[sessionIndex]
    const http = signedIn(this.#front(0), person, session)
    const span = final === 'fresh' ? top : Math.min(top, finalPagesMax * 200)
    for (let after = top - span, hasMore = true, tries = 0; hasMore; ) {
      const id = this.#recorder.invoke({
        op: 'page',
        process: `${this.#job.name} ${final} ${person.handle}`,
        user: person.id,
        conversation,
        final,
        ...(session !== undefined && { session: session.id }),
      })
      const outcome = await readPage(http, conversation, `after=${after}&limit=200`)
      this.#recorder.settle('page', id, outcome)
      const page = outcome.type === 'ok' ? outcome.page : undefined
      if (page === undefined) {
        tries += 1
        if (tries > 5) throw new Error(`unable to read ${conversation} at the end; ${JSON.stringify(outcome)}`)
        await pause(300)
        continue
      }
      after = page.items.at(-1)?.seq ?? after
      hasMore = page.hasAfter && page.items.length > 0
    }
  }

  #actors(): Actor[] {
    return [...this.#seats.map(({ actor }) => actor), ...this.#tabs]
  }

  #conversationsOf(actor: Actor): ConversationSeed[] {
    const index = this.#job.people.indexOf(actor.person)
    return this.#job.conversations.filter(
      ({ id, members }) =>
        members.includes(index) &&
        // Removed members also try sometimes: the server must refuse them.
        (this.#removed.get(id)?.has(actor.person.id) !== true || this.#random.chance(removedTryChance)),
    )
  }

  #makeActor(plan: ActorPlan, session: SessionSeed, name: string): Actor {
    const url = this.#front(plan.front)
    const person = this.#person(plan.person)
    const raw = {
      name,
      person,
      session,
      url,
      recorder: this.#recorder,
      watched: plan.watched,
      padChars: this.#job.padChars,
    }
    switch (plan.kind) {
      case 'sdk':
      case 'sdk-sse':
        return new SdkActor(this.#sdkOptions(plan, session, name))
      case 'socket-io':
        return new RawActor({ ...raw, wire: createSocketIoWire(url, 'websocket') })
      case 'polling':
        return new RawActor({ ...raw, wire: createSocketIoWire(url, 'polling') })
      case 'sse':
        return new RawActor({ ...raw, wire: createSseWire(url) })
    }
  }

  #sdkOptions(plan: ActorPlan, session: SessionSeed, name: string): ConstructorParameters<typeof SdkActor>[0] {
    return {
      name,
      person: this.#person(plan.person),
      session,
      url: this.#front(plan.front),
      recorder: this.#recorder,
      transports: plan.kind === 'sdk' ? ['socket-io', 'sse'] : ['sse'],
      onProblem: this.#onProblem,
    }
  }

  /** Returns this person's next session that no client has used. */
  #takeSession(person: number): SessionSeed | undefined {
    const { from, to } = this.#job.spareSessions
    const index = this.#nextSession.get(person) ?? from
    if (index >= to) return undefined
    this.#nextSession.set(person, index + 1)
    return this.#person(person).sessions[index]
  }

  #httpOf(person: Person): HttpUser {
    return signedIn(this.#front(0), person)
  }

  #front(index: number): string {
    const url = this.#job.fronts[index % this.#job.fronts.length]
    if (url === undefined) throw new Error('unable to reach the servers; there is no front door')
    return url
  }

  #person(index: number): Person {
    const person = this.#job.people[index]
    if (person === undefined) throw new Error(`unable to find person ${index}`)
    return person
  }

  #every(ms: number, run: () => void): void {
    this.#timers.push(setInterval(run, ms))
  }

  /** Runs `run` and marks `name` as busy until it ends. */
  #exclusively(name: string, run: () => Promise<void>): void {
    this.#busy.add(name)
    this.#track(run().finally(() => this.#busy.delete(name)))
  }

  #track(running: Promise<void>): void {
    running.catch((error: unknown) => {
      this.#onProblem(error instanceof Error ? (error.stack ?? error.message) : String(error))
    })
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/**
 * Returns a description of what the client still lacks; undefined when it has caught up to the
 * tops.
 */
function describeLack(actor: Actor, tops: readonly Top[]): string | undefined {
  if (!actor.isReady) return `${actor.describe()} is not ready`
  for (const { conversation, seq, members } of tops) {
    if (!members.includes(actor.person.id)) continue
    const position = actor.positionOf(conversation)
    if (position === undefined || position < seq)
      return `${actor.describe()} has ${position ?? 'nothing'} of ${seq} in ${conversation}`
  }
  return undefined
}
