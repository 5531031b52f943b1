/**
 * Tests of a first load of many conversations on a slow line: which conversations are shown before
 * the load ends, and which data is kept after a failure.
 */
import { ChorusError, type CommandName, type Conversation, limits } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import type { HttpApi } from '../wire/http-api.ts'
import { Replica } from './replica.ts'
import { createMemoryStore } from '../store/store-memory.ts'
import { ManualClock, settle } from '../testing/manual-clock.ts'
import { UserCache } from '../users/users.ts'

const total = 500
const all = Array.from({ length: total }, (_, index): Conversation => {
  const id = `c-${String(index).padStart(4, '0')}`
  return {
    id,
    kind: 'group',
    name: id,
    seq: 3,
    readSeq: 3,
    unread: 0,
    lastMessage: null,
    members: [],
    memberCount: 1,
    role: 'member',
  }
})

interface Request {
  readonly name: CommandName
  readonly at: number
  readonly limit: number
}

function createStage(answer: (request: Request, done: number) => Promise<void> = () => Promise.resolve()) {
  const requests: Request[] = []
  let underWay = 0
  let mostUnderWay = 0
  const api: HttpApi = {
    call: async (name, parameters) => {
      const { limit = 50, cursor, page } = parameters as { limit?: number; cursor?: string; page?: string }
      const request = { name, at: Number(cursor ?? page ?? 0), limit }
      requests.push(request)
      underWay += 1
      mostUnderWay = Math.max(mostUnderWay, underWay)
      try {
        await answer(request, requests.length)
      } finally {
        underWay -= 1
      }
      const end = Math.min(total, request.at + limit)
      const slice = all.slice(request.at, end)
      const list = { conversations: slice, ...(end < total && { next: String(end) }) }
      const sync = {
        epoch: 'e1',
        cursor: String(end),
        more: end < total,
        conversations: slice.map(({ id }) => ({
          conversation: id,
          changes: [],
          seq: 3,
          readSeq: 3,
          unread: 0,
          messages: [],
        })),
      }
      return (name === 'sync' ? sync : list) as never
    },
  }
  const clock = new ManualClock()
  const replica = new Replica({
    me: 'me',
    store: createMemoryStore(),
    api,
    clock,
    users: new UserCache(api, clock),
    onError: (error) => {
      throw error
    },
    onChange: () => undefined,
    onLimited: () => undefined,
    onMoved: () => undefined,
    onReset: () => undefined,
  })
  return { replica, requests, mostUnderWay: () => mostUnderWay }
}

describe('the first load of the local copy', () => {
  it('the first load shows its first page before the rest arrives', async () => {
    const stage = createStage(({ name, at }) =>
      name === 'list-conversations' && at === 0 ? Promise.resolve() : new Promise(() => undefined),
    )
    void stage.replica.firstLoad()
    await settle()
    expect(stage.replica.conversations.get()).toHaveLength(50)
    expect(stage.replica.data.get()).toBe('loading')
    expect(stage.replica.cursor).toBeUndefined()
  })

  it('[LIM1] the first load reads messages and conversation list in parallel', async () => {
    const stage = createStage(() => settle())
    await stage.replica.firstLoad()
    expect(stage.replica.conversations.get()).toHaveLength(total)
    expect(stage.replica.cursor).toBe(String(total))
    expect(stage.mostUnderWay()).toBe(2)
    expect(stage.requests).toHaveLength(7)
  })

  it('the first load continues after a failure with smaller pages', async () => {
    let isAway = true
    const stage = createStage(({ at }) =>
      isAway && at >= 200
        ? Promise.reject(new ChorusError('unavailable', 'unable to sync; no answer'))
        : Promise.resolve(),
    )
    await expect(stage.replica.firstLoad()).rejects.toThrow('no answer')
    const before = stage.requests.length
    isAway = false
    await stage.replica.firstLoad()
    const later = stage.requests.slice(before)
    expect(later.every(({ at, limit }) => at > 0 && limit === limits.pageMax / 2)).toBe(true)
    expect(stage.replica.conversations.get()).toHaveLength(total)
  })

  it('two parallel requests for a first load share one load', async () => {
    const stage = createStage(() => settle())
    await Promise.all([stage.replica.firstLoad(), stage.replica.firstLoad()])
    expect(stage.requests).toHaveLength(7)
  })
})
