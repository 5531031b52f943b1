import { describe, expect, it } from 'vitest'
import { assignUsers } from './assign-users.ts'

describe('the assignment of users to conversations', () => {
  it('every user is in equally many conversations, which are all of similar size', () => {
    const conversations = assignUsers({ people: 500, conversationsEach: 20, size: 50 })
    expect(conversations).toHaveLength(200)
    const each = new Array<number>(500).fill(0)
    for (const members of conversations) {
      expect(new Set(members).size).toBe(members.length)
      expect(members.length).toBeGreaterThan(35)
      expect(members.length).toBeLessThan(65)
      for (const person of members) each[person] = (each[person] ?? 0) + 1
    }
    expect(new Set(each)).toEqual(new Set([20]))
  })

  it('a user meets different users in each conversation', () => {
    const conversations = assignUsers({ people: 500, conversationsEach: 5, size: 50 })
    const met = new Set(conversations.filter((members) => members.includes(7)).flat())
    expect(met.size).toBeGreaterThan(150)
  })
})
