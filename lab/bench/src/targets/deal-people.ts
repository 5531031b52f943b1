/**
 * Who is in which conversation: everybody in the same number of them, each conversation about the same size, and dealt out
 * anew each time, so that nobody meets the same ones again.
 */
export interface Dealing {
  readonly people: number
  readonly conversationsEach: number
  readonly size: number
}

/** Indices of the people in each conversation; every conversation has somebody. */
export function dealPeople({ people, conversationsEach, size }: Dealing): number[][] {
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
