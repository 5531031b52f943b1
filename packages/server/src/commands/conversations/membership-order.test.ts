/**
 * Property test: runs joins, removals, messages and sweeps in any order, each with its hint over
 * Redis sent or lost. At the end a connection must be subscribed to exactly the conversations of
 * its user, and resuming from any checkpoint must miss nothing.
 */
import type { Id } from '@chorus/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LocalBusHub } from '../../bus/bus-local.ts'
import type { RecordingTransport } from '../../delivery/testing/recording-transport.ts'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase } from '../../database/testing/open-test-database.ts'
import { type Opened, TestNode } from '../testing/test-node.ts'

type Step = {
  readonly kind: 'add' | 'remove' | 'say' | 'sweep' | 'rest'
  /**
   * True: this server runs the step and publishes it. False: the step runs as on another server
   * whose hints are lost.
   */
  readonly announced: boolean
  /** True: the next step of the test starts before this one has ended. */
  readonly hurried: boolean
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('add', 'remove', 'say', 'sweep', 'rest'),
  announced: fc.boolean(),
  hurried: fc.boolean(),
})

/** State of a client that has applied a list of events. */
interface Copy {
  readonly have: number
  readonly left: number
}

function copyOf(events: RecordingTransport['events'], place: Id): Copy {
  let have = 0
  let left = 0
  for (const { event, payload } of events) {
    if (event === 'conversation' && payload.conversation === place) {
      if (payload.limited === true) [have, left] = [payload.seq, 0]
      if (payload.left === true) left = payload.seq
    }
    if (event !== 'changes' || payload.conversation !== place) continue
    for (const { seq } of payload.changes) {
      // The client must see no skipped or repeated seq, and none after the removal.
      if (left > 0) expect(seq).toBe(left)
      else expect(seq).toBe(have + 1)
      have = seq
    }
  }
  return { have, left }
}

describe('subscriptions and checkpoints after joins, removals and lost hints', () => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id
  let bob: Id

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
    fixture = new LogFixture(store.database)
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
  })
  afterAll(() => store.close())

  const settle = async (node: TestNode, { connection }: Opened): Promise<void> => {
    await node.parts.feeds.settle()
    while (connection.joinsInProgress > 0 && connection.isOpen) await new Promise((resolve) => setTimeout(resolve, 2))
  }

  it('[TAIL1] [ACL1] [CP1] [JOIN1] keeps subscriptions and checkpoints right for any order of steps', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { minLength: 3, maxLength: 14 }), async (steps) => {
        const node = await TestNode.start(store.database, new LocalBusHub())
        try {
          const place = await fixture.group([bob])
          const session = await fixture.session(ada)
          const opened = node.open(ada, session)
          await opened.opening
          const run = async ({ kind, announced }: Step): Promise<unknown> => {
            switch (kind) {
              case 'add':
                return announced
                  ? node.run('put-member', bob, { conversation: place, user: ada })
                  : fixture.apply({ op: 'put-member', conversation: place, actor: bob, user: ada, role: null })
              case 'remove':
                return announced
                  ? node.run('remove-member', bob, { conversation: place, user: ada }).catch(() => undefined)
                  : fixture.apply({ op: 'remove-member', conversation: place, actor: bob, user: ada })
              case 'say':
                return announced
                  ? node.run('send-message', bob, {
                      conversation: place,
                      clientId: crypto.randomUUID(),
                      text: 'announced',
                    })
                  : fixture.send(place, bob, 'unannounced')
              case 'sweep':
                return node.sweeper.sweepNow()
              case 'rest':
                return settle(node, opened)
            }
          }
          const hurried: Promise<unknown>[] = []
          for (const step of steps) {
            const done = run(step)
            if (step.hurried) hurried.push(done)
            else await done
          }
          await Promise.all(hurried)
          for (let sweeps = 0; sweeps < 3; sweeps++) {
            await node.sweeper.sweepNow()
            await settle(node, opened)
          }
          const seqs = await fixture.seqs(place)
          const top = seqs.length
          const [membership] = await fixture.sql<{ left_seq: number | null }>(
            'select left_seq from members where conversation = $1 and user_id = $2',
            [place, ada],
          )
          const { events } = opened.transport
          const end = copyOf(events, place)
          expect(opened.connection.isOpen).toBe(true)
          expect(opened.connection.conversations.has(place)).toBe(membership?.left_seq === null)
          if (membership?.left_seq === null) expect(end).toEqual({ have: top, left: 0 })
          else if (membership !== undefined) expect(end.left).toBe(membership.left_seq)

          // A checkpoint must cover only events that were sent before it.
          for (const [index, { event, payload }] of events.entries()) {
            if (event !== 'checkpoint') continue
            const then = copyOf(events.slice(0, index), place)
            const page = await node.run('sync', ada, { cursor: payload.cursor, limit: 200 })
            const entry = page.conversations.find(({ conversation }) => conversation === place)
            if (entry === undefined) expect(then).toEqual(end)
            else if (entry.left !== true && entry.limited !== true && then.left === 0)
              expect(entry.changes[0]?.seq ?? top).toBeLessThanOrEqual(then.have + 1)
          }
          opened.connection.lost()
        } finally {
          node.stop()
        }
      }),
      { numRuns: 60, endOnFailure: true },
    )
  }, 120_000)
})
