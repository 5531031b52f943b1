/**
 * Tests that recent changes are loaded with one read per conversation, several conversations per
 * statement, and few statements at a time.
 */
import { describe, expect, it } from 'vitest'
import type { Id } from '@chorus/protocol'
import type { LoggedChange } from '../support/logged-change.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { RecentChangesLoader, recentLoadLimits } from './recent-changes-loader.ts'
import { messageChange } from '../delivery/testing/delivery-fixture.ts'

interface Read {
  readonly conversations: readonly Id[]
  readonly positions: readonly number[]
  readonly answer: () => void
  readonly fail: () => void
}

const open = (isWanted = (_conversation: Id, _newest?: number) => true) => {
  const clock = new ManualClock()
  const reads: Read[] = []
  const loaded: Id[] = []
  const history = { epoch: 'one' }
  const loads = new RecentChangesLoader({
    read: (wanted) =>
      new Promise<Map<Id, LoggedChange[]>>((resolve, reject) => {
        const conversations = wanted.map(({ conversation }) => conversation)
        const positions = wanted.map(({ position }) => position)
        const answer = () => resolve(new Map(conversations.map((id) => [id, [messageChange(1, 'x', id)]])))
        reads.push({ conversations, positions, answer, fail: () => reject(new Error('no answer')) })
      }),
    clock,
    isWanted,
    epoch: () => history.epoch,
    onLoaded: (conversation) => void loaded.push(conversation),
  })
  return { loads, reads, loaded, history, clock }
}
const turn = () => new Promise((resolve) => setImmediate(resolve))
const many = (count: number) => Array.from({ length: count }, (_, index) => `c${index}`)

describe('the loader of recent changes', () => {
  it('[LIM2] shares one load among callers for the same conversation', async () => {
    const { loads, reads, loaded } = open()
    const first = loads.want('a', 1)
    await turn()
    const second = Promise.all([loads.want('a', 1), loads.want('b', 1)])
    await turn()
    expect(reads.map(({ conversations }) => conversations)).toEqual([['a'], ['b']])
    for (const { answer } of reads) answer()
    await Promise.all([first, second])
    expect(loaded).toEqual(['a', 'b'])
    void loads.want('a', 1)
    await turn()
    expect(reads).toHaveLength(3)
  })

  it('[LIM2] loads changes back to the earliest position of all callers', async () => {
    const { loads, reads } = open()
    for (const position of [30, 10, 20]) void loads.want('a', position)
    void loads.want('b', 40)
    await turn()
    expect(reads).toMatchObject([{ conversations: ['a', 'b'], positions: [10, 40] }])
  })

  it('[LIM1] limits the conversations per load statement, and the concurrent statements', async () => {
    const { loads, reads, loaded } = open()
    const { conversationsPerStatement, statementsMax } = recentLoadLimits
    const count = conversationsPerStatement * (statementsMax + 2)
    const all = Promise.all(many(count).map((id) => loads.want(id, 1)))
    await turn()
    await turn()
    expect(reads).toHaveLength(statementsMax)
    for (const { conversations } of reads) expect(conversations).toHaveLength(conversationsPerStatement)
    for (let index = 0; index < statementsMax + 2; index++) {
      reads[index]?.answer()
      await turn()
    }
    await all
    expect(reads).toHaveLength(statementsMax + 2)
    expect(loaded).toHaveLength(count)
  })

  it('[LIM2] when only the newest changes are missing, waits for a hint before reading', async () => {
    let has = 7
    const { loads, reads, loaded, clock } = open((_id, newest) => newest === undefined || has < newest)
    const hinted = Promise.all([8, 9].map((newest) => loads.want('a', 1, newest)))
    has = 9
    clock.advance(recentLoadLimits.hintWaitMs)
    await hinted
    expect(reads).toEqual([])
    const lost = Promise.all([10, 11, 10].map((newest) => loads.want('a', newest, newest)))
    has = 10
    await turn()
    expect(reads).toEqual([])
    clock.advance(recentLoadLimits.hintWaitMs)
    await turn()
    expect(reads).toMatchObject([{ conversations: ['a'], positions: [10] }])
    reads[0]?.answer()
    await lost
    expect(loaded).toEqual(['a'])
  })

  it('passes a failed load to its waiting callers, then loads again', async () => {
    const { loads, reads, loaded } = open()
    const failing = expect(loads.want('a', 1)).rejects.toThrow('no answer')
    await turn()
    reads[0]?.fail()
    await failing
    const again = loads.want('a', 1)
    await turn()
    reads[1]?.answer()
    await again
    expect(loaded).toEqual(['a'])
  })

  it('[RES2] drops loaded changes of an earlier database epoch or an unwanted conversation', async () => {
    const { loads, reads, loaded, history } = open((id) => id !== 'gone')
    const wanted = Promise.all([loads.want('a', 1), loads.want('gone', 1)])
    await turn()
    expect(reads[0]?.conversations).toEqual(['a'])
    history.epoch = 'two'
    reads[0]?.answer()
    await wanted
    expect(loaded).toEqual([])
  })
})
