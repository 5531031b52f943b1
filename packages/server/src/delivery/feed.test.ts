/**
 * Tests a feed, which delivers the changes of one conversation: order, repeats, gaps, joins at any
 * moment, removals.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '@chorus/protocol'
import type { Connection } from './connection.ts'
import { feedLimits } from './feed.ts'
import { splitBatches } from '../frames/split-batches.ts'
import { frameOf } from '../frames/frame.ts'
import { conversation, DeliveryFixture, memberChange, messageChange, sendRemoval } from './testing/delivery-fixture.ts'
import type { RecordingTransport } from './testing/recording-transport.ts'

describe('the feed of a conversation', () => {
  it('[NODE1] a feed delivers the next change, drops repeats and waits for missing ones', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(8)
    const { transport } = await fixture.subscribe('ada', 3)
    fixture.hint(4, 4, 2, 6, 5, 4)
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([4, 5, 6])
    expect(fixture.reads).toEqual([])
    // The hint over Redis of change 7 is lost. So change 8 is held, and the gap is read once.
    fixture.hint(8)
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([4, 5, 6])
    fixture.clock.advance(feedLimits.gapWaitMs - 1)
    await fixture.turn()
    expect(fixture.reads).toEqual([])
    fixture.clock.advance(1)
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([4, 5, 6, 7, 8])
    expect(fixture.reads).toEqual([{ from: 7, to: 8 }])
    expect(fixture.repaired).toBe(2)
  })

  it('[NODE1] reads missing changes once, however many connections wait for them', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(700)
    const readers = await Promise.all(Array.from({ length: 30 }, (_, index) => fixture.subscribe(`user ${index}`, 1)))
    fixture.hint(700, 650, 600)
    await fixture.settle()
    // The 699 missing changes take two pages.
    expect(fixture.reads).toEqual([
      { from: 2, to: 700 },
      { from: 502, to: 700 },
    ])
    for (const { transport } of readers)
      expect(transport.seqsOf(conversation)).toEqual(Array.from({ length: 699 }, (_, i) => i + 2))
    // All connections got the same frame objects, so each frame was encoded once.
    expect(readers[1]!.transport.frames[0]).toBe(readers[0]!.transport.frames[0])
  })

  it('[NODE1] retries a failed read of missing changes and loses nothing', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(5)
    const { transport } = await fixture.subscribe('ada', 0)
    fixture.readErrors.push(new Error('away'), new Error('away'))
    fixture.hint(5)
    await fixture.settle()
    expect(fixture.failures).toHaveLength(2)
    expect(transport.seqsOf(conversation)).toEqual([1, 2, 3, 4, 5])
  })

  it('[BUS1, NODE1] a forged future seq costs one database read and delivers nothing', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(3)
    const { transport, feed } = await fixture.subscribe('ada', 3)
    const forged = messageChange(1_000_000)
    fixture.elsewhere.publish(`c:${conversation}`, { kind: 'changes', epoch: 'epoch', conversation, changes: [forged] })
    await fixture.settle()
    expect(fixture.reads).toHaveLength(1)
    expect(feed.isSettled).toBe(true)
    fixture.appendMessages(1)
    fixture.hint(4)
    await fixture.settle()
    expect(transport.seqsOf(conversation)).toEqual([4])
    expect(fixture.reads).toHaveLength(1)
  })

  it('[NODE1] ignores hints of another database epoch', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(2)
    const { transport } = await fixture.subscribe('ada', 1)
    fixture.elsewhere.publish(`c:${conversation}`, {
      kind: 'changes',
      epoch: 'other',
      conversation,
      changes: [fixture.log[1]!],
    })
    await fixture.settle()
    expect(transport.frames).toEqual([])
  })

  it('[LIM1, NODE1] holds a bounded number of early changes, and reads dropped ones again', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(feedLimits.heldMax + 500)
    const { transport } = await fixture.subscribe('ada', 0)
    // All changes except the first, in reverse order.
    fixture.hint(...Array.from({ length: feedLimits.heldMax + 499 }, (_, index) => feedLimits.heldMax + 500 - index))
    await fixture.settle()
    expect(transport.seqsOf(conversation)).toEqual(fixture.log.map(({ seq }) => seq))
  })

  it('[NODE1] sends a joining client exactly the changes that it has not received', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(10)
    const first = await fixture.subscribe('first', 4)
    fixture.hint(5, 6)
    await fixture.turn()
    const behind = await fixture.subscribe('behind', 5)
    const ahead = await fixture.subscribe('ahead', 9)
    await fixture.settle()
    fixture.hint(7, 8, 9, 10)
    await fixture.settle()
    expect(first.transport.seqsOf(conversation)).toEqual([5, 6, 7, 8, 9, 10])
    expect(behind.transport.seqsOf(conversation)).toEqual([6, 7, 8, 9, 10])
    expect(ahead.transport.seqsOf(conversation)).toEqual([10])
  })

  it('[JOIN1] returns which changes a join must read because they are not cached', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(400)
    await fixture.subscribe('first', 0)
    fixture.hint(...fixture.log.map(({ seq }) => seq))
    await fixture.settle()
    const { connection } = fixture.connect('late')
    const { feed, join } = await fixture.feeds.join(conversation, connection)
    expect(feed.finishJoin(join, 10)).toEqual({ kind: 'missing', from: 11, to: 400 })
    expect(feed.has(connection)).toBe(false)
    expect(feed.finishJoin(join, 390)).toEqual({ kind: 'subscribed' })
  })

  it('[ACL1] a batch of changes ends after each membership change; removals are sent alone', () => {
    const changes = [
      messageChange(1),
      memberChange(2, 'member.joined', 'bob'),
      messageChange(3),
      messageChange(4),
      memberChange(5, 'member.left', 'bob'),
      messageChange(6),
    ]
    expect(splitBatches(changes).map((batch) => batch.map(({ seq }) => seq))).toEqual([[1, 2], [3, 4], [5], [6]])
  })

  it('[SLOW1] a batch of changes ends at its maximum count or at 256 kB', () => {
    const many = Array.from({ length: 450 }, (_, index) => messageChange(index + 1))
    expect(splitBatches(many).map(({ length }) => length)).toEqual([200, 200, 50])
    const large = Array.from({ length: 10 }, (_, index) => messageChange(index + 1, 'x'.repeat(60_000)))
    for (const batch of splitBatches(large)) {
      expect(batch.reduce((sum, { json }) => sum + json.length, 0)).toBeLessThanOrEqual(limits.pageMaxBytes)
    }
    // A change larger than the byte limit is still sent, in a batch of its own.
    expect(splitBatches([messageChange(1, 'x'.repeat(300_000)), messageChange(2)])).toHaveLength(2)
  })

  it('[ACL1] sends a removed user nothing after the removal, even within a burst', async () => {
    const fixture = new DeliveryFixture()
    const ada = await fixture.subscribe('ada', 0)
    const bob = await fixture.subscribe('bob', 0)
    const bobElsewhere = await fixture.subscribe('bob', 0)
    fixture.append(messageChange(1), memberChange(2, 'member.left', 'bob'), messageChange(3), messageChange(4))
    fixture.feeds.announce(fixture.log)
    await fixture.settle()
    expect(ada.transport.seqsOf(conversation)).toEqual([1, 2, 3, 4])
    for (const { transport, connection, feed } of [bob, bobElsewhere]) {
      expect(transport.events.map(({ event }) => event)).toEqual(['changes', 'conversation', 'changes'])
      expect(transport.eventsNamed('conversation')).toEqual([
        { conversation, left: true, seq: 2, readSeq: 2, unread: 0 },
      ])
      expect(transport.seqsOf(conversation)).toEqual([1, 2])
      expect(feed.has(connection)).toBe(false)
      expect(connection.conversations.size).toBe(0)
    }
    expect(fixture.left).toEqual(['bob'])
  })

  it('[ACL1] refuses the join of a removed user while the removal is being written', async () => {
    let nowMs = 0
    // The clock advances by more than the time limit of a flush at each reading, so the flush
    // yields at every opportunity.
    const fixture = new DeliveryFixture()
    fixture.clock.nowMs = () => (nowMs += 20)
    for (let index = 0; index < feedLimits.writesPerSlice * 3; index++) await fixture.subscribe(`reader ${index}`, 1)
    const { connection, transport } = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, connection)
    fixture.append(messageChange(1), memberChange(2, 'member.left', 'bob'), messageChange(3))
    fixture.feeds.announce(fixture.log.slice(1))
    const first = [...feed.subscribers][0] as unknown as Connection
    const firstTransport = first.unreadBytes
    expect(firstTransport).toBe(0)
    // Once something was sent to the first connection, the flush is in progress.
    while (!feed.isSettled && first.owesCheckpoint === false) await new Promise((resolve) => setImmediate(resolve))
    expect(feed.isSettled).toBe(false)
    const outcome = feed.finishJoin(join, 1)
    expect(outcome).toMatchObject({ kind: 'left', change: { seq: 2 } })
    expect(feed.has(connection)).toBe(false)
    expect(transport.frames).toEqual([])
    for (let index = 0; index < 200 && !feed.isSettled; index++) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(transport.frames).toEqual([])
  })

  it('[ACL1] keeps a rejoined user subscribed when an old removal arrives', async () => {
    const fixture = new DeliveryFixture()
    await fixture.subscribe('ada', 1)
    fixture.append(
      messageChange(1),
      memberChange(2, 'member.left', 'bob'),
      memberChange(3, 'member.joined', 'bob'),
      messageChange(4),
      messageChange(5),
    )
    const bob = await fixture.subscribe('bob', 4)
    const { connection } = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, connection)
    fixture.feeds.announce(fixture.log)
    await fixture.settle()
    expect(bob.transport.eventsNamed('conversation')).toEqual([])
    expect(bob.transport.seqsOf(conversation)).toEqual([5])
    // The second join has also read the log after the removal, so it succeeds.
    expect(feed.finishJoin(join, 4)).toEqual({ kind: 'subscribed' })
  })

  it('[ACL1] a join must read the changes that the feed never received', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(4)
    const ada = fixture.connect('ada')
    const { feed, join } = await fixture.feeds.join(conversation, ada.connection)
    // A removal, and a secret text after it. Both changes are held, because the feed does not know
    // the last seq of the log yet.
    fixture.append(memberChange(5, 'member.left', 'ada'), messageChange(6, 'a secret'))
    fixture.hint(5, 6)
    await fixture.turn()
    const bob = fixture.connect('bob')
    const other = await fixture.feeds.join(conversation, bob.connection)
    await fixture.recent.load([{ conversation, seq: 6 }], 1)
    expect(feed.finishJoin(other.join, 6)).toEqual({ kind: 'subscribed' })
    expect(feed.finishJoin(join, 4)).toEqual({ kind: 'missing', from: 5, to: 6 })
    expect(ada.transport.frames).toEqual([])
    expect(feed.has(ada.connection)).toBe(false)
  })

  it.each([
    ['inside the gap', 4],
    ['behind the gap', 2],
  ])('[ACL1] shows a removed user no edit made after the removal; the removal is %s', async (_where, known) => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    const bob = await fixture.subscribe('bob', 1)
    // This join is in progress when the page arrives. It read the user as a member at seq 1.
    const joining = fixture.connect('bob')
    const { join } = await fixture.feeds.join(conversation, joining.connection)
    fixture.append(messageChange(2), memberChange(3, 'member.left', 'bob'))
    fixture.edit(2, 'a secret')
    // No hint over Redis came. A sweep finds that the log reaches this seq.
    fixture.feeds.requireUpTo(conversation, known)
    await fixture.settle()
    const removal = { conversation, changes: [expect.objectContaining({ seq: 3, user: 'bob' })] }
    expect(bob.transport.events).toEqual([
      { event: 'conversation', payload: { conversation, left: true, seq: 3, readSeq: 3, unread: 0 } },
      { event: 'changes', payload: removal },
    ])
    expect(bob.connection.conversations.has(conversation)).toBe(false)
    expect(bob.feed.finishJoin(join, 1)).toMatchObject({ kind: 'left', change: { seq: 3 } })
    fixture.feeds.requireUpTo(conversation, 4)
    await fixture.settle()
    expect(ada.transport.seqsOf(conversation)).toEqual([2, 3, 4])
    expect(JSON.stringify(ada.transport.events)).toContain('a secret')
    expect(bob.transport.frames).toHaveLength(2)
    expect(joining.transport.frames).toEqual([])
  })

  it('[ACL1] keeps a rejoined user subscribed when an older read of a gap arrives', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    fixture.append(memberChange(2, 'member.left', 'bob'), memberChange(3, 'member.joined', 'bob'), messageChange(4))
    // Bob joined after reading the log up to seq 4, further than the feed has delivered.
    const bob = await fixture.subscribe('bob', 4)
    fixture.append(messageChange(5))
    // Let a page arrive that was read before Bob joined again.
    ada.feed.acceptPage({ changes: fixture.log.slice(1, 2), asOf: 2, removals: fixture.log.slice(1, 2) })
    fixture.feeds.requireUpTo(conversation, 5)
    await fixture.settle()
    expect(bob.transport.seqsOf(conversation)).toEqual([5])
    expect(ada.transport.seqsOf(conversation)).toEqual([2, 3, 4, 5])
  })

  it("[ACL1] remembers a user's later removal when an earlier removal arrives", async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    const bob = fixture.connect('bob')
    const { join } = await fixture.feeds.join(conversation, bob.connection)
    fixture.append(memberChange(2, 'member.left', 'bob'), memberChange(3, 'member.joined', 'bob'), messageChange(4))
    fixture.append(memberChange(5, 'member.left', 'bob'))
    fixture.edit(4, 'a secret')
    // The page ends before the second removal.
    ada.feed.acceptPage({ changes: fixture.log.slice(1, 3), asOf: 6, removals: fixture.log.slice(4, 5) })
    await fixture.turn()
    expect(ada.transport.seqsOf(conversation)).toEqual([2, 3])
    expect(ada.feed.finishJoin(join, 3)).toMatchObject({ kind: 'left', change: { seq: 5 } })
  })

  it('[ACL1] stops writing a batch to a user whose removal a gap read finds', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const others = await Promise.all(
      Array.from({ length: feedLimits.writesPerSlice }, (_, index) => fixture.subscribe(`user ${index}`, 1)),
    )
    const bob = await fixture.subscribe('bob', 1)
    fixture.append(messageChange(2), messageChange(3), memberChange(4, 'member.left', 'bob'))
    bob.feed.accept(fixture.log[1]!)
    const writing = bob.feed.flush()
    writing.next()
    expect(others.at(-1)!.transport.seqsOf(conversation)).toEqual([2])
    expect(bob.transport.frames).toEqual([])
    bob.feed.acceptPage({ changes: fixture.log.slice(2, 3), asOf: 4, removals: fixture.log.slice(3) })
    for (const _ of writing);
    await fixture.settle()
    expect(bob.transport.seqsOf(conversation)).toEqual([4])
  })

  it('[ACL1] sends a joining client no changes read after its membership check', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    const bob = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, bob.connection)
    fixture.append(messageChange(2), memberChange(3, 'member.left', 'bob'))
    const asTold = fixture.log[1]!
    fixture.edit(2, 'a secret')
    // The changes were loaded for a resuming client, before the hint of the removal arrived.
    await fixture.recent.load([{ conversation, seq: 4 }], 1)
    ada.feed.accept(asTold)
    await fixture.turn()
    expect(ada.transport.seqsOf(conversation)).toEqual([2])
    expect(feed.finishJoin(join, 1)).toEqual({ kind: 'missing', from: 2, to: 2 })
    expect(bob.transport.frames).toEqual([])
  })

  it('[LIM2] [ACL1] sends a joining client cached changes that its membership proof covers', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    const bob = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, bob.connection)
    fixture.append(messageChange(2), messageChange(3))
    await fixture.recent.load([{ conversation, seq: 3 }], 1)
    ada.feed.accept(fixture.log[1]!)
    await fixture.turn()
    expect(feed.finishJoin(join, 1, 2)).toEqual({ kind: 'missing', from: 2, to: 2 })
    expect(feed.finishJoin(join, 1, 3)).toEqual({ kind: 'subscribed' })
    ada.feed.accept(fixture.log[2]!)
    await fixture.settle()
    expect(bob.transport.seqsOf(conversation)).toEqual([2, 3])
  })

  it('[LIM2] [ACL1] fills a gap from cached changes without a read, removals first', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(2)
    const ada = await fixture.subscribe('ada', 2)
    const bob = await fixture.subscribe('bob', 2)
    fixture.append(messageChange(3), memberChange(4, 'member.left', 'bob'))
    fixture.edit(3, 'a secret')
    // No hint came. A resuming client had the changes loaded, and a sweep finds the gap.
    await fixture.recent.load([{ conversation, seq: 5 }], 1)
    fixture.feeds.requireUpTo(conversation, 5)
    await fixture.settle()
    expect(fixture.reads).toEqual([])
    expect(ada.transport.seqsOf(conversation)).toEqual([3, 4, 5])
    expect(bob.transport.seqsOf(conversation)).toEqual([4])
    expect(JSON.stringify(bob.transport.frames)).not.toContain('a secret')
  })

  it('[LIM1] [NODE1] a feed without cached changes serves subscribers; joins read the database', async () => {
    const fixture = new DeliveryFixture({ recentBytesMax: 1 })
    fixture.appendMessages(5)
    const ada = await fixture.subscribe('ada', 3)
    fixture.hint(4, 5)
    await fixture.settle()
    expect(ada.transport.seqsOf(conversation)).toEqual([4, 5])
    expect(fixture.recent.bytes).toBeLessThanOrEqual(1)
    const bob = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, bob.connection)
    expect(feed.finishJoin(join, 3)).toEqual({ kind: 'missing', from: 4, to: 5 })
    expect(feed.finishJoin(join, 5)).toEqual({ kind: 'subscribed' })
  })

  it('[LIM1] ends the feed when its last subscriber is removed from the conversation', async () => {
    const fixture = new DeliveryFixture()
    await fixture.subscribe('ada', 0)
    fixture.append(memberChange(1, 'member.left', 'ada'))
    fixture.hint(1)
    await fixture.settle()
    expect(fixture.feeds.size).toBe(0)
  })

  it('[JOIN1] keeps the feed open during joins, which share one confirmed subscription', async () => {
    const fixture = new DeliveryFixture()
    let confirm: () => void = () => undefined
    const subscribe = fixture.bus.subscribe.bind(fixture.bus)
    fixture.bus.subscribe = async (channel) => {
      await new Promise<void>((resolve) => {
        confirm = resolve
      })
      await subscribe(channel)
    }
    const one = fixture.connect('one')
    const two = fixture.connect('two')
    let joined = 0
    const joins = [one, two].map(async ({ connection }) => {
      const result = await fixture.feeds.join(conversation, connection)
      joined++
      return result
    })
    await fixture.turn()
    expect(joined).toBe(0)
    confirm()
    const [first, second] = await Promise.all(joins)
    first!.feed.abandonJoin(first!.join)
    fixture.feeds.release(first!.feed)
    expect(fixture.feeds.get(conversation)).toBe(second!.feed)
    second!.feed.finishJoin(second!.join, 0)
    fixture.appendMessages(1)
    fixture.hint(1)
    await fixture.settle()
    expect(two.transport.seqsOf(conversation)).toEqual([1])
    // When the last connection closes, the subscription ends.
    two.connection.lost()
    expect(fixture.feeds.size).toBe(0)
  })

  it('[NODE1, ACL1, JOIN1] delivers each seq once, in order, none after a removal, in any interleaving', async () => {
    const users = ['ada', 'bob', 'carol']
    const step = fc.oneof(
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('message' as const), hinted: fc.boolean() }) },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant('member' as const),
          user: fc.constantFrom('bob', 'carol'),
          hinted: fc.boolean(),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('repeat' as const), of: fc.nat(40) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('connect' as const), user: fc.constantFrom(...users) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('turn' as const), advance: fc.boolean() }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('sweep' as const) }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const members = new Set(users)
        const opened: { user: string; transport: RecordingTransport; connection: Connection }[] = []
        const joins: Promise<void>[] = []

        /**
         * Joins a conversation as join-conversation.ts does: subscribes, reads, then finishes the
         * join.
         */
        const join = async (connection: Connection): Promise<void> => {
          const known = fixture.feeds.get(conversation)
          if (known !== undefined && (known.has(connection) || known.isJoining(connection))) return
          const joining = await fixture.feeds.join(conversation, connection)
          for (;;) {
            if (!members.has(connection.user)) {
              joining.feed.abandonJoin(joining.join)
              return
            }
            const top = fixture.log.length
            // Let other events happen between the read and the next step.
            await new Promise((resolve) => setImmediate(resolve))
            connection.send(
              frameOf('conversation', { conversation, limited: true, seq: top, readSeq: 0, unread: 0, messages: [] }),
            )
            const outcome = joining.feed.finishJoin(joining.join, top)
            if (outcome.kind === 'left') sendRemoval(connection, outcome.change)
            if (outcome.kind !== 'missing') return
          }
        }
        const fixture: DeliveryFixture = new DeliveryFixture({
          onJoined: (_conversation, user) => {
            for (const connection of fixture.connections.ofUser(user)) joins.push(join(connection))
          },
        })
        const commit = (change: ReturnType<typeof messageChange>, hinted: boolean): void => {
          fixture.append(change)
          if (hinted) fixture.hint(change.seq)
        }
        for (const it of steps) {
          const seq = fixture.log.length + 1
          switch (it.kind) {
            case 'message':
              commit(messageChange(seq), it.hinted)
              break
            case 'member':
              if (members.delete(it.user)) commit(memberChange(seq, 'member.left', it.user), it.hinted)
              else {
                members.add(it.user)
                commit(memberChange(seq, 'member.joined', it.user), it.hinted)
              }
              break
            case 'repeat':
              if (it.of < fixture.log.length) fixture.hint(it.of + 1)
              break
            case 'connect': {
              const { connection, transport } = fixture.connect(it.user)
              opened.push({ user: it.user, connection, transport })
              joins.push(join(connection))
              break
            }
            case 'turn':
              await new Promise((resolve) => setImmediate(resolve))
              if (it.advance) fixture.clock.advance(80)
              break
            case 'sweep':
              fixture.feeds.get(conversation)?.noteHead(fixture.log.length)
              break
          }
        }
        // The last sweeps find the remaining changes, and every member whose connection has not
        // joined yet.
        for (let round = 0; round < 3; round++) {
          fixture.feeds.get(conversation)?.noteHead(fixture.log.length)
          for (const { connection } of opened) if (members.has(connection.user)) joins.push(join(connection))
          await fixture.settle()
          await Promise.all(joins)
        }
        for (const { user, transport } of opened) check(user, transport, members.has(user), fixture.log.length)
      }),
      { numRuns: 200 },
    )
  })
})

/**
 * Compares everything that one connection received with the log. Fails if a change is missing,
 * repeated or forbidden.
 */
function check(user: string, transport: RecordingTransport, isMember: boolean, top: number): void {
  let have: number | undefined
  let isLeaving = false
  for (const { event, payload } of transport.events) {
    if (event === 'conversation') {
      isLeaving = payload.left === true
      if (!isLeaving) have = payload.seq
      continue
    }
    for (const change of payload.changes) {
      if (have === undefined) throw new Error(`${user} was told ${change.seq} without being in`)
      const isOwnRemoval = change.type === 'member.left' && change.user === user
      // When a user is removed during a join, the removal is sent alone, so seqs before it may be
      // missing.
      if (!(isOwnRemoval && isLeaving && change.seq > have)) expect(change.seq).toBe(have + 1)
      have = isOwnRemoval ? undefined : change.seq
    }
  }
  if (isMember) expect(have).toBe(top)
}
