/**
 * Lets members and clients come and go (churn): members join and leave, clients restart and crash,
 * second tabs open, sessions are revoked. At most one such operation runs at a time for each client
 * and each conversation.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { callForOutcome } from '../clients/http-calls.ts'
import type { Person } from '../clients/person.ts'
import type { Recorder } from '../clients/recorder.ts'
import { SdkActor } from '../clients/sdk-actor.ts'
import type { Random } from '../random/random.ts'
import type { ConversationSeed } from './conversations.ts'
import type { DriverJob } from './job.ts'
import type { Seats } from './seats.ts'

/** Time for which a client with a revoked session is watched before the workload stops it. */
const revokedWatchMs = 3_000
const tabLivesMs = 6_000
/**
 * Share of removed members that rejoin after only `quickReturnSends` messages. A server may notice
 * neither the removal nor the rejoin.
 */
const quickReturnChance = 0.4
const quickReturnSends = 15

export interface ChurnOptions {
  readonly job: DriverJob
  readonly seats: Seats
  readonly recorder: Recorder
  readonly random: Random
  /** Watches a promise. If it rejects, this is reported as a problem of the test itself. */
  readonly track: (running: Promise<void>) => void
}

export class Churn {
  readonly #options: ChurnOptions
  readonly #conversations: ReadonlyMap<string, ConversationSeed>
  /** Users who are currently removed, by conversation. */
  readonly #removed = new Map<string, Set<string>>()
  /** Names of clients, and ids of conversations, for which an operation is running. */
  readonly #busy = new Set<string>()
  #replacements = 0
  #isEnded = false
  isOn = false

  constructor(options: ChurnOptions) {
    this.#options = options
    this.#conversations = new Map(options.job.conversations.map((conversation) => [conversation.id, conversation]))
  }

  get isBusy(): boolean {
    return this.#busy.size > 0
  }

  isRemoved(conversation: string, user: string): boolean {
    return this.#removed.get(conversation)?.has(user) === true
  }

  /** Prevents operations that are waiting now from starting or stopping more clients. */
  end(): void {
    this.#isEnded = true
  }

  /** Removes a random member from a random conversation, or adds a removed member again. */
  changeRandomMember(): void {
    const { job, seats, random } = this.#options
    if (!this.isOn || job.churned.length === 0) return
    const conversation = this.#conversations.get(random.pick(job.churned))
    if (conversation === undefined || this.#busy.has(conversation.id)) return
    const [ownerIndex, ...others] = conversation.members
    const owner = seats.person(ownerIndex ?? 0)
    const member = seats.person(random.pick(others)).id
    const isOut = this.isRemoved(conversation.id, member)
    const returnsAtOnce = !isOut && random.chance(quickReturnChance)
    this.#exclusively(conversation.id, async () => {
      if (!(await this.#changeMember(conversation.id, owner, member, isOut ? 'member-add' : 'member-remove'))) return
      if (!returnsAtOnce) return
      const senders = seats.list.map(({ actor }) => actor).filter(({ person }) => person.id === owner.id)
      for (let count = 0; count < quickReturnSends; count += 1) for (const actor of senders) actor.send(conversation.id)
      await this.#changeMember(conversation.id, owner, member, 'member-add')
    })
  }

  /**
   * Adds or removes a member. Returns false if this certainly failed. A caller may repeat the same
   * request.
   */
  async #changeMember(
    conversation: string,
    owner: Person,
    member: string,
    op: 'member-add' | 'member-remove',
  ): Promise<boolean> {
    const { job, seats, recorder } = this.#options
    const id = recorder.invoke({
      op,
      process: `${job.name} owner of ${conversation}`,
      user: owner.id,
      conversation,
      member,
    })
    const isAdding = op === 'member-add'
    const outcome = await callForOutcome<{ member?: { joinedSeq?: number } } | undefined>(
      seats.httpOf(owner),
      isAdding ? 'PUT' : 'DELETE',
      `/v1/conversations/${conversation}/members/${member}`,
      isAdding ? {} : undefined,
      (body) => (body?.member?.joinedSeq === undefined ? {} : { seq: body.member.joinedSeq }),
    )
    recorder.settle(op, id, outcome)
    if (outcome.type === 'fail') return false
    const removed = this.#removed.get(conversation) ?? new Set<string>()
    this.#removed.set(conversation, removed)
    if (isAdding) removed.delete(member)
    else removed.add(member)
    return true
  }

  /**
   * Restarts or crashes a random client that uses the client library, deletes its store, or opens a
   * second tab.
   */
  restartRandomClient(): void {
    if (!this.isOn) return
    const { seats, random } = this.#options
    const actors = seats.list.map(({ actor }) => actor).filter((actor) => actor instanceof SdkActor)
    const fitting = actors.filter((actor) => actor.isAttached && !this.#busy.has(actor.name))
    if (fitting.length === 0) return
    const actor = random.pick(fitting)
    const how = random.pickWeighted([
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
          // A store that two tabs share is not deleted; restart the client instead.
          return actor.isSharing ? actor.restart() : actor.loseStore()
        case 'copied-tab':
          return this.#openTab(actor, 'copied')
        case 'shared-tab':
          return this.#openTab(actor, 'shared')
      }
    })
  }

  /** Opens a second tab for a while: a client with a copy of the store, or with the same store. */
  async #openTab(of: SdkActor, store: 'copied' | 'shared'): Promise<void> {
    const { seats, track } = this.#options
    this.#replacements += 1
    const seat = seats.list.find(({ actor }) => actor === of)
    if (seat === undefined) return
    if (store === 'shared') await of.shareStore()
    if (!of.isAttached) return
    const tab = seats.addTab(of, seat.plan, `${seat.plan.name}.tab${this.#replacements}`, store)
    await tab.start()
    setTimeout(() => {
      if (this.#isEnded) return
      seats.tabs.delete(tab)
      track(tab.stop())
    }, tabLivesMs)
  }

  /**
   * Revokes the session of a random client. Later replaces the client by one with another session.
   */
  revokeRandomSession(): void {
    if (!this.isOn) return
    const { job, seats, recorder, random } = this.#options
    const seat = random.pick(seats.list)
    const { actor, plan } = seat
    if (!actor.isAttached || this.#busy.has(actor.name)) return
    if ([...seats.tabs].some(({ session }) => session.id === actor.session.id)) return
    const session = seats.takeSession(plan.person)
    if (session === undefined) return
    this.#exclusively(actor.name, async () => {
      const id = recorder.invoke({
        op: 'revoke',
        process: `${job.name} ${actor.name}`,
        user: actor.person.id,
        session: actor.session.id,
      })
      actor.doom()
      const http = seats.httpOf(actor.person)
      const outcome = await callForOutcome(http, 'DELETE', `/v1/sessions/${actor.session.id}`, undefined, () => ({}))
      recorder.settle('revoke', id, outcome)
      await pause(revokedWatchMs)
      if (this.#isEnded) return
      await actor.stop()
      this.#replacements += 1
      seat.actor = seats.makeActor(plan, session, `${plan.name}.${this.#replacements}`)
      await seat.actor.start()
    })
  }

  /** Runs `run`, and marks `name` (a client or a conversation) as busy until it ends. */
  #exclusively(name: string, run: () => Promise<void>): void {
    this.#busy.add(name)
    this.#options.track(run().finally(() => this.#busy.delete(name)))
  }
}
