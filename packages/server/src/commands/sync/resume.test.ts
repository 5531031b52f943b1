/**
 * Tests on both engines how clients receive missed changes, by `sync` and by a resuming connection:
 * they get all of them, or the answer `limited`.
 */
import type { Change, Id, SyncPage } from '@chorus/protocol'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { LocalBusHub } from '../../bus/bus-local.ts'
import { LogFixture, openLog } from '../../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../../database/testing/open-test-database.ts'
import { TestNode } from '../testing/test-node.ts'

/** A simulated client that only follows cursors and checks every change it receives. */
class Follower {
  readonly #node: TestNode
  readonly #user: Id
  cursor: string | undefined
  /** Newest seq that the client has, by conversation. */
  readonly have = new Map<Id, number>()
  /** Changes that the client received after the first load, by conversation. */
  readonly told = new Map<Id, Change[]>()
  readonly limited: Id[] = []
  readonly left: Id[] = []

  constructor(node: TestNode, user: Id) {
    this.#node = node
    this.#user = user
  }

  /** Requests one page of the sync and checks and applies its changes. */
  async page(limit = 50): Promise<SyncPage> {
    const page = await this.#node.run('sync', this.#user, {
      limit,
      ...(this.cursor !== undefined && { cursor: this.cursor }),
    })
    for (const entry of page.conversations) {
      const { conversation } = entry
      if (entry.limited === true) {
        this.limited.push(conversation)
        this.have.set(conversation, entry.seq)
        continue
      }
      if (entry.left === true) this.left.push(conversation)
      for (const change of entry.changes) {
        const have = this.have.get(conversation)
        // Repeats are dropped by their seq; no seq may be skipped.
        if (have !== undefined && change.seq <= have) continue
        if (have !== undefined && entry.left !== true) expect(change.seq).toBe(have + 1)
        this.have.set(conversation, change.seq)
        this.told.set(conversation, [...(this.told.get(conversation) ?? []), change])
      }
    }
    this.cursor = page.cursor
    return page
  }

  /**
   * Requests pages until the cursor is after every change. The cursor may lag behind the pages
   * already shown, because open transactions of other test files on this Postgres hold the position
   * back. So only an empty last page proves that the cursor does not lag.
   */
  async settle(): Promise<void> {
    await this.follow()
    for (;;) {
      const { conversations, more } = await this.page()
      if (conversations.length === 0 && !more) return
    }
  }

  /**
   * Runs the first load, then clears the records, so that only later pages and changes are counted.
   */
  async start(): Promise<void> {
    await this.settle()
    this.limited.length = 0
    this.left.length = 0
    this.told.clear()
  }

  async follow(limit = 50): Promise<void> {
    for (let pages = 0; pages < 500; pages++) if (!(await this.page(limit)).more) return
    throw new Error('sync does not end')
  }
}

describe.each(testEngines)('receiving missed changes on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let node: TestNode
  let ada: Id
  let bob: Id

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    node = await TestNode.start(store.database, new LocalBusHub())
  })
  afterAll(async () => {
    node.stop()
    await store.close()
  })
  const newPeople = async (): Promise<void> => {
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
  }

  it('[RES1] a first load shows the newest page of each conversation, later pages the rest', async () => {
    await newPeople()
    const group = await fixture.group([ada, bob])
    for (let index = 0; index < 60; index++) await fixture.send(group, bob, `m${index}`)
    const left = await fixture.group([bob, ada])
    await fixture.apply({ op: 'remove-member', conversation: left, actor: bob, user: ada })
    const first = await node.run('sync', ada, { limit: 50 })
    expect(first.more).toBe(true)
    const [entry] = first.conversations
    expect(first.conversations).toHaveLength(1)
    expect(entry).toMatchObject({ conversation: group, limited: true, seq: 63, unread: 60 })
    expect(entry?.messages).toHaveLength(50)
    const follower = new Follower(node, ada)
    await follower.start()
    await fixture.send(group, bob, 'after')
    await follower.follow()
    expect(follower.told.get(group)?.map((change) => change.type)).toEqual(['message.created'])
    expect(follower.limited).toEqual([])
    await follower.settle()
  })

  it('[RES1, RES2] a cursor misses nothing despite many writers, aborts and long transactions', async () => {
    await newPeople()
    const groups = await Promise.all(Array.from({ length: 6 }, () => fixture.group([ada, bob])))
    const second = openLog(await store.openSecond())
    const follower = new Follower(node, ada)
    await follower.start()
    let isWriting = true

    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let index = 0; index < 40; index++) {
        const group = groups[(writer + index) % groups.length] as Id
        const log = writer % 2 === 0 ? fixture.log : second
        // Some of the messages are refused, which takes no seq.
        await fixture.send(group, bob, `${writer}.${index}`, { log, ...(index % 7 === 0 && { replyTo: 99_999 }) })
      }
    })
    const slow =
      engine === 'postgres' ? [0, 1].map((which) => writeSlowly(store.url!, groups, bob, which, () => isWriting)) : []
    const reading = (async () => {
      while (isWriting) await follower.follow(7)
    })()
    await Promise.all(writers)
    isWriting = false
    await Promise.all([reading, ...slow])
    await follower.follow(7)

    expect(follower.limited).toEqual([])
    for (const group of groups) {
      const seqs = await fixture.seqs(group)
      expect(follower.have.get(group)).toBe(seqs.length)
      expect(follower.told.get(group)?.map(({ seq }) => seq)).toEqual(seqs.slice(3))
    }
  })

  it('[RES1] a sync misses nothing that arrives between pages of many conversations', async () => {
    await newPeople()
    const groups = await Promise.all(Array.from({ length: 12 }, () => fixture.group([ada, bob])))
    const follower = new Follower(node, ada)
    await follower.start()
    for (const group of groups) for (let index = 0; index < 5; index++) await fixture.send(group, bob, `${index}`)
    const sorted = [...groups].sort()
    let pages = 0
    for (;;) {
      const page = await follower.page(4)
      pages++
      if (!page.more) break
      if (pages > 100) throw new Error('sync does not end')
      // Write to a conversation already shown, to one being shown and to one still to come.
      if (pages < 8) for (const index of [0, 3, 11]) await fixture.send(sorted[index]!, bob, `between ${pages}`)
    }
    await follower.follow(4)
    for (const group of groups) expect(follower.have.get(group)).toBe((await fixture.seqs(group)).length)
    expect(follower.limited).toEqual([])
  })

  it('[RES1, LIM1] a sync page reads no more memberships than it shows, each exactly once', async () => {
    await newPeople()
    const groups = await Promise.all(Array.from({ length: 30 }, () => fixture.group([bob, ada])))
    const left = await Promise.all(Array.from({ length: 30 }, () => fixture.group([bob, ada])))
    for (const group of left) await fixture.apply({ op: 'remove-member', conversation: group, actor: bob, user: ada })
    for (const [index, group] of [...groups].sort().entries())
      for (let message = 0; message < index % 3; message++) await fixture.send(group, bob, 'x')
    const asked = vi.spyOn(node.parts.memberships, 'ask')
    const follower = new Follower(node, ada)
    const unread: (readonly [Id, number])[] = []
    let pages = 0
    for (;;) {
      const page = await follower.page(4)
      pages++
      unread.push(...page.conversations.map((entry) => [entry.conversation, entry.unread] as const))
      if (!page.more) break
    }
    expect(unread).toEqual([...groups].sort().map((group, index) => [group, index % 3]))
    expect(pages).toBeLessThan(12)
    for (const answer of asked.mock.results) {
      const { memberships } = (await answer.value) as { memberships: readonly unknown[] }
      expect(memberships.length).toBeLessThanOrEqual(5)
    }
    // A new change is found wherever its conversation is in the order of the pages.
    await follower.start()
    const [first, last] = [[...groups].sort()[0]!, [...groups].sort().at(-1)!]
    await fixture.send(last, bob, 'new')
    await fixture.apply({ op: 'remove-member', conversation: first, actor: bob, user: ada })
    await follower.follow(1)
    expect(follower.told.get(last)?.map(({ type }) => type)).toEqual(['message.created'])
    expect(follower.left).toEqual([first])
    asked.mockRestore()
  })

  it('[RES1] ends a first load of empty conversations, and reports removals during it', async () => {
    await newPeople()
    const groups = (await Promise.all(Array.from({ length: 9 }, () => fixture.group([bob, ada])))).sort()
    const follower = new Follower(node, ada)
    const first = await follower.page(2)
    expect(first.more).toBe(true)
    expect(first.conversations.map(({ conversation }) => conversation)).toEqual(groups.slice(0, 3))
    // Remove the user from a conversation already shown, from the one at which the page ended, and
    // from one still to come.
    for (const group of [groups[0]!, groups[2]!, groups[5]!])
      await fixture.apply({ op: 'remove-member', conversation: group, actor: bob, user: ada })
    await follower.follow(2)
    await follower.settle()
    expect([...new Set(follower.limited)]).toEqual(groups.filter((group) => group !== groups[5]))
    expect(new Set(follower.left)).toEqual(new Set([groups[0], groups[2], groups[5]]))
  })

  it('[RES2, RES3] a sync accepts an old cursor, also on another server', async () => {
    await newPeople()
    const group = await fixture.group([ada, bob])
    const follower = new Follower(node, ada)
    await follower.start()
    const old = follower.cursor
    for (let index = 0; index < 30; index++) {
      const elsewhere = await fixture.group([bob])
      await fixture.send(elsewhere, bob, 'other things happen')
    }
    await fixture.send(group, bob, 'for you')
    const other = await TestNode.start(await store.openSecond(), new LocalBusHub())
    try {
      const page = await other.run('sync', ada, { cursor: old, limit: 50 })
      expect(page.conversations.map(({ conversation, changes }) => [conversation, changes.length])).toEqual([
        [group, 1],
      ])
      const session = await fixture.session(ada)
      const { transport, opening } = other.open(ada, session, old)
      await opening
      expect(transport.seqsOf(group)).toEqual([4])
      expect(transport.events.at(-1)).toMatchObject({ event: 'ready', payload: { resumed: true } })
    } finally {
      other.stop()
    }
  })

  it('[RES2] resets the client for foreign, future and unreadable cursors', async () => {
    await newPeople()
    const group = await fixture.group([ada, bob])
    const session = await fixture.session(ada)
    const epoch = node.parts.epoch()
    const { cursor } = await node.run('sync', ada, { limit: 50 })
    const { position } = node.parts.cursors.decode(cursor)!
    const paging = { nextPosition: position + 1_000_000, conversation: group, seq: 1 }
    for (const bad of [
      'garbage',
      '',
      node.parts.cursors.encode({ epoch: 'another.history', position }),
      node.parts.cursors.encode({ epoch, position: position + 1_000_000 }),
      node.parts.cursors.encode({ epoch, position, paging }),
      Buffer.from('[1,"x"]').toString('base64url'),
      Buffer.from(JSON.stringify([1, epoch, -1])).toString('base64url'),
      Buffer.from(JSON.stringify([1, epoch, position, 1, 'no uuid', 1])).toString('base64url'),
    ]) {
      if (bad !== '') {
        const page = await node.run('sync', ada, { cursor: bad, limit: 50 })
        expect(page).toMatchObject({ reset: true, more: false })
        expect(page.conversations).toMatchObject([{ conversation: group, limited: true }])
        const { transport, opening, connection } = node.open(ada, session, bad)
        await opening
        expect(transport.events.map(({ event }) => event)).toEqual(['reset', 'ready'])
        expect(transport.eventsNamed('ready')[0]).toMatchObject({ resumed: false })
        connection.lost()
      }
    }
  })

  it('[RES1] replays up to 10 000 missed changes, and answers `limited` beyond that', async () => {
    await newPeople()
    const exact = await fixture.group([ada, bob])
    const over = await fixture.group([ada, bob])
    const follower = new Follower(node, ada)
    await follower.start()
    const { cursor } = follower
    await fixture.fill(exact, bob, 10_000)
    await fixture.fill(over, bob, 10_001)
    await follower.follow(200)
    expect([...new Set(follower.limited)]).toEqual([over])
    expect(follower.told.get(exact)).toHaveLength(10_000)
    const session = await fixture.session(ada)
    const { transport, opening } = node.open(ada, session, cursor)
    await opening
    expect(transport.seqsOf(exact)).toEqual(Array.from({ length: 10_000 }, (_, index) => index + 4))
    expect(transport.seqsOf(over)).toEqual([])
    expect(transport.eventsNamed('conversation')).toMatchObject([{ conversation: over, limited: true, seq: 10_004 }])
    expect(transport.eventsNamed('conversation')[0]?.messages).toHaveLength(50)
  })

  it('[ACL4] answers `limited`, with the history, if the user joined since the cursor', async () => {
    await newPeople()
    const group = await fixture.group([bob])
    const again = await fixture.group([bob, ada])
    await fixture.send(group, bob, 'before your time')
    const follower = new Follower(node, ada)
    await follower.start()
    await fixture.apply({ op: 'put-member', conversation: group, actor: bob, user: ada, role: null })
    await fixture.apply({ op: 'remove-member', conversation: again, actor: bob, user: ada })
    await fixture.send(again, bob, 'while you were out')
    await fixture.apply({ op: 'put-member', conversation: again, actor: bob, user: ada, role: null })
    const page = await follower.page()
    expect(page.conversations.map(({ conversation, limited }) => [conversation, limited]).sort()).toEqual(
      [
        [group, true],
        [again, true],
      ].sort(),
    )
    expect(page.conversations.find(({ conversation }) => conversation === group)?.messages).toMatchObject([
      { text: 'before your time' },
    ])
    const session = await fixture.session(ada)
    await follower.settle()
    const { transport, opening } = node.open(ada, session, follower.cursor)
    await opening
    expect(transport.events.map(({ event }) => event)).toEqual(['ready'])
  })

  it('[ACL1, ACL4] answers `limited` if the user joined again between two pages', async () => {
    await newPeople()
    const group = await fixture.group([bob, ada])
    const follower = new Follower(node, ada)
    await follower.start()
    for (let index = 0; index < 10; index++) await fixture.send(group, bob, `${index}`)
    const first = await follower.page(4)
    expect(first.more).toBe(true)
    await fixture.apply({ op: 'remove-member', conversation: group, actor: bob, user: ada })
    const { seq: hidden } = await fixture.send(group, bob, 'not for you')
    await fixture.apply({ op: 'put-member', conversation: group, actor: bob, user: ada, role: null })
    await follower.follow(4)
    expect([...new Set(follower.limited)]).toEqual([group])
    expect(follower.told.get(group)?.some(({ seq }) => seq === hidden)).toBe(false)
  })

  it('[ACL1] shows a removed user only the removal, in sync and connections', async () => {
    await newPeople()
    const group = await fixture.group([bob, ada])
    const follower = new Follower(node, ada)
    await follower.start()
    const { cursor } = follower
    const { seq: secret } = await fixture.send(group, bob, 'while you were in')
    const { seq: removal } = await fixture.apply({ op: 'remove-member', conversation: group, actor: bob, user: ada })
    await fixture.send(group, bob, 'a secret')
    await fixture.apply({ op: 'edit', conversation: group, actor: bob, target: secret, text: 'another secret' })
    const page = await follower.page()
    expect(page.conversations).toMatchObject([{ conversation: group, left: true, seq: removal, unread: 0 }])
    expect(page.conversations[0]?.changes).toMatchObject([{ seq: removal, type: 'member.left', user: ada }])
    const session = await fixture.session(ada)
    const { transport, opening } = node.open(ada, session, cursor)
    await opening
    expect(transport.events.map(({ event }) => event)).toEqual(['conversation', 'changes', 'ready'])
    expect(transport.seqsOf(group)).toEqual([removal])
    expect(JSON.stringify(transport.events)).not.toContain('secret')
    expect(JSON.stringify(page)).not.toContain('secret')
    // The removal is not sent again.
    await follower.settle()
  })

  it('[OFF1] a sync includes a read marker that moved on another device', async () => {
    await newPeople()
    const group = await fixture.group([bob, ada])
    const follower = new Follower(node, ada)
    for (let index = 0; index < 4; index++) await fixture.send(group, bob, `${index}`)
    await follower.settle()
    const { cursor } = follower
    await node.run('mark-read', ada, { conversation: group, seq: 6 })
    const page = await follower.page()
    expect(page.conversations).toEqual([{ conversation: group, changes: [], seq: 7, readSeq: 6, unread: 1 }])
    const session = await fixture.session(ada)
    const { transport, opening } = node.open(ada, session, cursor)
    await opening
    expect(transport.events.map(({ event }) => event)).toEqual(['conversation', 'ready'])
    expect(transport.eventsNamed('conversation')).toEqual([{ conversation: group, seq: 7, readSeq: 6, unread: 1 }])
  })

  it('[SLOW1] ends a sync page at 256 kB, and continues without a gap', async () => {
    await newPeople()
    const group = await fixture.group([bob, ada])
    const follower = new Follower(node, ada)
    await follower.start()
    for (let index = 0; index < 40; index++) await fixture.send(group, bob, 'x'.repeat(20_000))
    let pages = 0
    for (;;) {
      const page = await follower.page(200)
      pages++
      expect(JSON.stringify(page).length).toBeLessThan(262_144 + 25_000)
      if (!page.more) break
    }
    expect(pages).toBeGreaterThan(3)
    expect(follower.have.get(group)).toBe(43)
  })
})

/**
 * Writes messages over a separate connection, in transactions that stay open for a while and
 * sometimes abort.
 */
async function writeSlowly(
  url: string,
  groups: readonly Id[],
  actor: Id,
  which: number,
  isWriting: () => boolean,
): Promise<void> {
  const client = new pg.Client({ connectionString: url, options: '-c lock_timeout=5000' })
  await client.connect()
  try {
    for (let index = 0; isWriting() || index < 5; index++) {
      const group = groups[(index * 2 + which) % groups.length]
      await client.query('begin')
      // Take a transaction id early, so that later transactions commit before this one.
      await client.query('select pg_current_xact_id()')
      await client.query('select pg_sleep(0.02)')
      await client.query('savepoint inside')
      await client.query(
        `select * from append_changes(array[$1::uuid], array[$2::uuid], array[gen_random_uuid()], array[''::bytea], array['slow'],
           array[null::json], array[null::text], array[null::bigint], '[]')`,
        [group, actor],
      )
      await client.query(index % 4 === 1 ? 'rollback to inside' : 'release inside')
      await client.query(index % 5 === 3 ? 'rollback' : 'commit')
    }
  } finally {
    await client.end()
  }
}
