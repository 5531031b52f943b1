/**
 * Tests that a status update, which a device sent to one server, counts against the user's limits
 * at every other server that applies it.
 */
import { expect, it } from 'vitest'
import { Limits } from '../auth/limits.ts'
import { noLimits } from '../auth/testing/no-limits.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { applyDeviceUpdate } from './apply-device-update.ts'
import type { Parts } from '../commands/parts.ts'

it('[LIM1] limits status updates received from other servers', () => {
  const limits = new Limits({ ...noLimits, limitRequests: 3 }, new ManualClock())
  const connection = { user: 'ada', status: 'online' }
  let updates = 0
  const parts = {
    limits,
    connections: { ofSession: (session: string) => (session === 'here' ? [connection] : []) },
    presences: { update: () => void updates++ },
  } as unknown as Parts
  for (let count = 0; count < 10; count++)
    applyDeviceUpdate(parts, { user: 'ada', session: 'elsewhere', status: count % 2 === 0 ? 'away' : 'online' })
  // This server has no connection of that session. So it applies no update and counts no request.
  expect(updates).toBe(0)
  for (let count = 0; count < 10; count++)
    applyDeviceUpdate(parts, { user: 'ada', session: 'here', status: count % 2 === 0 ? 'away' : 'online' })
  expect(updates).toBe(3)
  expect(() => limits.takeRequest('ada')).toThrow(/too many requests/)
})
