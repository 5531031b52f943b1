/**
 * Lets the simulated users chat: send, edit, react, read pages and type, in random conversations.
 */
import type { Actor } from '../clients/actor.ts'
import { readPage } from '../clients/http-calls.ts'
import { RawActor } from '../clients/raw-actor.ts'
import type { Recorder } from '../clients/recorder.ts'
import { SdkActor } from '../clients/sdk-actor.ts'
import type { Random } from '../random/random.ts'
import type { ConversationRole, ConversationSeed } from './conversations.ts'
import type { DriverJob } from './job.ts'
import type { Seats } from './seats.ts'

const burstWaitingPerActor = 24
const removedTryChance = 0.3

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

export interface ActivityOptions {
  readonly job: DriverJob
  readonly seats: Seats
  readonly recorder: Recorder
  readonly random: Random
  /** Returns whether the user is currently removed from the conversation. */
  readonly isRemoved: (conversation: string, user: string) => boolean
  /** Watches a promise. If it rejects, this is reported as a problem of the test itself. */
  readonly track: (running: Promise<void>) => void
}

export class Activity {
  readonly #options: ActivityOptions

  constructor(options: ActivityOptions) {
    this.#options = options
  }

  /** Lets a random client do one random operation. */
  act(): void {
    const { seats, random, track } = this.#options
    const { actor } = random.pick(seats.list)
    const own = this.#conversationsOf(actor)
    if (own.length === 0) return
    const conversation = random.pickWeighted(own.map((one) => [one, roleWeights[one.role]] as const)).id
    const deed = random.pickWeighted(deeds)
    const chance = random.next()
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
        if (target !== undefined) track(actor.change(deed, conversation, target))
        return
      }
      case 'page':
        track(this.#readNewest(actor, conversation))
        return
      case 'read':
        if (actor instanceof SdkActor) actor.markRead(conversation)
        return
      case 'type':
        if (actor instanceof SdkActor) actor.type(conversation)
        return
    }
  }

  /**
   * Sends to the conversations with many messages (role `bulk`) until each client has its maximum
   * number of waiting messages.
   */
  fillWindows(): void {
    for (const { actor } of this.#options.seats.list) {
      if (!(actor instanceof RawActor)) continue
      for (const { id, role } of this.#conversationsOf(actor)) {
        if (role !== 'bulk') continue
        for (let count = 0; count < 4 && actor.waitingCount < burstWaitingPerActor; count += 1) actor.send(id)
      }
    }
  }

  #conversationsOf(actor: Actor): ConversationSeed[] {
    const { job, random, isRemoved } = this.#options
    const index = job.people.indexOf(actor.person)
    return job.conversations.filter(
      ({ id, members }) =>
        members.includes(index) &&
        // Sometimes let removed members send, too: the server must refuse this.
        (!isRemoved(id, actor.person.id) || random.chance(removedTryChance)),
    )
  }

  async #readNewest(actor: Actor, conversation: string): Promise<void> {
    if (!actor.isAttached) return
    const { seats, recorder } = this.#options
    const id = recorder.invoke({
      op: 'page',
      process: actor.name,
      user: actor.person.id,
      conversation,
      session: actor.session.id,
    })
    recorder.settle('page', id, await readPage(seats.httpOf(actor.person, actor.session), conversation, 'limit=50'))
  }
}
