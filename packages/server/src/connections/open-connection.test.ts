/**
 * Tests opening a connection from a cursor: every change arrives exactly once, whatever is written
 * or removed between any two steps.
 */
import type { Id, SyncPage } from '@chorus/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { LocalBusHub } from '../bus/bus-local.ts'
import type { RecordingTransport } from '../delivery/testing/recording-transport.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'
import { openLimits } from './open-connection.ts'
import { sendReadMarker } from './send-read-marker.ts'
import { type Opened, TestNode } from '../commands/testing/test-node.ts'

/** Waits until the probe returns true, for at most 10 s. */
async function until(what: string, probe: () => boolean): Promise<void> {
  const startedAtMs = performance.now()
  while (!probe()) {
    if (performance.now() - startedAtMs > 10_000) throw new Error(`unable to see ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/**
 * Applies the received events as a client would, and returns the seq of the last change. Fails if a
 * change was skipped or repeated.
 */
function applied(transport: RecordingTransport, conversation: Id, from: number): number {
  let have = from
  for (const { event, payload } of transport.events) {
    if (event === 'conversation' && payload.conversation === conversation && payload.limited === true)
      have = payload.seq
    if (event !== 'changes' || payload.conversation !== conversation) continue
    for (const { seq } of payload.changes) {
      expect(seq).toBe(have + 1)
      have = seq
    }
  }
  return have
}

describe.each(testEngines)('opening a connection on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let node: TestNode
  let ada: Id
  let bob: Id
  let group: Id
  let session: Id

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    node?.stop()
    node = await TestNode.start(store.database, new LocalBusHub())
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
    group = await fixture.group([ada, bob])
    session = await fixture.session(ada)
  })
  afterAll(() => node.stop())

  let nextText = 0
  /** Sends a message through this server, which publishes it at once. */
  const say = (text = `text ${nextText++}`): Promise<number> =>
    node
      .run('send-message', bob, { conversation: group, clientId: crypto.randomUUID(), text })
      .then(({ message }) => message.seq)
  /**
   * Returns a cursor after everything written so far. Calling `sync` once is not enough: other
   * transactions on this Postgres may hold the position back.
   */
  const cursorOf = async (user: Id): Promise<string> => {
    let { cursor } = await node.run('sync', user, { limit: 200 })
    for (;;) {
      const page = await node.run('sync', user, { cursor, limit: 200 })
      ;({ cursor } = page)
      if (page.conversations.length === 0 && !page.more) return cursor
    }
  }
  const top = async (): Promise<number> => (await fixture.seqs(group)).length

  /**
   * Returns forged cursors that contain this seq. A client could make such cursors from one of its
   * own.
   */
  const forge = (cursor: string, seq: number): string[] => {
    const { epoch, position } = node.parts.cursors.decode(cursor)!
    const fields = [epoch, position, position, group, seq]
    const bytes = Buffer.from(cursor, 'base64url')
    const sealed = bytes.toString('latin1').indexOf('[')
    return [
      Buffer.from(JSON.stringify([1, ...fields])),
      Buffer.from(JSON.stringify([2, ...fields])),
      Buffer.concat([bytes.subarray(0, sealed), Buffer.from(JSON.stringify([2, ...fields]))]),
    ].map((forged) => forged.toString('base64url'))
  }

  it('[RES4] [ACL1] resets a forged cursor, and shows nothing after a removal', async () => {
    group = await fixture.group([bob, ada])
    const watching = node.open(bob, await fixture.session(bob))
    await watching.opening
    const cursor = await cursorOf(ada)
    const forged = forge(cursor, (await top()) + 1)
    const opened = forged.map((text) => node.open(ada, session, text))
    await Promise.all(opened.map(({ opening }) => opening))
    for (const { transport } of opened) expect(transport.events.map(({ event }) => event)).toEqual(['reset', 'ready'])
    await node.run('remove-member', bob, { conversation: group, user: ada })
    const removal = await top()
    const secret = await say('a secret')
    await until('the secret where it may be seen', () => watching.transport.seqsOf(group).includes(secret))
    for (const { transport } of opened) expect(transport.seqsOf(group)).toEqual([removal])
  })

  it('[RES4] [LIM1] a forged seq in a cursor affects no feed and no later connection', async () => {
    for (const text of forge(await cursorOf(ada), Number.MAX_SAFE_INTEGER)) {
      const forger = node.open(ada, session, text)
      await forger.opening
      const other = node.open(bob, await fixture.session(bob))
      await other.opening
      expect(other.connection.state).toEqual({ kind: 'ready' })
      const seq = await say()
      await until('the message', () => [forger, other].every(({ transport }) => transport.seqsOf(group).includes(seq)))
      forger.connection.lost()
      other.connection.lost()
    }
  })

  it('[RES4] answers a genuine cursor beyond the end of the log with `limited`', async () => {
    const { epoch, position } = node.parts.cursors.decode(await cursorOf(ada))!
    const paging = { nextPosition: position, conversation: group, seq: (await top()) + 1_000 }
    const { transport, opening } = node.open(ada, session, node.parts.cursors.encode({ epoch, position, paging }))
    await opening
    expect(transport.eventsNamed('conversation')).toMatchObject([
      { conversation: group, limited: true, seq: await top() },
    ])
    const seq = await say()
    await until('the message', () => transport.seqsOf(group).includes(seq))
  })

  it('[LIM1] gives up opening a connection that never catches up with the log', async () => {
    const { connection, opening: blocked } = node.open(bob, await fixture.session(bob))
    const blocker = await node.parts.feeds.join(group, connection)
    blocker.feed.noteHead(2 ** 50)
    await expect(blocked).rejects.toThrow('changes faster')
    const before = node.statements.length
    const { opening, transport } = node.open(ada, session)
    await expect(opening).rejects.toThrow('changes faster')
    expect(transport.eventsNamed('ready')).toEqual([])
    expect(node.statements.length - before).toBeLessThan(3 * openLimits.handOverRoundsMax)
    blocker.feed.abandonJoin(blocker.join)
  })

  it('[RES5] delivers changes of unknown types by sweep, resume, sync and page', async () => {
    const cursor = await cursorOf(ada)
    const live = node.open(bob, await fixture.session(bob))
    await live.opening
    const start = await top()
    // No hint is sent for these two changes. The first is found through the gap before the next
    // message, the second by the sweep.
    const { seq, at } = await fixture.appendOther(group, bob, { type: 'message.later', target: start })
    const gap = await say()
    await until('the gap filled', () => live.transport.seqsOf(group).includes(gap))
    const { seq: swept } = await fixture.appendOther(group, bob, { type: 'thread.closed' })
    await node.sweeper.sweepNow()
    await until('the swept change', () => live.transport.seqsOf(group).includes(swept))
    expect(live.transport.seqsOf(group)).toEqual([seq, gap, swept])

    const other = { seq, type: 'message.later', at, actor: bob }
    const resumed = node.open(ada, session, cursor)
    await resumed.opening
    const synced = await node.run('sync', ada, { cursor, limit: 50 })
    const page = await node.run('list-changes', ada, { conversation: group, after: start, limit: 50 })
    for (const changes of [
      live.transport.eventsNamed('changes').flatMap((event) => event.changes),
      resumed.transport.eventsNamed('changes').flatMap((event) => event.changes),
      synced.conversations.flatMap((entry) => entry.changes),
      page.changes,
    ]) {
      expect(changes.map((change) => change.seq)).toEqual([seq, gap, swept])
      expect(changes[0]).toEqual(other)
    }
  })

  /**
   * Returns the changes of a conversation as JSON, as three sources show them: a resume with this
   * cursor, a sync with this cursor, and the log.
   */
  const showByEveryRoad = async (place: Id, cursor: string, after: number): Promise<Record<string, string>> => {
    const resumed = node.open(ada, session, cursor)
    await resumed.opening
    const events = resumed.transport.events.filter(({ event }) => event !== 'ready')
    resumed.connection.lost()
    const pages: SyncPage[] = []
    for (let at = cursor, more = true; more; ) {
      const page = await node.run('sync', ada, { cursor: at, limit: 200 })
      pages.push(page)
      ;({ cursor: at, more } = page)
    }
    const log = await node.run('list-changes', ada, { conversation: place, after, limit: 200 })
    return { resume: JSON.stringify(events), sync: JSON.stringify(pages), log: JSON.stringify(log) }
  }

  it('[ERASE1] shows no edited or deleted text in later resumes, syncs and pages', async () => {
    // The client has missed this many messages. With 0, it is served from the recent changes; with
    // 1 500, from segments; with 10 100, from the newest page.
    for (const count of [0, 1_500, 10_100])
      for (const op of ['delete', 'edit'] as const)
        for (const announced of [true, false]) {
          const what = `${op} after ${count}, ${announced ? 'announced' : 'unannounced'}`
          const place = await fixture.group([bob, ada])
          const watching = node.open(bob, await fixture.session(bob))
          await watching.opening
          const cursor = await cursorOf(ada)
          const start = (await fixture.seqs(place)).length
          if (count > 10_000) await fixture.fill(place, bob, count)
          const { message } = await node.run('send-message', bob, {
            conversation: place,
            clientId: crypto.randomUUID(),
            text: 'a secret',
          })
          if (count <= 10_000 && count > 0) await fixture.fill(place, bob, count)
          await node.sweeper.sweepNow()
          await node.parts.feeds.settle()
          // By now every cache holds the message.
          const before = await showByEveryRoad(place, cursor, start)
          expect(before['resume'], what).toContain('a secret')
          expect(before['sync'], what).toContain('a secret')

          const target = message.seq
          if (!announced)
            await fixture.apply(
              op === 'delete'
                ? { op, conversation: place, actor: bob, target }
                : { op, conversation: place, actor: bob, target, text: 'nothing' },
            )
          else if (op === 'delete') await node.run('delete-message', bob, { conversation: place, seq: target })
          else await node.run('edit-message', bob, { conversation: place, seq: target, text: 'nothing' })
          const now = await showByEveryRoad(place, cursor, start)
          for (const [road, shown] of Object.entries(now)) expect(shown, `${what}: ${road}`).not.toContain('a secret')
          watching.connection.lost()
        }
  }, 120_000)

  it('[ERASE1] hides deleted text from later clients when a read began before the deletion', async () => {
    for (const step of ['read_newest_changes', 'read_missed']) {
      const place = await fixture.group([bob, ada])
      const cursor = await cursorOf(ada)
      const { seq } = await fixture.send(place, bob, 'a secret')
      await fixture.fill(place, bob, step === 'read_newest_changes' ? 5 : 900)
      let release: () => void = () => undefined
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      node.afterwards.set(step, () => held)
      const first = node.open(ada, session, cursor)
      await until(`a read held (${step})`, () => !node.afterwards.has(step))
      await fixture.apply({ op: 'delete', conversation: place, actor: bob, target: seq })
      const second = node.open(ada, session, cursor)
      const after = node.run('sync', ada, { cursor, limit: 200 })
      await new Promise((resolve) => setTimeout(resolve, 20))
      release()
      await Promise.all([first.opening, second.opening])
      expect(JSON.stringify(second.transport.events), step).not.toContain('a secret')
      expect(JSON.stringify(await after), step).not.toContain('a secret')
      first.connection.lost()
      second.connection.lost()
    }
  })

  it('[ERASE1] hides text that is deleted while missed changes are being sent', async () => {
    const places = [await fixture.group([bob, ada]), await fixture.group([bob, ada])].sort() as [Id, Id]
    const [slow, secret] = places
    const bobs = await cursorOf(bob)
    const cursor = await cursorOf(ada)
    await fixture.fill(slow, bob, 400, 'y'.repeat(2_000))
    const { seq } = await fixture.send(secret, bob, 'a secret')
    await fixture.fill(secret, bob, 900)
    // Let another client load the segment with the secret text into the cache.
    const other = node.open(bob, await fixture.session(bob), bobs)
    await other.opening
    expect(JSON.stringify(other.transport.events)).toContain('a secret')
    const { transport, opening } = node.open(ada, session, cursor, false)
    await until('the first page', () => transport.frames.length > 0)
    await node.run('delete-message', bob, { conversation: secret, seq })
    transport.isReading = true
    transport.read()
    await opening
    await until('the deletion', () => transport.seqsOf(secret).at(-1) === 905)
    expect(transport.seqsOf(secret)).toEqual(Array.from({ length: 902 }, (_, index) => index + 4))
    expect(JSON.stringify(transport.events)).not.toContain('a secret')
  })

  it('[CLI1] resumes an interrupted first load without repeating a page', async () => {
    const places = [await fixture.group([bob, ada]), await fixture.group([bob, ada])].sort() as [Id, Id]
    for (const place of places) await fixture.fill(place, bob, 60)
    let cursor: string | undefined
    for (;;) {
      const page = await node.run('sync', ada, { limit: 50, ...(cursor !== undefined && { cursor }) })
      ;({ cursor } = page)
      if (page.conversations.some(({ conversation }) => conversation === places[0])) break
    }
    const resumed = node.open(ada, session, cursor)
    await resumed.opening
    const shown = resumed.transport.eventsNamed('conversation').filter(({ limited }) => limited === true)
    const order = [group, ...places].sort()
    expect(shown.map(({ conversation }) => conversation)).toEqual(order.slice(order.indexOf(places[0]) + 1))
    expect(resumed.transport.seqsOf(places[0])).toEqual([])
  })

  it('[JOIN1] sends a connection without a cursor only the changes after `ready`', async () => {
    await say()
    const { transport, opening, connection } = node.open(ada, session)
    await opening
    expect(connection.state).toEqual({ kind: 'ready' })
    expect(transport.events.map(({ event }) => event)).toEqual(['ready'])
    const seq = await say('now')
    await until('the change', () => transport.frames.length === 2)
    expect(transport.seqsOf(group)).toEqual([seq])
  })

  it('[JOIN1, RES1] delivers writes between any two steps of a resume exactly once', async () => {
    const steps = ['read_memberships', 'read_newest_changes', 'read_missed', 'read_log_stretch']
    for (const step of steps) {
      for (const announced of [true, false]) {
        const cursor = await cursorOf(ada)
        const start = await top()
        for (let index = 0; index < 3; index++) await say()
        // If `announced`, this server writes the message and publishes it. Otherwise, write the
        // message as another server would whose hints are lost.
        node.before.set(step, () => (announced ? say() : fixture.send(group, bob, 'elsewhere')))
        const { transport, opening, connection } = node.open(ada, session, cursor)
        const during = Array.from({ length: 5 }, () => say())
        await Promise.all([opening, ...during])
        await say()
        await node.sweeper.sweepNow()
        const end = await top()
        await until(`everything after ${step}`, () => applied(transport, group, start) === end)
        connection.lost()
      }
    }
  })

  it('[JOIN1, NODE1] resumes many clients during many writes without gap or repeat', async () => {
    const cursor = await cursorOf(ada)
    const start = await top()
    let isWriting = true
    let written = 0
    const opened: Opened[] = []
    const writing = Promise.all(
      [0, 1, 2].map(async (writer) => {
        for (let index = 0; index < 60 || opened.length < 5; index++) {
          written++
          if (writer === 2) await fixture.send(group, bob, 'elsewhere')
          else await say()
        }
      }),
    ).then(() => {
      isWriting = false
    })
    while (isWriting) {
      const one = node.open(ada, session, cursor)
      opened.push(one)
      await one.opening
    }
    await writing
    await node.sweeper.sweepNow()
    const end = await top()
    expect(end).toBe(start + written)
    await until('everything everywhere', () =>
      opened.every(({ transport }) => applied(transport, group, start) === end),
    )
    expect(opened.length).toBeGreaterThanOrEqual(5)
  })

  it('[CP1] sends everything covered by the cursor in `ready` before that event', async () => {
    const other = await fixture.group([ada, bob])
    await cursorOf(ada)
    const cursor = await cursorOf(ada)
    await say()
    // Write a message after the recent changes were loaded, without a hint to this server.
    let reads = 0
    const hook = async (): Promise<void> => {
      if (++reads === 2) await fixture.send(group, bob, 'committed, not announced')
      node.before.set('read_memberships', hook)
    }
    node.before.set('read_memberships', hook)
    const { transport, opening, connection } = node.open(ada, session, cursor)
    await opening
    node.before.clear()
    const have = applied(transport, group, 3)
    expect(have).toBe(5)
    const ready = transport.eventsNamed('ready')[0]!
    connection.lost()
    // A client that resumes from the cursor in `ready` receives nothing more.
    const again = node.open(ada, session, ready.cursor)
    await again.opening
    expect(again.transport.seqsOf(group).filter((seq) => seq > have)).toEqual([])
    expect(other).not.toBe(group)
  })

  it('[JOIN1, CP1] shows a conversation joined during opening before any cursor covers it', async () => {
    const late = await fixture.group([bob], 'channel')
    const cursor = await cursorOf(ada)
    const join = (): Promise<unknown> => node.run('put-member', ada, { conversation: late, user: 'me' })
    // Let the user join in one run between the two reads of the memberships, and in another run
    // after both reads, during the replay.
    for (const [step, nth] of [
      ['read_memberships', 2],
      ['read_log_stretch', 1],
    ] as const) {
      await say()
      let calls = 0
      const hook = async (): Promise<void> => {
        if (++calls === nth) await join()
        else node.before.set(step, hook)
      }
      node.before.set(step, hook)
      if (step === 'read_log_stretch') await fixture.fill(group, bob, 2_300)
      const { transport, opening, connection } = node.open(ada, session, cursor)
      await opening
      await until(`the joined conversation (${step})`, () =>
        transport
          .eventsNamed('conversation')
          .some(({ conversation, limited }) => conversation === late && limited === true),
      )
      const ready = transport.eventsNamed('ready')[0]!
      connection.lost()
      const entries: SyncPage['conversations'] = []
      for (let from = ready.cursor, more = true; more; ) {
        const page = await node.run('sync', ada, { cursor: from, limit: 200 })
        entries.push(...page.conversations)
        ;({ cursor: from, more } = page)
      }
      expect(entries.find(({ conversation }) => conversation === late)).toMatchObject({ limited: true })
      await fixture.apply({ op: 'remove-member', conversation: late, actor: ada, user: ada })
    }
  })

  it('[ACL1] sends a removal that happens between any two steps, and no later change', async () => {
    const steps = [
      ['read_memberships', 1],
      ['read_memberships', 2],
      ['read_newest_changes', 1],
      ['read_missed', 1],
      ['read_log_stretch', 1],
    ] as const
    for (const [step, nth] of steps) {
      for (const announced of [true, false]) {
        const place = await fixture.group([bob, ada])
        const cursor = await cursorOf(ada)
        // For some steps, write more changes than the cache of recent changes holds, so that older
        // changes are read from the database.
        await fixture.fill(place, bob, step === 'read_log_stretch' ? 2_600 : step === 'read_missed' ? 600 : 3, 'before')
        let removal = 0
        let calls = 0
        const hook = async (): Promise<void> => {
          if (++calls < nth) {
            node.before.set(step, hook)
            return
          }
          if (announced) {
            await node.run('remove-member', bob, { conversation: place, user: ada })
            removal = (await fixture.seqs(place)).length
            await node.run('send-message', bob, {
              conversation: place,
              clientId: crypto.randomUUID(),
              text: 'a secret',
            })
          } else {
            removal = (await fixture.apply({ op: 'remove-member', conversation: place, actor: bob, user: ada })).seq
            await fixture.send(place, bob, 'a secret')
          }
        }
        node.before.set(step, hook)
        const { transport, opening, connection } = node.open(ada, session, cursor)
        await opening
        node.before.clear()
        await node.sweeper.sweepNow()
        const where = `${step} ${nth}, ${announced ? 'announced' : 'not announced'}`
        await until(`the removal (${where})`, () => transport.seqsOf(place).includes(removal))
        const seqs = transport.seqsOf(place)
        expect(Math.max(...seqs), where).toBe(removal)
        expect(seqs, where).toEqual([...new Set(seqs)].sort((a, b) => a - b))
        expect(JSON.stringify(transport.events), where).not.toContain('secret')
        const told = transport.eventsNamed('conversation').filter(({ conversation }) => conversation === place)
        expect(told.at(-1), where).toMatchObject({ left: true, seq: removal })
        expect(
          told.filter(({ left }) => left === true),
          where,
        ).toHaveLength(1)
        connection.lost()
      }
    }
  })

  it("[ACL1] hides messages after a removal that happens during another conversation's replay", async () => {
    const cursor = await cursorOf(ada)
    const places = [await fixture.group([bob, ada]), await fixture.group([bob, ada])].sort() as [Id, Id]
    const [slow, secret] = places
    const started = await cursorOf(ada)
    expect(cursor).not.toBe(started)
    for (let index = 0; index < 6; index++)
      await node.run('send-message', bob, {
        conversation: slow,
        clientId: crypto.randomUUID(),
        text: 'x'.repeat(20_000),
      })
    await fixture.fill(slow, bob, 250, 'y'.repeat(2_000))
    await node.run('send-message', bob, { conversation: secret, clientId: crypto.randomUUID(), text: 'fine' })
    // The client stops reading. So the replay waits after the first page of the first conversation.
    const { transport, opening } = node.open(ada, session, started, false)
    await until('the first page', () => transport.frames.length > 0)
    await node.run('remove-member', bob, { conversation: secret, user: ada })
    const removal = (await fixture.seqs(secret)).length
    await node.run('send-message', bob, { conversation: secret, clientId: crypto.randomUUID(), text: 'a secret' })
    await node.parts.feeds.settle()
    transport.isReading = true
    transport.read()
    await opening
    await until('the removal', () => transport.seqsOf(secret).includes(removal))
    await node.parts.feeds.settle()
    expect(transport.seqsOf(secret).at(-1)).toBe(removal)
    expect(JSON.stringify(transport.events)).not.toContain('a secret')
    expect(transport.eventsNamed('conversation')).toMatchObject([{ conversation: secret, left: true, seq: removal }])
  })

  it('[ACL1] hides messages after a removal while other clients resume', async () => {
    const places = [await fixture.group([bob, ada]), await fixture.group([bob, ada])].sort() as [Id, Id]
    const [slow, secret] = places
    const started = await cursorOf(ada)
    const bobs = await cursorOf(bob)
    await fixture.fill(slow, bob, 400, 'y'.repeat(2_000))
    const send = (text: string): Promise<unknown> =>
      node.run('send-message', bob, { conversation: secret, clientId: crypto.randomUUID(), text })
    await send('fine')
    const { transport, opening } = node.open(ada, session, started, false)
    await until('the first page', () => transport.frames.length > 0)
    await node.run('remove-member', bob, { conversation: secret, user: ada })
    const removal = (await fixture.seqs(secret)).length
    await send('a secret')
    // When this client resumes, the server loads the recent changes with the secret text, and the
    // feed learns the last seq of the log.
    await node.open(bob, await fixture.session(bob), bobs).opening
    await send('another secret')
    transport.isReading = true
    transport.read()
    await opening
    await until('the removal', () => transport.seqsOf(secret).includes(removal))
    await send('a third secret')
    await node.parts.feeds.settle()
    expect(transport.seqsOf(secret).at(-1)).toBe(removal)
    expect(JSON.stringify(transport.events)).not.toContain('secret"')
  })

  it('[JOIN1] [TAIL1] a connection stays subscribed if its user leaves and returns during a join', async () => {
    const place = await fixture.group([bob])
    const { transport, opening, connection } = node.open(ada, session)
    await opening
    node.before.set('read_conversation', async () => {
      await node.run('remove-member', bob, { conversation: place, user: ada })
      await node.run('put-member', bob, { conversation: place, user: ada })
    })
    await node.run('put-member', bob, { conversation: place, user: ada })
    await until('the subscription', () => connection.conversations.has(place) && connection.joinsInProgress === 0)
    const { seq } = (
      await node.run('send-message', bob, {
        conversation: place,
        clientId: crypto.randomUUID(),
        text: 'here again',
      })
    ).message
    await until('the message', () => transport.seqsOf(place).includes(seq))
    connection.lost()
  })

  /**
   * Sweeps until a checkpoint has been sent. That checkpoint covers everything written before this
   * call.
   */
  const sweepToCheckpoint = async ({ connection, transport }: Opened): Promise<void> => {
    const before = transport.eventsNamed('checkpoint').length
    await until('the end of joins', () => connection.joinsInProgress === 0)
    for (let sweeps = 0; transport.eventsNamed('checkpoint').length === before; sweeps++) {
      if (sweeps > 20) throw new Error('no checkpoint leaves')
      await node.sweeper.sweepNow()
      await until('the end of joins', () => connection.joinsInProgress === 0)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const leftOf = ({ transport }: Opened, place: Id): number[] =>
    transport
      .eventsNamed('conversation')
      .filter((event) => event.conversation === place && event.left === true)
      .map(({ seq }) => seq)

  it('[ACL1] [CP1] sends a removal that comes during a join before the next checkpoint', async () => {
    for (const step of ['read_newest_pages', 'read_conversation', 'read_standing'])
      for (const announced of [true, false]) {
        const place = await fixture.group([bob])
        const opened = node.open(ada, session)
        await opened.opening
        const remove = async (): Promise<unknown> =>
          announced
            ? node.run('remove-member', bob, { conversation: place, user: ada })
            : fixture.apply({ op: 'remove-member', conversation: place, actor: bob, user: ada })
        if (step === 'read_standing') {
          // Remove the user before the join reads the newest page. Then add and remove the user
          // again before the first removal is sent.
          node.before.set('read_newest_pages', remove)
          node.before.set('read_standing', async () => {
            await fixture.apply({ op: 'put-member', conversation: place, actor: bob, user: ada, role: null })
            node.before.set('read_newest_pages', remove)
          })
        } else node.before.set(step, remove)
        await node.run('put-member', bob, { conversation: place, user: ada })
        await until('the removal', () => leftOf(opened, place).length > 0)
        await sweepToCheckpoint(opened)
        const removal = await fixture.seqs(place).then((seqs) => seqs.length)
        expect(leftOf(opened, place), step).toEqual([removal])
        expect(
          opened.transport.seqsOf(place).filter((seq) => seq === removal),
          step,
        ).toEqual([removal])
        expect(opened.transport.events.at(-1)?.event).toBe('checkpoint')
        expect(opened.connection.conversations.has(place)).toBe(false)
        node.before.clear()
        opened.connection.lost()
      }
  })

  it('[TAIL1] [CP1] sends a removal once, before the checkpoint, when every hint is lost', async () => {
    const place = await fixture.group([bob])
    const opened = node.open(ada, session)
    await opened.opening
    await fixture.apply({ op: 'put-member', conversation: place, actor: bob, user: ada, role: null })
    const { seq } = await fixture.apply({ op: 'remove-member', conversation: place, actor: bob, user: ada })
    await sweepToCheckpoint(opened)
    expect(leftOf(opened, place)).toEqual([seq])
    // A late hint of the user's join changes nothing.
    node.parts.feeds.announceMembership(place, ada)
    await until('the end of joins', () => opened.connection.joinsInProgress === 0)
    await node.sweeper.sweepNow()
    expect(leftOf(opened, place)).toEqual([seq])
    expect(opened.transport.seqsOf(place)).toEqual([seq])
    // A connection that opens afterwards receives no removal.
    const later = node.open(ada, session)
    await later.opening
    node.parts.feeds.announceMembership(place, ada)
    await until('the end of joins', () => later.connection.joinsInProgress === 0)
    await node.sweeper.sweepNow()
    expect(leftOf(later, place)).toEqual([])
  })

  it('[TAIL1] [ACL1] [CP1] joins a conversation again after a removal whose hint was lost', async () => {
    for (const newsOfJoin of [true, false])
      for (const [before, between, after] of [
        [0, 600, 3],
        [3, 0, 0],
        [700, 2, 700],
      ] as const) {
        const place = await fixture.group([bob, ada])
        const opened = node.open(ada, session)
        await opened.opening
        if (before > 0) await fixture.fill(place, bob, before)
        const { seq: removal } = await fixture.apply({
          op: 'remove-member',
          conversation: place,
          actor: bob,
          user: ada,
        })
        if (between > 0) await fixture.fill(place, bob, between, 'a secret')
        await fixture.apply({ op: 'put-member', conversation: place, actor: bob, user: ada, role: null })
        if (after > 0) await fixture.fill(place, bob, after)
        // The hint of the new join is ignored, because the connection is still subscribed.
        if (newsOfJoin) node.parts.feeds.announceMembership(place, ada)
        await sweepToCheckpoint(opened)
        expect(leftOf(opened, place)).toEqual([removal])
        expect(opened.connection.conversations.has(place)).toBe(true)
        const { seq } = (
          await node.run('send-message', bob, { conversation: place, clientId: crypto.randomUUID(), text: 'welcome' })
        ).message
        await until('the message', () => opened.transport.seqsOf(place).includes(seq))
        const pages = opened.transport
          .eventsNamed('conversation')
          .filter((event) => event.conversation === place && event.limited === true)
        expect(pages.length).toBeGreaterThan(0)
        applied(opened.transport, place, 3)
        opened.connection.lost()
      }
  })

  it('[ACL1] never subscribes a user removed between the two membership reads', async () => {
    const place = await fixture.group([bob, ada])
    const { position } = node.parts.cursors.decode(await cursorOf(ada)) as { position: number }
    for (const from of [0, position]) {
      if (from > 0) await node.run('put-member', bob, { conversation: place, user: ada })
      node.before.set('read_memberships', async () => {
        // Set the second hook after the first read of the memberships, so that the user is removed
        // before the second one.
        node.before.set('read_memberships', () => node.run('remove-member', bob, { conversation: place, user: ada }))
        await Promise.resolve()
      })
      const { transport, opening, connection } = node.open(
        ada,
        session,
        node.parts.cursors.encode({ epoch: node.parts.epoch(), position: from }),
      )
      await opening
      node.before.clear()
      await node.run('send-message', bob, { conversation: place, clientId: crypto.randomUUID(), text: 'a secret' })
      await node.sweeper.sweepNow()
      await node.parts.feeds.settle()
      expect(connection.conversations.has(place)).toBe(false)
      expect(JSON.stringify(transport.events)).not.toContain('a secret')
      connection.lost()
    }
  })

  it('[ACL1] hides messages that another subscriber caches after a removal during a replay', async () => {
    const places = [await fixture.group([bob, ada]), await fixture.group([bob, ada])].sort() as [Id, Id]
    const [slow, secret] = places
    // Another connection subscribes to the conversation, so that its changes are delivered and
    // cached at once.
    await node.open(bob, await fixture.session(bob)).opening
    const cursor = await cursorOf(ada)
    await fixture.fill(slow, bob, 400, 'y'.repeat(2_000))
    const send = (text: string): Promise<unknown> =>
      node.run('send-message', bob, { conversation: secret, clientId: crypto.randomUUID(), text })
    await send('fine')
    const { transport, opening } = node.open(ada, session, cursor, false)
    await until('the first page', () => transport.frames.length > 0)
    await node.run('remove-member', bob, { conversation: secret, user: ada })
    const removal = (await fixture.seqs(secret)).length
    await send('a secret')
    await node.parts.feeds.settle()
    transport.isReading = true
    transport.read()
    await opening
    expect(transport.seqsOf(secret)).toEqual([removal])
    expect(JSON.stringify(transport.events)).not.toContain('a secret')
  })

  it('[SLOW1, CP1] sends missed changes page by page, with a resumable checkpoint after each page', async () => {
    const second = await fixture.group([ada, bob])
    const cursor = await cursorOf(ada)
    await fixture.fill(group, bob, 900)
    await fixture.fill(second, bob, 450)
    const starts = new Map([
      [group, 3],
      [second, 3],
    ])
    const { transport, opening, connection } = node.open(ada, session, cursor, false)
    let most = 0
    let done = false
    void opening.then(() => {
      done = true
    })
    await until('the end of the replay', () => {
      most = Math.max(most, connection.unreadBytes)
      transport.read()
      return done
    })
    // At most about one page is queued and unread, never the whole replay.
    expect(most).toBeLessThan(262_144 + 100_000)
    const checkpoints = transport.events.flatMap(({ event, payload }, index) =>
      event === 'checkpoint' ? [{ index, cursor: payload.cursor }] : [],
    )
    expect(checkpoints.length).toBeGreaterThanOrEqual(4)
    for (const { index, cursor: from } of checkpoints) {
      // For each checkpoint, compare the changes that the client had received before it with the
      // changes that a resume from its cursor sends.
      const have = new Map(starts)
      for (const { event, payload } of transport.events.slice(0, index)) {
        if (event === 'changes') have.set(payload.conversation, payload.changes.at(-1)!.seq)
      }
      await fixture.send(group, bob, 'meanwhile')
      const again = node.open(ada, session, from)
      await again.opening
      for (const [conversation, seq] of have) {
        const fresh = again.transport.seqsOf(conversation).filter((told) => told > seq)
        const last = (await fixture.seqs(conversation)).length
        expect(fresh).toEqual(Array.from({ length: last - seq }, (_, offset) => seq + 1 + offset))
      }
      again.connection.lost()
    }
  })

  it('[LIM2] fifty resuming clients together cause two reads of changes at most', async () => {
    const sessions = await Promise.all(Array.from({ length: 50 }, () => fixture.session(ada)))
    const cursor = await cursorOf(ada)
    for (let index = 0; index < 20; index++) await fixture.send(group, bob, `${index}`)
    node.statements.length = 0
    const opened = sessions.map((id) => node.open(ada, id, cursor))
    await Promise.all(opened.map(({ opening }) => opening))
    for (const { transport } of opened) expect(transport.seqsOf(group)).toHaveLength(20)
    const count = (name: string): number => node.statements.filter((statement) => statement === name).length
    expect(
      count('read_newest_changes') +
        count('read_range') +
        count('read_log_stretch') +
        count('read_missed') +
        count('read_boundary'),
    ).toBeLessThanOrEqual(2)
    expect(count('read_memberships')).toBeLessThanOrEqual(4)
  })

  it('[LIM2] fifty resuming clients share one read of changes that left the cache', async () => {
    const sessions = await Promise.all(Array.from({ length: 50 }, () => fixture.session(ada)))
    const cursor = await cursorOf(ada)
    await fixture.fill(group, bob, 900)
    node.statements.length = 0
    const opened = sessions.map((id) => node.open(ada, id, cursor))
    await Promise.all(opened.map(({ opening }) => opening))
    for (const { transport } of opened) expect(transport.seqsOf(group)).toHaveLength(900)
    const count = (name: string): number => node.statements.filter((statement) => statement === name).length
    // One read of the recent changes, and one read of the older missed changes that also finds
    // their first seq.
    expect([count('read_newest_changes'), count('read_missed')]).toEqual([1, 1])
    expect(
      count('read_boundary') + count('read_log_stretch') + count('read_changes_for_member') + count('read_range'),
    ).toBe(0)
    expect(count('read_memberships')).toBeLessThanOrEqual(4)
    // The same clients then send `sync` requests, which need no further read of changes.
    node.statements.length = 0
    const pages = await Promise.all(sessions.map(() => node.run('sync', ada, { cursor, limit: 200 })))
    for (const page of pages) expect(page.conversations[0]?.changes).toHaveLength(200)
    expect(
      count('read_missed') + count('read_boundary') + count('read_log_stretch') + count('read_changes_for_member'),
    ).toBe(0)
  })

  it('[LIM2] shares one read between forty clients that missed different parts', async () => {
    const sessions = await Promise.all(Array.from({ length: 40 }, () => fixture.session(ada)))
    const cursors: string[] = []
    for (const session of sessions) {
      cursors.push(await cursorOf(ada))
      await fixture.send(group, bob, `before ${session}`)
    }
    await fixture.fill(group, bob, 400)
    const top = (await fixture.seqs(group)).length
    node.statements.length = 0
    const opened = sessions.map((id, index) => node.open(ada, id, cursors[index]))
    await Promise.all(opened.map(({ opening }) => opening))
    for (const [index, { transport }] of opened.entries()) {
      const seqs = transport.seqsOf(group)
      expect([seqs[0], seqs.at(-1), seqs.length]).toEqual([top - 439 + index, top, 440 - index])
    }
    const count = (name: string): number => node.statements.filter((statement) => statement === name).length
    expect([count('read_newest_changes'), count('read_missed')]).toEqual([1, 1])
    expect(count('read_boundary') + count('read_log_stretch') + count('read_range')).toBe(0)
  })

  it('[LIM2] all resuming clients share one read of a change whose hint was lost', async () => {
    const sessions = await Promise.all(Array.from({ length: 50 }, () => fixture.session(ada)))
    const cursor = await cursorOf(ada)
    for (let index = 0; index < 5; index++) await fixture.send(group, bob, `${index}`)
    node.statements.length = 0
    // After the recent changes were loaded, write a message as another server would, without a hint
    // to this server.
    node.before.set('read_newest_changes', async () => {
      node.before.set('read_memberships', () => fixture.send(group, bob, 'unannounced'))
    })
    const opened = sessions.map((id) => node.open(ada, id, cursor))
    await Promise.all(opened.map(({ opening }) => opening))
    for (const { transport } of opened) expect(transport.seqsOf(group)).toHaveLength(6)
    const count = (name: string): number => node.statements.filter((statement) => statement === name).length
    expect(count('read_newest_changes')).toBe(2)
    expect(count('read_missed') + count('read_boundary') + count('read_log_stretch') + count('read_range')).toBe(0)
  })

  it('[LIM2] reads the newest page of a conversation once for fifty clients', async () => {
    const sessions = await Promise.all(Array.from({ length: 50 }, () => fixture.session(ada)))
    const cursor = await cursorOf(ada)
    await fixture.fill(group, bob, 10_050)
    node.statements.length = 0
    const opened = sessions.map((id) => node.open(ada, id, cursor))
    await Promise.all(opened.map(({ opening }) => opening))
    for (const { transport } of opened) {
      const [told] = transport.eventsNamed('conversation')
      expect([told?.limited, told?.messages?.length]).toEqual([true, 50])
    }
    const count = (name: string): number => node.statements.filter((statement) => statement === name).length
    expect([count('read_newest_changes'), count('read_missed'), count('read_newest_pages')]).toEqual([1, 1, 1])
    node.statements.length = 0
    const pages = await Promise.all(sessions.map(() => node.run('sync', ada, { limit: 50 })))
    for (const page of pages) expect(page.conversations[0]?.messages).toHaveLength(50)
    expect(count('read_newest_pages') + count('read_message_page_newest')).toBe(0)
  })

  it('[LIM2, RES1] sends a cached newest page plus the changes after it', async () => {
    const cursor = await cursorOf(ada)
    await fixture.fill(group, bob, 10_050)
    const read = await top()
    const opened: Opened[] = []
    node.statements.length = 0
    for (let index = 0; index < 20; index++) {
      const { transport, opening, connection } = node.open(ada, await fixture.session(ada), cursor)
      await opening
      opened.push({ transport, opening, connection })
      await say()
    }
    await until('the last', () => opened.every(({ transport }) => transport.seqsOf(group).includes(read + 20)))
    for (const [index, { transport }] of opened.entries()) {
      const told = transport.eventsNamed('conversation')
      expect(told[0]).toMatchObject({ limited: true, seq: read })
      // The seq that the unread count covers is sent, too, so that the client does not count later
      // changes twice.
      expect(told.at(-1)).toMatchObject({ seq: read + index, readSeq: told[0]?.readSeq, unread: told[0]?.unread })
      expect(applied(transport, group, 0)).toBe(read + 20)
    }
    const count = (name: string): number => node.statements.filter((statement) => statement === name).length
    expect([count('read_newest_pages'), count('read_newest_changes')]).toEqual([1, 1])
  })

  it("[ACL1] hides from a removed user a later edit that another client's resume cached", async () => {
    const place = await fixture.group([bob, ada])
    const cursor = await cursorOf(ada)
    const bobs = await cursorOf(bob)
    await fixture.fill(place, bob, 2_500, 'x'.repeat(300))
    const { transport, opening } = node.open(ada, session, cursor, false)
    await until('the first page', () => transport.frames.length > 0)
    const { seq: removal } = await fixture.apply({ op: 'remove-member', conversation: place, actor: bob, user: ada })
    await fixture.apply({ op: 'edit', conversation: place, actor: bob, target: 2_100, text: 'a secret' })
    // This resume loads the segment with the edited message into the cache.
    await node.open(bob, await fixture.session(bob), bobs).opening
    const proof = (await node.parts.catchUp.prove(bob, place))!
    const read = await node.parts.catchUp.read(proof, 2_100, 2_100)
    expect(JSON.stringify(read?.changes)).toContain('a secret')
    transport.isReading = true
    transport.read()
    await opening
    await node.sweeper.sweepNow()
    await until('the removal', () => transport.seqsOf(place).includes(removal))
    expect(Math.max(...transport.seqsOf(place))).toBe(removal)
    expect(JSON.stringify(transport.events)).not.toContain('a secret')
  })

  it('[ACL2] sends nothing to a session revoked during opening', async () => {
    const cursor = await cursorOf(ada)
    await say()
    node.before.set('read_newest_changes', () =>
      fixture.sql('update sessions set revoked_at = now(), xid = pg_current_xact_id() where id = $1', [session]),
    )
    const { transport, opening, connection } = node.open(ada, session, cursor)
    await opening
    expect(connection.state).toEqual({ kind: 'closed', code: 'revoked' })
    expect(transport.events.map(({ event }) => event)).toEqual(['closing'])
    expect(node.parts.feeds.get(group)).toBeUndefined()
  })

  it('releases feed and connection when the client leaves during opening', async () => {
    for (const step of ['read_memberships', 'read_newest_changes']) {
      const cursor = await cursorOf(ada)
      await say()
      const opened = { lost: (): void => undefined }
      node.before.set(step, async () => opened.lost())
      const { opening, connection } = node.open(ada, session, cursor)
      opened.lost = () => connection.lost()
      await opening
      expect(node.parts.feeds.size).toBe(0)
      expect(node.parts.connections.size).toBe(0)
    }
  })

  it('[TAIL1] the sweep finds a lost join, read marker and change', async () => {
    const elsewhere = await TestNode.start(await store.openSecond(), new LocalBusHub())
    try {
      const { transport, opening } = elsewhere.open(ada, session)
      await opening
      await say('from far away')
      const channel = await fixture.group([bob], 'channel')
      await node.run('put-member', ada, { conversation: channel, user: 'me' })
      await node.run('mark-read', ada, { conversation: group, seq: 4 })
      await elsewhere.sweeper.sweepNow()
      await until(
        'all three',
        () => transport.eventsNamed('conversation').length >= 2 && transport.seqsOf(group).length === 1,
      )
      const told = transport.eventsNamed('conversation')
      expect(told.find(({ conversation }) => conversation === channel)).toMatchObject({ limited: true })
      expect(told.find(({ conversation }) => conversation === group)).toMatchObject({ readSeq: 4, unread: 0 })
      // The checkpoint is sent after the join, the marker and the change, and covers them.
      await until('no join in progress', () =>
        [...elsewhere.parts.connections].every(({ joinsInProgress }) => joinsInProgress === 0),
      )
      for (;;) {
        await elsewhere.sweeper.sweepNow()
        const checkpoint = transport.eventsNamed('checkpoint').at(-1)
        const page = await elsewhere.run('sync', ada, {
          limit: 50,
          ...(checkpoint !== undefined && { cursor: checkpoint.cursor }),
        })
        if (checkpoint !== undefined && page.conversations.length === 0) break
        // Sweep again: another transaction on this Postgres still holds the position back.
        ;[...elsewhere.parts.connections].forEach((connection) => {
          connection.owesCheckpoint = true
        })
      }
    } finally {
      elsewhere.stop()
    }
  })

  it('[TAIL1] [LIM2] reads the lost read markers of many connections in one statement', async () => {
    const elsewhere = await TestNode.start(await store.openSecond(), new LocalBusHub())
    try {
      const seq = await say()
      const people = [ada, bob]
      const opened = await Promise.all(
        [ada, ada, bob, ada, bob].map(async (user) => elsewhere.open(user, await fixture.session(user))),
      )
      await Promise.all(opened.map(({ opening }) => opening))
      for (const user of people) await node.run('mark-read', user, { conversation: group, seq })
      elsewhere.statements.length = 0
      await elsewhere.sweeper.sweepNow()
      await until('the markers', () =>
        opened.every(({ transport }) => transport.eventsNamed('conversation').some(({ readSeq }) => readSeq === seq)),
      )
      const reads = elsewhere.statements.filter((name) => name === 'read_markers' || name === 'read_conversation')
      expect(reads).toEqual(['read_markers'])
    } finally {
      elsewhere.stop()
    }
  })

  it('[TAIL1] [CP1] a failed read of a marker closes no connection, and a sweep retries it', async () => {
    const elsewhere = await TestNode.start(await store.openSecond(), new LocalBusHub())
    try {
      const { transport, opening, connection } = elsewhere.open(ada, session)
      await opening
      const seq = await say()
      await node.run('mark-read', ada, { conversation: group, seq })
      let reads = 0
      const fail = async (): Promise<never> => {
        reads++
        throw new Error('away')
      }
      elsewhere.before.set('read_markers', fail)
      await elsewhere.sweeper.sweepNow()
      await until('the failed read', () => connection.owedMarkers.get(group) === 'failed')
      await elsewhere.parts.feeds.settle()
      elsewhere.before.set('read_markers', fail)
      await elsewhere.sweeper.sweepNow()
      await until('another', () => reads === 2 && connection.owedMarkers.get(group) === 'failed')
      expect(connection.state).toEqual({ kind: 'ready' })
      expect(transport.eventsNamed('conversation')).toEqual([])
      expect(transport.eventsNamed('checkpoint')).toEqual([])
      // The marker moves again during its read, so a later value must be sent after the value read.
      let later = 0
      elsewhere.before.set('read_markers', async () => {
        later = await say()
        await node.run('mark-read', ada, { conversation: group, seq: later })
        sendReadMarker(elsewhere.parts, connection, group)
      })
      await elsewhere.sweeper.sweepNow()
      await until('the marker', () => connection.owedMarkers.size === 0)
      expect(transport.eventsNamed('conversation').at(-1)).toMatchObject({ readSeq: later, unread: 0, seq: later })
      expect(elsewhere.statements.filter((name) => name === 'read_markers')).toHaveLength(4)
    } finally {
      elsewhere.stop()
    }
  })

  it('[ACL1] the sweep finds a removal whose hint was lost, and sends nothing after it', async () => {
    const elsewhere = await TestNode.start(await store.openSecond(), new LocalBusHub())
    try {
      const { transport, opening, connection } = elsewhere.open(bob, await fixture.session(bob))
      await opening
      const { seq: removal } = await fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user: bob })
      await fixture.send(group, ada, 'a secret')
      await elsewhere.sweeper.sweepNow()
      await until('the removal', () => transport.seqsOf(group).length > 0)
      expect(transport.seqsOf(group)).toEqual([removal])
      expect(connection.conversations.has(group)).toBe(false)
      expect(JSON.stringify(transport.events)).not.toContain('secret')
    } finally {
      elsewhere.stop()
    }
  })

  it('[ACL1] hides later edits from a removed user when a sweep fills a gap', async () => {
    for (const isInside of [true, false]) {
      const place = await fixture.group([ada, bob])
      const elsewhere = await TestNode.start(await store.openSecond(), new LocalBusHub())
      try {
        const removed = elsewhere.open(bob, await fixture.session(bob))
        const stays = elsewhere.open(ada, session)
        await Promise.all([removed.opening, stays.opening])
        const { seq } = await fixture.send(place, ada, 'fine')
        const { seq: removal } = await fixture.apply({
          op: 'remove-member',
          conversation: place,
          actor: ada,
          user: bob,
        })
        await fixture.apply({ op: 'edit', conversation: place, actor: ada, target: seq, text: 'a secret' })
        // In one run, let the sweep find all changes. In another run, report only the message
        // before the removal to the feed.
        if (!isInside) elsewhere.parts.feeds.requireUpTo(place, seq)
        else await elsewhere.sweeper.sweepNow()
        await until('the repair', () => stays.transport.seqsOf(place).includes(seq))
        await elsewhere.sweeper.sweepNow()
        await until('the rest', () => stays.transport.seqsOf(place).includes(removal + 1))
        expect(removed.transport.seqsOf(place)).toEqual([removal])
        expect(removed.transport.eventsNamed('conversation').filter(({ left }) => left === true)).toHaveLength(1)
        expect(JSON.stringify(removed.transport.events)).not.toContain('a secret')
        expect(removed.connection.conversations.has(place)).toBe(false)
      } finally {
        elsewhere.stop()
      }
    }
  })

  it('[CP1] sends a read marker after `ready` when it moved during opening', async () => {
    const seq = await say()
    const cursor = await cursorOf(ada)
    await fixture.fill(group, bob, 300)
    node.before.set('read_missed', () => node.run('mark-read', ada, { conversation: group, seq }))
    const { transport, opening } = node.open(ada, session, cursor)
    await opening
    await until('the marker', () => transport.events.at(-1)?.event === 'conversation')
    expect(transport.events.at(-1)?.payload).toMatchObject({ conversation: group, readSeq: seq })
  })
})
