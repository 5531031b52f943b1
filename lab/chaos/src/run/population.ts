/**
 * The participants of a chaos run: users with their conversations, and the clients of each kind.
 */
import { insertPeople } from '@chorus/testkit'
import type { Person } from '../clients/person.ts'
import type { Lab } from '../faults/lab.ts'
import { nowMicros } from '../history/index.ts'
import type { HistoryWriter } from '../history/index.ts'
import type { Random } from '../random/random.ts'
import { makeConversations } from '../workload/conversations.ts'
import type { ConversationPlan, ConversationSeed } from '../workload/conversations.ts'
import type { ActorKind, ActorPlan } from '../workload/job.ts'

export interface PopulationPlan {
  readonly conversations: ConversationPlan
  readonly kinds: readonly (readonly [ActorKind, number])[]
  /** Number of users per client. If it is below 1, some users have several clients. */
  readonly peoplePerClient: number
  readonly padChars: number
}

/** A mixture of all kinds of clients and conversations. */
export const mixedPopulation: PopulationPlan = {
  conversations: [
    ['hot', 2, 24],
    ['group', 5, 8],
    ['direct', 8, 2],
    ['churn', 3, 10],
    ['bulk', 8, 3],
  ],
  kinds: [
    ['sdk', 50],
    ['sdk-sse', 8],
    ['socket-io', 24],
    ['polling', 5],
    ['sse', 13],
  ],
  peoplePerClient: 0.75,
  padChars: 0,
}

export interface Population {
  readonly people: readonly Person[]
  readonly conversations: readonly ConversationSeed[]
}

/** Inserts the users, creates their conversations and records each conversation. */
export async function populate(
  lab: Lab,
  plan: PopulationPlan,
  { clients, faults }: { readonly clients: number; readonly faults: number },
  random: Random,
  writer: HistoryWriter,
): Promise<Population> {
  const peopleCount = Math.max(4, Math.round(clients * plan.peoplePerClient))
  // Each user gets one session for requests of the test itself, one for reading at the end, and
  // spare ones for clients that replace revoked ones and for hostile clients.
  const sessionsEach = 5 + Math.ceil(clients / peopleCount) + Math.ceil(faults / 20)
  const people = await insertPeople(lab.cluster.postgres, lab.cluster.databaseUrl, peopleCount, sessionsEach)
  const conversations = await makeConversations(
    lab.cluster.url,
    people,
    plan.conversations,
    random,
    ({ id, members }) => {
      const [creator, ...others] = members.map((index) => people[index]?.id ?? '')
      const operation = writer.nextId()
      const base = { t: nowMicros(), op: 'create' as const, id: operation }
      writer.write({ ...base, type: 'invoke', process: 'run', user: creator ?? '', members: others })
      writer.write({ ...base, type: 'ok', conversation: id })
    },
  )
  return { people, conversations }
}

/**
 * Draws the clients at random: their kind, the proxy through which they connect, and the users
 * whose presence they watch.
 */
export function planActors(
  kinds: PopulationPlan['kinds'],
  clients: number,
  people: readonly Person[],
  fronts: number,
  random: Random,
): ActorPlan[] {
  return Array.from({ length: clients }, (_, index) => {
    const kind = random.pickWeighted(kinds)
    const person = index % people.length
    const watched = random.chance(0.3) ? [random.pick(people).id, random.pick(people).id] : []
    return {
      name: `c${index}`,
      person,
      kind,
      front: random.int(0, fronts - 1),
      watched: [...new Set(watched)],
    }
  })
}
