/** The conversations of a chaos run. They are created over HTTP, as a client does. */
import { signedIn } from '../clients/person.ts'
import type { Person } from '../clients/person.ts'
import type { Random } from '../random/random.ts'

/**
 * Role of a conversation. `hot`: many members and most of the messages. `churn`: members join and
 * leave. `bulk`: few members and many messages.
 */
export type ConversationRole = 'hot' | 'group' | 'direct' | 'churn' | 'bulk'

export interface ConversationSeed {
  readonly id: string
  readonly role: ConversationRole
  /** Indices of the members. The first member created the conversation and never leaves it. */
  readonly members: readonly number[]
}

/**
 * Plan of a run's conversations: number of conversations per role, and number of members in each.
 */
export type ConversationPlan = readonly (readonly [role: ConversationRole, count: number, members: number])[]

/** Maximum number of initial members of a conversation, not counting its creator. */
const initialMembersMax = 100

/**
 * Creates the conversations over HTTP. Calls `seen` with each conversation after it was created.
 */
export async function makeConversations(
  url: string,
  people: readonly Person[],
  plan: ConversationPlan,
  random: Random,
  seen: (made: ConversationSeed) => void,
): Promise<ConversationSeed[]> {
  const made: ConversationSeed[] = []
  const pairs = new Set<string>()
  for (const [role, count, size] of plan) {
    if (size > initialMembersMax) throw new Error(`unable to make conversations; ${size} users are too many`)
    for (let index = 0; index < count; index += 1) {
      const members = pickMembers(role, Math.min(size, people.length), people.length, random, pairs)
      const [owner] = members
      const creator = people[owner ?? 0]
      if (creator === undefined) throw new Error('unable to make conversations; there are no users')
      const http = signedIn(url, creator)
      const { body } = await http.expect<{ conversation: { id: string } }>(201, 'POST', '/v1/conversations', {
        kind: role === 'direct' ? 'direct' : role === 'hot' ? 'channel' : 'group',
        ...(role !== 'direct' && { name: `${role} ${index}` }),
        members: members.slice(1, initialMembersMax).map((member) => people[member]?.id),
      })
      const seed: ConversationSeed = { id: body.conversation.id, role, members }
      made.push(seed)
      seen(seed)
    }
  }
  return made
}

function pickMembers(
  role: ConversationRole,
  size: number,
  peopleCount: number,
  random: Random,
  pairs: Set<string>,
): number[] {
  const everybody = Array.from({ length: peopleCount }, (_, index) => index)
  for (;;) {
    const members = random.shuffle(everybody).slice(0, size)
    if (role !== 'direct') return members
    const pair = [...members].sort((left, right) => left - right).join()
    if (pairs.has(pair)) continue
    pairs.add(pair)
    return members
  }
}
