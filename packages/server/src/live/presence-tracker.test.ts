/** Tests which users count as online, and which watchers receive a change. */
import type { Id, Presence, PresenceStatus } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { type LastSeen, presenceLimits, PresenceTracker } from './presence-tracker.ts'
import { localOnlyPresence, type RemotePresence } from './presence-store.ts'

interface Device {
  readonly user: Id
  status: 'online' | 'away'
  readonly watched: Map<Id, PresenceStatus>
  isBehind: boolean
}

function open() {
  const clock = new ManualClock()
  const told: { watcher: Device; presences: readonly Presence[] }[] = []
  const saved: LastSeen[] = []
  const elsewhere = new Map<Id, RemotePresence>()
  const reports: [Id, string | undefined][] = []
  let changed: (user: Id) => void = () => undefined
  let stored = new Map<Id, string | null>()
  const followed = new Set<Id>()
  let follows = 0
  const presences = new PresenceTracker<Device>({
    clock,
    now: () => new Date(clock.nowMs()),
    tell: (watcher, news) => told.push({ watcher, presences: news }),
    presenceStore: {
      ...localOnlyPresence,
      report: (user, status) => void reports.push([user, status]),
      follow: (user) => {
        follows++
        followed.add(user)
      },
      unfollow: (user) => void followed.delete(user),
      elsewhere: (user) => elsewhere.get(user) ?? localOnlyPresence.elsewhere(user),
      onChange: (listener) => {
        changed = listener
      },
    },
    saveLastSeen: (seen) => saved.push(...seen),
    readLastSeen: async () => stored,
  })
  const device = (user: Id): Device => ({ user, status: 'online', watched: new Map(), isBehind: false })
  const arrive = (user: Id): Device => {
    const arrived = device(user)
    presences.arrive(arrived)
    return arrived
  }
  /** Simulates that another server reports a status of this user. */
  const say = (user: Id, status: PresenceStatus, lastSeen?: string): void => {
    elsewhere.set(user, { status, lastSeen })
    changed(user)
  }
  const store = (seen: Map<Id, string | null>): void => {
    stored = seen
  }
  return { clock, told, saved, presences, arrive, say, store, reports, followed, follows: () => follows }
}

describe('PresenceTracker', () => {
  it('[PRES2] sends presence changes only to connections that watch the user', () => {
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
    clock.advance(presenceLimits.gatherMs)
    expect(told).toEqual([
      {
        watcher: ada,
        presences: [
          { user: 'bob', status: 'online', lastSeen: null },
          { user: 'carol', status: 'online', lastSeen: null },
        ],
      },
    ])
    // A change that is undone before the event was sent causes no event.
    const bobs = arrive('bob')
    bobs.status = 'away'
    presences.update('bob')
    bobs.status = 'online'
    clock.advance(presenceLimits.gatherMs)
    expect(told).toHaveLength(1)
  })

  it('[PRES2] sends one presence event per watcher, even for a large conversation', () => {
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
    clock.advance(presenceLimits.gatherMs)
    expect(told).toHaveLength(1)
    expect(told[0]?.presences).toHaveLength(300)
  })

  it('[PRES1] reports a user offline some seconds after the last connection ended', () => {
    const { clock, told, saved, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const phone = arrive('bob')
    const laptop = arrive('bob')
    clock.advance(presenceLimits.gatherMs)
    presences.depart(phone)
    clock.advance(60_000)
    expect(presences.statusOf('bob')).toBe('online')
    presences.depart(laptop)
    clock.advance(presenceLimits.graceMs - 1)
    expect(presences.statusOf('bob')).toBe('online')
    expect(saved).toEqual([])
    clock.advance(1)
    expect(presences.statusOf('bob')).toBe('offline')
    clock.advance(presenceLimits.gatherMs)
    const lastSeen = new Date(presenceLimits.gatherMs + 60_000 + presenceLimits.graceMs).toISOString()
    expect(told.at(-1)?.presences).toEqual([{ user: 'bob', status: 'offline', lastSeen }])
    expect(saved).toEqual([{ user: 'bob', at: lastSeen }])
    expect(presences.lastSeenOf('bob')).toBe(lastSeen)
    expect(presenceLimits.graceMs + presenceLimits.gatherMs).toBeLessThan(30_000)
  })

  it('[PRES1] a page reload does not report the user offline', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const before = arrive('bob')
    clock.advance(presenceLimits.gatherMs)
    told.length = 0
    presences.depart(before)
    clock.advance(presenceLimits.graceMs - 1)
    arrive('bob')
    clock.advance(60_000)
    expect(told).toEqual([])
    expect(presences.statusOf('bob')).toBe('online')
  })

  it('a user is away only while all connections are away', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const phone = arrive('bob')
    const laptop = arrive('bob')
    clock.advance(presenceLimits.gatherMs)
    phone.status = 'away'
    presences.update('bob')
    expect(presences.statusOf('bob')).toBe('online')
    laptop.status = 'away'
    presences.update('bob')
    clock.advance(presenceLimits.gatherMs)
    expect(told.at(-1)?.presences).toMatchObject([{ user: 'bob', status: 'away' }])
  })

  it('[LIVE1] sends a slow watcher only the newest presence, later', () => {
    const { clock, told, presences, arrive, say } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    ada.isBehind = true
    for (let change = 0; change < 50; change++) {
      say('bob', change % 2 === 0 ? 'online' : 'away')
      clock.advance(presenceLimits.gatherMs)
    }
    expect(told).toEqual([])
    ada.isBehind = false
    clock.advance(presenceLimits.behindMs)
    expect(told.map(({ presences: news }) => news.map(({ status }) => status))).toEqual([['away']])
    void presences.stop()
    expect(clock.pendingCount).toBe(0)
  })

  it("[PRES1] combines a user's status at all servers; the most active one wins", () => {
    const { clock, told, presences, arrive, say } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const bob = arrive('bob')
    const last = (): string | undefined => {
      clock.advance(presenceLimits.gatherMs)
      return told.at(-1)?.presences[0]?.status
    }
    expect(last()).toBe('online')
    say('bob', 'unknown')
    expect(last()).toBe('online')
    bob.status = 'away'
    presences.update('bob')
    expect(last()).toBe('away')
    say('bob', 'online')
    expect(last()).toBe('online')
    say('bob', 'unknown')
    expect(last()).toBe('away')
    presences.depart(bob)
    clock.advance(presenceLimits.graceMs)
    expect(last()).toBe('unknown')
    say('bob', 'offline', '2026-01-01T00:00:00.000Z')
    expect(last()).toBe('offline')
  })

  it("[PRES1] keeps a user's last status until the user reconnects", () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob'])
    const bob = arrive('bob')
    bob.status = 'away'
    presences.update('bob')
    clock.advance(presenceLimits.gatherMs)
    presences.depart(bob)
    clock.advance(presenceLimits.graceMs + presenceLimits.gatherMs)
    expect(told.map(({ presences: [bobs] }) => bobs?.status)).toEqual(['away', 'offline'])
  })

  it("[PRES1] reports the status of a user's most active connection until the last one closes", () => {
    const { clock, presences, arrive, reports } = open()
    const [phone, laptop] = [arrive('bob'), arrive('bob')]
    const last = (): unknown => reports.at(-1)?.[1]
    expect(last()).toBe('online')
    laptop.status = 'away'
    presences.update('bob')
    expect(last()).toBe('online')
    presences.depart(phone)
    expect(last()).toBe('away')
    presences.depart(laptop)
    clock.advance(presenceLimits.graceMs - 1)
    expect(last()).toBe('away')
    clock.advance(1)
    expect(last()).toBeUndefined()
  })

  it('sends the last-seen time, from the database if the server does not know it', async () => {
    const { clock, told, presences, arrive, say, store } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob', 'cleo'])
    say('bob', 'online')
    say('cleo', 'online')
    clock.advance(presenceLimits.gatherMs)
    const at = '2026-01-01T00:00:00.000Z'
    store(new Map([['bob', at]]))
    say('bob', 'offline')
    say('cleo', 'offline')
    clock.advance(presenceLimits.gatherMs)
    await new Promise((resolve) => setImmediate(resolve))
    expect(told.at(-1)?.presences).toEqual([
      { user: 'bob', status: 'offline', lastSeen: at },
      { user: 'cleo', status: 'offline', lastSeen: null },
    ])
    // The later of two times counts, whatever its source.
    const later = '2026-01-02T00:00:00.000Z'
    say('bob', 'online')
    clock.advance(presenceLimits.gatherMs)
    say('bob', 'offline', later)
    clock.advance(presenceLimits.gatherMs)
    expect(told.at(-1)?.presences).toEqual([{ user: 'bob', status: 'offline', lastSeen: later }])
  })

  it('[PRES2] follows only watched users, and sends unknown once when a watch ends', () => {
    const { clock, told, presences, arrive, followed } = open()
    const [ada, cleo] = [arrive('ada'), arrive('cleo')]
    presences.watch(ada, ['bob', 'dan'])
    presences.watch(cleo, ['bob'])
    presences.watch(ada, ['bob'])
    clock.advance(presenceLimits.lingerMs)
    expect([...followed]).toEqual(['bob'])
    presences.noteLeft('bob')
    const watches = presences.takeLeft() ?? []
    expect(watches).toHaveLength(2)
    presences.watch(cleo, ['bob'])
    presences.unwatch(watches)
    expect(told).toEqual([{ watcher: ada, presences: [{ user: 'bob', status: 'unknown', lastSeen: null }] }])
    presences.unwatch(watches)
    expect(told).toHaveLength(1)
    presences.depart(cleo)
    clock.advance(presenceLimits.lingerMs)
    expect(followed.size).toBe(0)
  })

  it('[LIM3] follows each user once while a watch list is repeatedly set and cleared', () => {
    const { clock, presences, arrive, followed, follows } = open()
    const ada = arrive('ada')
    const people = Array.from({ length: 96 }, (_, index) => `u${index}`)
    for (let turn = 0; turn < 100; turn++) {
      presences.watch(ada, people)
      clock.advance(10)
      presences.watch(ada, [])
      clock.advance(10)
    }
    expect(follows()).toBe(96)
    expect(followed.size).toBe(96)
    clock.advance(presenceLimits.lingerMs)
    expect(followed.size).toBe(0)
    // Each user without watchers is unfollowed after its own delay.
    presences.watch(ada, ['bob', 'cleo'])
    presences.watch(ada, ['bob'])
    clock.advance(presenceLimits.lingerMs / 2)
    presences.watch(ada, [])
    clock.advance(presenceLimits.lingerMs / 2)
    expect([...followed]).toEqual(['bob'])
    clock.advance(presenceLimits.lingerMs / 2)
    expect(followed.size).toBe(0)
    void presences.stop()
    clock.advance(presenceLimits.graceMs)
    expect(clock.pendingCount).toBe(0)
  })

  it('[LIM1] follows only a limited number of users that have no watchers', () => {
    const { presences, arrive, followed } = open()
    const ada = arrive('ada')
    for (let index = 0; index < presenceLimits.lingeringMax + 50; index++) presences.watch(ada, [`u${index}`])
    expect(followed.size).toBe(presenceLimits.lingeringMax + 1)
    expect(followed.has('u0')).toBe(false)
    void presences.stop()
  })

  it('[PRES2] a new watch list replaces the old one; it ends with its connection', () => {
    const { clock, told, presences, arrive } = open()
    const ada = arrive('ada')
    presences.watch(ada, ['bob', 'carol'])
    presences.watch(ada, ['carol'])
    const bob = arrive('bob')
    clock.advance(presenceLimits.gatherMs)
    expect(told).toEqual([])
    expect(presences.watchersOf('bob').size).toBe(0)
    arrive('carol')
    presences.depart(ada)
    clock.advance(60_000)
    expect(told).toEqual([])
    expect(presences.watchersOf('carol').size).toBe(0)
    // A second departure of the same connection has no effect.
    presences.depart(bob)
    presences.depart(bob)
    void presences.stop()
    expect(clock.pendingCount).toBe(0)
  })
})
