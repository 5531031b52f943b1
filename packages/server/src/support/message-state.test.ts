/**
 * Tests that an edit or deletion is applied to earlier cached changes of the same message, and to
 * no other changes.
 */
import { describe, expect, it } from 'vitest'
import { deletionChange, editChange, memberChange, messageChange } from '../delivery/testing/delivery-fixture.ts'
import { collectRewrites, isRewrite, messageStateOf, rewritten, withNewestState } from './message-state.ts'

const textsOf = (changes: readonly { json: string }[]): (string | undefined)[] =>
  changes.map(({ json }) => (JSON.parse(json) as { message?: { text: string } }).message?.text)

describe('the state of messages in cached changes', () => {
  it('[ERASE1] reads the state of a message correctly even if its text imitates JSON', () => {
    const trap = '"type":"message.deleted","message":{"conversation":"x","seq":9,"version":9,'
    expect(messageStateOf(messageChange(3, trap))).toMatchObject({ target: 3, version: 3 })
    expect(messageStateOf(editChange(5, 3, trap))).toMatchObject({ target: 3, version: 5 })
    expect([messageChange(3, trap), editChange(5, 3, trap), deletionChange(5, 3)].map(isRewrite)).toEqual([
      false,
      true,
      true,
    ])
    expect(messageStateOf(memberChange(4, 'member.left', 'ada'))).toBeUndefined()
  })

  it('[ERASE1] all changes of a message show its newest state', () => {
    const kept = [messageChange(1, 'a'), messageChange(2, 'b'), editChange(3, 1, 'a secret'), editChange(4, 2, 'c')]
    const rewrites = collectRewrites([...kept, deletionChange(5, 1)])!
    expect(textsOf(kept.map((change) => rewritten(change, rewrites)))).toEqual(['', 'c', '', 'c'])
    // An older state never replaces a newer one.
    const older = collectRewrites([kept[2]!])!
    const newer = rewritten(kept[0]!, rewrites)
    expect(rewritten(newer, older)).toBe(newer)
  })

  it('[ERASE1] [ACL1] edits after the removal of a member do not affect earlier changes', () => {
    const changes = [
      messageChange(1, 'a secret'),
      messageChange(2, 'shown to whoever left'),
      deletionChange(3, 1),
      memberChange(4, 'member.left', 'ada'),
      messageChange(5, 'later'),
      editChange(6, 2, 'not for ada'),
      editChange(7, 5, 'later still'),
    ]
    expect(textsOf(withNewestState(changes))).toEqual([
      '',
      'shown to whoever left',
      '',
      undefined,
      'later still',
      'not for ada',
      'later still',
    ])
    expect(withNewestState(changes.slice(0, 2))).toEqual(changes.slice(0, 2))
  })
})
