/**
 * Assigns users to conversations. Every user is in the same number of conversations, and all
 * conversations have about the same size. The users are dealt out several times, each time in
 * another order, so that two users rarely share more than one conversation.
 */
export interface Dealing {
  readonly people: number
  readonly conversationsEach: number
  readonly size: number
}

/** Returns a list of conversations, each as the indices of its users. No conversation is empty. */
export function assignUsers({ people, conversationsEach, size }: Dealing): number[][] {
  const groups = Math.max(1, Math.ceil(people / size))
  const conversations: number[][] = []
  for (let deal = 0; deal < conversationsEach; deal++) {
    const dealt = Array.from({ length: groups }, (): number[] => [])
    for (let person = 0; person < people; person++) {
      const group = (person * (2 * deal + 1) + (deal === 0 ? 0 : Math.floor(person / groups))) % groups
      dealt[group]?.push(person)
    }
    conversations.push(...dealt.filter((group) => group.length > 0))
  }
  return conversations
}
