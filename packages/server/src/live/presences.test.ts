/** Who is online, told to those who watch. */
import type { Id, Presence, PresenceStatus } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { type LastSeen, presenceBounds, Presences } from './presences.ts'
import { nowhereElse } from './whereabouts.ts'

interface Device {
  readonly user: Id
  status: 'online' | 'away'
  readonly watched: Map<Id, PresenceStatus>
}

function open() {
  const clock = new ManualClock()
  const told: { watcher: Device; presences: readonly Presence[] }[] = []
  const saved: LastSeen[] = []
  const presences = new Presences<Device>({
    clock,
    now: () => new Date(clock.nowMs()),
    tell: (watcher, news) => told.push({ watcher, presences: news }),
    whereabouts: nowhereElse,
    saveLastSeen: (seen) => saved.push(...seen),
    readLastSeen: async () => new Map(),
  })
  const device = (user: Id): Device => ({ user, status: 'online', watched: new Map() })
  const arrive = (user: Id): Device => {
    const arrived = device(user)
    presences.arrive(arrived)
    return arrived
  }
  return { clock, told, saved, presences, arrive }
}

describe('presence', () => {
  it('[PRES2] is told only to those who watch, only what changed, and gathered', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    arrive('somebody else')
    presences.watch(ada, ['bob', 'carol'])
    expect([...ada.watched]).toEqual([
      ['bob', 'offline'],
      ['carol', 'offline'],
    ])
    arrive('bob')
    arrive('bob')
    arrive('carol')
    arrive('dan')
    expect(told).toEqual([])
    clock.advance(presenceBounds.gatherMs)
    expect(told).toEqual([
      {
        watcher: ada,
        presences: [
          { user: 'bob', status: 'online', lastSeen: null },
          { user: 'carol', status: 'online', lastSeen: null },
        ],
      },
    ])
    // A change and its undoing within the gathering is none.
    const bobs = arrive('bob')
    bobs.status = 'away'
    presences.update('bob')
    bobs.status = 'online'
    clock.advance(presenceBounds.gatherMs)
    expect(told).toHaveLength(1)
  })

  it('[PRES2] its cost grows with the watchers, not with the square of a room', () => {
    const { clock, told, presences, arrive } = open()
    const room = Array.from({ length: 300 }, (_, index) => arrive(`u${index}`))
    const watcher = room[0]!
    presences.watch(
      watcher,
      room.map(({ user }) => user),
    )
    for (const device of room) {
      device.status = 'away'
      presences.update(device.user)
    }
    clock.advance(presenceBounds.gatherMs)
    expect(told).toHaveLength(1)
    expect(told[0]?.presences).toHaveLength(300)
  })

  it('[PRES1] offline comes a moment after the last connection, well within its bound', () => {
    const { clock, told, saved, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const phone = arrive('bob')
    const laptop = arrive('bob')
    clock.advance(presenceBounds.gatherMs)
    presences.depart(phone)
    clock.advance(60_000)
    expect(presences.statusOf('bob')).toBe('online')
    presences.depart(laptop)
    clock.advance(presenceBounds.graceMs - 1)
    expect(presences.statusOf('bob')).toBe('online')
    expect(saved).toEqual([])
    clock.advance(1)
    expect(presences.statusOf('bob')).toBe('offline')
    clock.advance(presenceBounds.gatherMs)
    const lastSeen = new Date(presenceBounds.gatherMs + 60_000 + presenceBounds.graceMs).toISOString()
    expect(told.at(-1)?.presences).toEqual([{ user: 'bob', status: 'offline', lastSeen }])
    expect(saved).toEqual([{ user: 'bob', at: lastSeen }])
    expect(presences.lastSeenOf('bob')).toBe(lastSeen)
    expect(presenceBounds.graceMs + presenceBounds.gatherMs).toBeLessThan(30_000)
  })

  it('[PRES1] a reload does not flicker', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const before = arrive('bob')
    clock.advance(presenceBounds.gatherMs)
    told.length = 0
    presences.depart(before)
    clock.advance(presenceBounds.graceMs - 1)
    arrive('bob')
    clock.advance(60_000)
    expect(told).toEqual([])
    expect(presences.statusOf('bob')).toBe('online')
  })

  it('is away only while all connections are', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const phone = arrive('bob')
    const laptop = arrive('bob')
    clock.advance(presenceBounds.gatherMs)
    phone.status = 'away'
    presences.update('bob')
    expect(presences.statusOf('bob')).toBe('online')
    laptop.status = 'away'
    presences.update('bob')
    clock.advance(presenceBounds.gatherMs)
    expect(told.at(-1)?.presences).toMatchObject([{ user: 'bob', status: 'away' }])
  })

  it('[PRES2] watching is replaced as a whole and ends with the watcher', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob', 'carol'])
    presences.watch(ada, ['carol'])
    const bob = arrive('bob')
    clock.advance(presenceBounds.gatherMs)
    expect(told).toEqual([])
    expect(presences.watchersOf('bob').size).toBe(0)
    arrive('carol')
    presences.depart(ada)
    clock.advance(60_000)
    expect(told).toEqual([])
    expect(presences.watchersOf('carol').size).toBe(0)
    // Departing twice is departing once.
    presences.depart(bob)
    presences.depart(bob)
    void presences.stop()
    expect(clock.pendingCount).toBe(0)
  })
})
