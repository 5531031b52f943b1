/** One conversation's delivery: order, repeats, gaps, joins at any moment, removals. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limits } from '@chorus/protocol'
import type { Connection } from './connection.ts'
import { feedBounds } from './feed.ts'
import { splitBatches } from './split-batches.ts'
import { frameOf } from './frame.ts'
import { conversation, DeliveryFixture, memberChange, messageChange, sendRemoval } from './testing/delivery-fixture.ts'
import type { RecordingTransport } from './testing/recording-transport.ts'

describe('a feed', () => {
  it('[NODE1] delivers what is next, drops what was seen, and waits for what is missing', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(8)
    const { transport } = await fixture.subscribe('ada', 3)
    fixture.hint(4, 4, 2, 6, 5, 4)
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([4, 5, 6])
    expect(fixture.reads).toEqual([])
    // 7 is lost: held, then read once.
    fixture.hint(8)
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([4, 5, 6])
    fixture.clock.advance(feedBounds.gapWaitMs - 1)
    await fixture.turn()
    expect(fixture.reads).toEqual([])
    fixture.clock.advance(1)
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([4, 5, 6, 7, 8])
    expect(fixture.reads).toEqual([{ from: 7, to: 8 }])
    expect(fixture.repaired).toBe(2)
  })

  it('[NODE1] reads a gap once however many connections wait for it', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(700)
    const readers = await Promise.all(Array.from({ length: 30 }, (_, index) => fixture.subscribe(`user ${index}`, 1)))
    fixture.hint(700, 650, 600)
    await fixture.settle()
    // 699 changes: two pages of a repair.
    expect(fixture.reads).toEqual([
      { from: 2, to: 700 },
      { from: 502, to: 700 },
    ])
    for (const { transport } of readers)
      expect(transport.seqsOf(conversation)).toEqual(Array.from({ length: 699 }, (_, i) => i + 2))
    // Encoded once: all readers were handed the very same frames.
    expect(readers[1]!.transport.frames[0]).toBe(readers[0]!.transport.frames[0])
  })

  it('[NODE1] tries a failed repair again and loses nothing', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(5)
    const { transport } = await fixture.subscribe('ada', 0)
    fixture.readErrors.push(new Error('away'), new Error('away'))
    fixture.hint(5)
    await fixture.settle()
    expect(fixture.failures).toHaveLength(2)
    expect(transport.seqsOf(conversation)).toEqual([1, 2, 3, 4, 5])
  })

  it('[BUS1, NODE1] a forged seq from the future costs one read and changes nothing', async () => {
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

  it('[NODE1] ignores hints of another history', async () => {
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

  it('[LIM1, NODE1] holds a bounded number of early changes, and reads what it dropped', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(feedBounds.heldMax + 500)
    const { transport } = await fixture.subscribe('ada', 0)
    // Everything but the first, backwards.
    fixture.hint(...Array.from({ length: feedBounds.heldMax + 499 }, (_, index) => feedBounds.heldMax + 500 - index))
    await fixture.settle()
    expect(transport.seqsOf(conversation)).toEqual(fixture.log.map(({ seq }) => seq))
  })

  it('[NODE1] a join that read ahead of the feed gets only what it lacks; one behind gets the rest', async () => {
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

  it('[JOIN1] a join whose rest is no longer kept says what to read', async () => {
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

  it('[ACL1] a batch ends after every change of membership, and a removal stands alone', () => {
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

  it('[SLOW1] a batch ends at its count or at 256 kB', () => {
    const many = Array.from({ length: 450 }, (_, index) => messageChange(index + 1))
    expect(splitBatches(many).map(({ length }) => length)).toEqual([200, 200, 50])
    const large = Array.from({ length: 10 }, (_, index) => messageChange(index + 1, 'x'.repeat(60_000)))
    for (const batch of splitBatches(large)) {
      expect(batch.reduce((sum, { json }) => sum + json.length, 0)).toBeLessThanOrEqual(limits.pageMaxBytes)
    }
    // One that is larger than the bound still leaves, alone.
    expect(splitBatches([messageChange(1, 'x'.repeat(300_000)), messageChange(2)])).toHaveLength(2)
  })

  it('[ACL1] nothing after the removal reaches the removed, in one burst with what follows', async () => {
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

  it('[ACL1] a join that ends in the middle of the flush of a removal is not let in', async () => {
    let nowMs = 0
    // Every look at the clock takes longer than a slice: the flush gives way at each chance.
    const fixture = new DeliveryFixture()
    fixture.clock.nowMs = () => (nowMs += 20)
    for (let index = 0; index < feedBounds.writesPerSlice * 3; index++) await fixture.subscribe(`reader ${index}`, 1)
    const { connection, transport } = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, connection)
    fixture.append(messageChange(1), memberChange(2, 'member.left', 'bob'), messageChange(3))
    fixture.feeds.announce(fixture.log.slice(1))
    const first = [...feed.subscribers][0] as unknown as Connection
    const firstTransport = first.unreadBytes
    expect(firstTransport).toBe(0)
    // As soon as the first reader was written to, the flush is under way.
    while (!feed.isSettled && first.owesCheckpoint === false) await new Promise((resolve) => setImmediate(resolve))
    expect(feed.isSettled).toBe(false)
    const outcome = feed.finishJoin(join, 1)
    expect(outcome).toMatchObject({ kind: 'left', change: { seq: 2 } })
    expect(feed.has(connection)).toBe(false)
    expect(transport.frames).toEqual([])
    for (let index = 0; index < 200 && !feed.isSettled; index++) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(transport.frames).toEqual([])
  })

  it('[ACL1] an old removal does not throw out who has joined again and read beyond it', async () => {
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
    // The join that was under way read after the removal, too.
    expect(feed.finishJoin(join, 4)).toEqual({ kind: 'subscribed' })
  })

  it('[ACL1] what a feed has not seen pass by is not handed to a join that began with less', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(4)
    const ada = fixture.connect('ada')
    const { feed, join } = await fixture.feeds.join(conversation, ada.connection)
    // Removed, and a secret after it: held, because nobody has said yet how far the log goes.
    fixture.append(memberChange(5, 'member.left', 'ada'), messageChange(6, 'a secret'))
    fixture.hint(5, 6)
    await fixture.turn()
    const bob = fixture.connect('bob')
    const other = await fixture.feeds.join(conversation, bob.connection)
    await fixture.feeds.loadRecent([{ conversation, seq: 6 }], 1)
    expect(feed.finishJoin(other.join, 6)).toEqual({ kind: 'subscribed' })
    expect(feed.finishJoin(join, 4)).toEqual({ kind: 'missing', from: 5, to: 6 })
    expect(ada.transport.frames).toEqual([])
    expect(feed.has(ada.connection)).toBe(false)
  })

  it.each([
    ['inside the gap', 4],
    ['behind the gap', 2],
  ])(
    '[ACL1] a repaired gap shows no later version to somebody removed before it: removal %s',
    async (_where, known) => {
      const fixture = new DeliveryFixture()
      fixture.appendMessages(1)
      const ada = await fixture.subscribe('ada', 1)
      const bob = await fixture.subscribe('bob', 1)
      // Under way when the page comes: seen as a member at 1.
      const joining = fixture.connect('bob')
      const { join } = await fixture.feeds.join(conversation, joining.connection)
      fixture.append(messageChange(2), memberChange(3, 'member.left', 'bob'))
      fixture.edit(2, 'a secret')
      // No hint came; a sweep finds this much.
      fixture.feeds.demand(conversation, known)
      await fixture.settle()
      const removal = { conversation, changes: [expect.objectContaining({ seq: 3, user: 'bob' })] }
      expect(bob.transport.events).toEqual([
        { event: 'conversation', payload: { conversation, left: true, seq: 3, readSeq: 3, unread: 0 } },
        { event: 'changes', payload: removal },
      ])
      expect(bob.connection.conversations.has(conversation)).toBe(false)
      expect(bob.feed.finishJoin(join, 1)).toMatchObject({ kind: 'left', change: { seq: 3 } })
      fixture.feeds.demand(conversation, 4)
      await fixture.settle()
      expect(ada.transport.seqsOf(conversation)).toEqual([2, 3, 4])
      expect(JSON.stringify(ada.transport.events)).toContain('a secret')
      expect(bob.transport.frames).toHaveLength(2)
      expect(joining.transport.frames).toEqual([])
    },
  )

  it('[ACL1] a page of a repair takes nothing from those who have joined again since the removal', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    fixture.append(memberChange(2, 'member.left', 'bob'), memberChange(3, 'member.joined', 'bob'), messageChange(4))
    // Read the log as a member at 4, before the feed has come so far.
    const bob = await fixture.subscribe('bob', 4)
    fixture.append(messageChange(5))
    // The page was read before they joined again.
    ada.feed.acceptPage({ changes: fixture.log.slice(1, 2), asOf: 2, removals: fixture.log.slice(1, 2) })
    fixture.feeds.demand(conversation, 5)
    await fixture.settle()
    expect(bob.transport.seqsOf(conversation)).toEqual([5])
    expect(ada.transport.seqsOf(conversation)).toEqual([2, 3, 4, 5])
  })

  it('[ACL1] an earlier removal that passes by does not hide a later one that a read has told of', async () => {
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

  it('[ACL1] a batch that is being written ends for those whom a page tells of their removal', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const others = await Promise.all(
      Array.from({ length: feedBounds.writesPerSlice }, (_, index) => fixture.subscribe(`user ${index}`, 1)),
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

  it('[ACL1] what was read as of a later seq is not handed to a join that saw an earlier one', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(1)
    const ada = await fixture.subscribe('ada', 1)
    const bob = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, bob.connection)
    fixture.append(messageChange(2), memberChange(3, 'member.left', 'bob'))
    const asTold = fixture.log[1]!
    fixture.edit(2, 'a secret')
    // For somebody who resumes; the hint of the removal has not come.
    await fixture.feeds.loadRecent([{ conversation, seq: 4 }], 1)
    ada.feed.accept(asTold)
    await fixture.turn()
    expect(ada.transport.seqsOf(conversation)).toEqual([2])
    expect(feed.finishJoin(join, 1)).toEqual({ kind: 'missing', from: 2, to: 2 })
    expect(bob.transport.frames).toEqual([])
  })

  it('[LIM2] [ACL1] what somebody has loaded fills a gap without a read, and a removal in it comes first', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(2)
    const ada = await fixture.subscribe('ada', 2)
    const bob = await fixture.subscribe('bob', 2)
    fixture.append(messageChange(3), memberChange(4, 'member.left', 'bob'))
    fixture.edit(3, 'a secret')
    // No hint came; somebody resumes, and a sweep finds it.
    await fixture.feeds.loadRecent([{ conversation, seq: 5 }], 1)
    fixture.feeds.demand(conversation, 5)
    await fixture.settle()
    expect(fixture.reads).toEqual([])
    expect(ada.transport.seqsOf(conversation)).toEqual([3, 4, 5])
    expect(bob.transport.seqsOf(conversation)).toEqual([4])
    expect(JSON.stringify(bob.transport.frames)).not.toContain('a secret')
  })

  it('[LIM1] [NODE1] recent changes that had to go are missing to whoever joins, and everybody else gets theirs', async () => {
    const fixture = new DeliveryFixture({ recentBytesMax: 1 })
    fixture.appendMessages(5)
    const ada = await fixture.subscribe('ada', 3)
    fixture.hint(4, 5)
    await fixture.settle()
    expect(ada.transport.seqsOf(conversation)).toEqual([4, 5])
    expect(fixture.feeds.recentBudget.bytes).toBeLessThanOrEqual(1)
    const bob = fixture.connect('bob')
    const { feed, join } = await fixture.feeds.join(conversation, bob.connection)
    expect(feed.finishJoin(join, 3)).toEqual({ kind: 'missing', from: 4, to: 5 })
    expect(feed.finishJoin(join, 5)).toEqual({ kind: 'subscribed' })
  })

  it('[LIM1] a removal that takes the last subscriber ends the feed', async () => {
    const fixture = new DeliveryFixture()
    await fixture.subscribe('ada', 0)
    fixture.append(memberChange(1, 'member.left', 'ada'))
    fixture.hint(1)
    await fixture.settle()
    expect(fixture.feeds.size).toBe(0)
  })

  it('[JOIN1] a feed that somebody is joining is not dropped, and all wait for the confirmation', async () => {
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
    // The last one out ends the subscription.
    two.connection.lost()
    expect(fixture.feeds.size).toBe(0)
  })

  it('[NODE1, ACL1, JOIN1] any order, repeats, losses, joins and removals: each connection gets each seq once, in order, and none above its removal', async () => {
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

        /** As join-conversation.ts does it: subscribe, read, hand over. */
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
            // Between the read and what follows anything may happen.
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
              fixture.feeds.get(conversation)?.noteTop(fixture.log.length)
              break
          }
        }
        // The last sweep finds the rest, and every member that is not in.
        for (let round = 0; round < 3; round++) {
          fixture.feeds.get(conversation)?.noteTop(fixture.log.length)
          for (const { connection } of opened) if (members.has(connection.user)) joins.push(join(connection))
          await fixture.settle()
          await Promise.all(joins)
        }
        for (const { user, transport } of opened) check(user, transport, members.has(user), fixture.log.length)
      }),
      { numRuns: 200 },
    )
  }, 60_000)
})

/** What one connection was told, against the log. */
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
      // A removal that came during a join stands alone, after its own event.
      if (!(isOwnRemoval && isLeaving && change.seq > have)) expect(change.seq).toBe(have + 1)
      have = isOwnRemoval ? undefined : change.seq
    }
  }
  if (isMember) expect(have).toBe(top)
}
