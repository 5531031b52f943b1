/** Tests the guards of events from servers of other protocol versions. */
import type { Change } from '@chorus/protocol'
import { expect, it } from 'vitest'
import { hasMessage } from '../model/change-fields.ts'
import { isChange, toServerEvent } from './server-events.ts'

const common = { seq: 7, at: '2026-01-01T00:00:00.000Z', actor: 'ada' }

it('[CARD1] counts a change of a card that an older server could not read', () => {
  for (const type of ['card.updated', 'card.acted']) {
    const change = { ...common, type }
    expect(isChange(change)).toBe(true)
    expect(hasMessage(change as unknown as Change)).toBe(false)
    expect(toServerEvent('changes', { conversation: 'c', changes: [change] })).toBeDefined()
  }
})

it.each([
  { ...common, type: 'message.created' },
  { ...common, type: 'reaction.added' },
  { ...common, type: 'card.updated', message: {} },
  { ...common, type: 'card.acted', target: 'x', action: 'accept' },
  { ...common, seq: -1, type: 'card.acted' },
])('drops the malformed change %j', (change) => {
  expect(isChange(change)).toBe(false)
})

it('counts a change of an unknown type', () => {
  expect(isChange({ ...common, type: 'pin.added', more: 1 })).toBe(true)
})
