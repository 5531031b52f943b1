/**
 * The clients of a workload process: one seat for each planned client, and second tabs. When a
 * client's session is revoked, another client takes its seat.
 *
 * Guarantee: each client gets a session that no client has used. Only a second tab uses the session
 * of the client that it copies.
 */
import type { HttpUser } from '@chorus/testkit'
import type { Actor } from '../clients/actor.ts'
import { signedIn } from '../clients/person.ts'
import type { Person, SessionSeed } from '../clients/person.ts'
import { RawActor } from '../clients/raw-actor.ts'
import type { Recorder } from '../clients/recorder.ts'
import { SdkActor } from '../clients/sdk-actor.ts'
import { createSocketIoWire } from '../clients/socket-io-wire.ts'
import { createSseWire } from '../clients/sse-wire.ts'
import type { ActorPlan, DriverJob } from './job.ts'

export interface Seat {
  readonly plan: ActorPlan
  actor: Actor
}

export class Seats {
  readonly #job: DriverJob
  readonly #recorder: Recorder
  readonly #onProblem: (text: string) => void
  readonly #nextSession = new Map<number, number>()
  readonly list: readonly Seat[]
  readonly tabs = new Set<SdkActor>()

  constructor(job: DriverJob, recorder: Recorder, onProblem: (text: string) => void) {
    this.#job = job
    this.#recorder = recorder
    this.#onProblem = onProblem
    this.list = job.actors.map((plan) => {
      const session = this.takeSession(plan.person)
      if (session === undefined) throw new Error(`unable to start ${plan.name}; no session is left`)
      return { plan, actor: this.makeActor(plan, session, plan.name) }
    })
  }

  /** Returns every client that exists now, including second tabs. */
  actors(): Actor[] {
    return [...this.list.map(({ actor }) => actor), ...this.tabs]
  }

  makeActor(plan: ActorPlan, session: SessionSeed, name: string): Actor {
    const url = this.front(plan.front)
    const person = this.person(plan.person)
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

  /**
   * Creates a second tab of this client: a client with a copy of its store, or with the same store.
   */
  addTab(of: SdkActor, plan: ActorPlan, name: string, store: 'copied' | 'shared'): SdkActor {
    const tab = new SdkActor({
      ...this.#sdkOptions(plan, of.session, name),
      ...(store === 'shared' ? { sharesStoreOf: of } : { copyOf: of }),
    })
    this.tabs.add(tab)
    return tab
  }

  #sdkOptions(plan: ActorPlan, session: SessionSeed, name: string): ConstructorParameters<typeof SdkActor>[0] {
    return {
      name,
      person: this.person(plan.person),
      session,
      url: this.front(plan.front),
      recorder: this.#recorder,
      transports: plan.kind === 'sdk' ? ['socket-io', 'sse'] : ['sse'],
      onProblem: this.#onProblem,
    }
  }

  /** Returns the user's next session that no client has used; undefined if there is none. */
  takeSession(person: number): SessionSeed | undefined {
    const { from, to } = this.#job.spareSessions
    const index = this.#nextSession.get(person) ?? from
    if (index >= to) return undefined
    this.#nextSession.set(person, index + 1)
    return this.person(person).sessions[index]
  }

  /** Returns an HTTP client of this user for requests of the test itself. */
  httpOf(person: Person, session = person.sessions[0]): HttpUser {
    return signedIn(this.front(0), person, session)
  }

  front(index: number): string {
    const url = this.#job.fronts[index % this.#job.fronts.length]
    if (url === undefined) throw new Error('unable to reach the servers; there is no front door')
    return url
  }

  person(index: number): Person {
    const person = this.#job.people[index]
    if (person === undefined) throw new Error(`unable to find person ${index}`)
    return person
  }
}
