/**
 * Tests the log reads on both engines: history pages, conversations, members, read markers and the
 * sweep.
 */
import type { Id } from '@chorus/protocol'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { markRead } from './mark-read.ts'
import { readChangesForMember, readGap, removalsMax } from './read-changes.ts'
import { readConversation, readConversations, readMembers } from './read-conversations.ts'
import { readMarkers } from './read-markers.ts'
import { readSharing } from './read-memberships.ts'
import { type PageAnchor, readMessage, readMessagePage, readNewestPage } from './read-messages.ts'
import { readNewestPages, sharedPageLimits } from './read-latest-pages.ts'
import { placeAt, readPosition, sweepChanges, sweepPartMax } from './sweep-changes.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

describe.each(testEngines)('log reads on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  let ada: Id
  let bob: Id

  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
    ;[ada, bob] = (await fixture.users(2)) as [Id, Id]
  })
  afterAll(() => store.close())

  describe('history pages', () => {
    let group: Id
    /** Seqs of the messages. Changes of other types lie between them. */
    const messages: number[] = []

    beforeAll(async () => {
      group = await fixture.group([ada, bob])
      for (let index = 0; index < 12; index++) {
        const { seq } = await fixture.send(group, index % 2 === 0 ? ada : bob, `m${index}`)
        messages.push(seq)
        if (index % 3 === 0)
          await fixture.apply({ op: 'react', conversation: group, actor: ada, target: seq, emoji: '👍' })
      }
      await fixture.apply({ op: 'delete', conversation: group, actor: ada, target: messages[4]! })
    })

    const page = async (anchor: PageAnchor, limit: number) => {
      const found = await readMessagePage(store.database, ada, group, anchor, limit)
      const indexes = found!.messages.map(({ seq }) => messages.indexOf(seq))
      return [indexes, found!.hasBefore, found!.hasAfter]
    }
    const at = (index: number): number => messages[index]!

    it.each([1, 2, 3, 4, 5, 50])('never returns more messages than the limit (%i), in any direction', async (limit) => {
      for (const anchor of [
        { kind: 'newest' },
        { kind: 'before', seq: at(9) },
        { kind: 'after', seq: at(3) },
        { kind: 'around', seq: at(6) },
      ] as const) {
        const found = await readMessagePage(store.database, ada, group, anchor, limit)
        expect(found!.messages.length).toBeLessThanOrEqual(limit)
        const seqs = found!.messages.map(({ seq }) => seq)
        expect(seqs).toEqual([...seqs].sort((a, b) => a - b))
      }
    })

    it('a history page reports whether messages exist before and after it', async () => {
      expect(await page({ kind: 'newest' }, 3)).toEqual([[9, 10, 11], true, false])
      expect(await page({ kind: 'newest' }, 12)).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], false, false])
      expect(await page({ kind: 'before', seq: at(3) }, 2)).toEqual([[1, 2], true, true])
      expect(await page({ kind: 'before', seq: at(3) }, 3)).toEqual([[0, 1, 2], false, true])
      expect(await page({ kind: 'before', seq: 1 }, 3)).toEqual([[], false, true])
      expect(await page({ kind: 'before', seq: 99_999 }, 2)).toEqual([[10, 11], true, false])
      expect(await page({ kind: 'after', seq: at(9) }, 1)).toEqual([[10], true, true])
      expect(await page({ kind: 'after', seq: at(9) }, 2)).toEqual([[10, 11], true, false])
      expect(await page({ kind: 'after', seq: 0 }, 2)).toEqual([[0, 1], false, true])
      expect(await page({ kind: 'around', seq: at(6) }, 4)).toEqual([[4, 5, 6, 7], true, true])
      expect(await page({ kind: 'around', seq: at(6) }, 5)).toEqual([[4, 5, 6, 7, 8], true, true])
      expect(await page({ kind: 'around', seq: at(0) }, 4)).toEqual([[0, 1], false, true])
      expect(await page({ kind: 'around', seq: 99_999 }, 2)).toEqual([[10, 11], true, false])
      expect(await page({ kind: 'around', seq: 99_999 }, 1)).toEqual([[11], true, false])
      expect(await page({ kind: 'around', seq: 1 }, 2)).toEqual([[], false, true])
    })

    it('a history page keeps deleted messages and includes current reactions', async () => {
      const found = await readMessagePage(store.database, bob, group, { kind: 'newest' }, 50)
      expect(found?.messages[4]).toMatchObject({ seq: at(4), text: '', version: found!.seq, reactions: [] })
      expect(found?.messages[4]?.deletedAt).not.toBeNull()
      expect(found?.messages[3]?.reactions).toEqual([{ emoji: '👍', count: 1, mine: false }])
      expect(found?.seq).toBe((await fixture.seqs(group)).length)
    })

    it('[SLOW1, LIM1] limits the newest page to 256 kB and history to 1 MB', async () => {
      const large = await fixture.group([ada, bob])
      await fixture.fill(large, bob, 200, 'x'.repeat(19_000))
      const newest = await readNewestPage(store.database, ada, large)
      expect(JSON.stringify(newest!.messages).length).toBeLessThan(262_144 + 1_000)
      expect(newest!.messages.at(-1)?.seq).toBe(203)
      expect(newest!.hasBefore).toBe(true)
      for (const anchor of [
        { kind: 'before', seq: 150 },
        { kind: 'after', seq: 10 },
        { kind: 'around', seq: 100 },
      ] as const) {
        const found = await readMessagePage(store.database, ada, large, anchor, 200)
        expect(JSON.stringify(found!.messages).length).toBeLessThan(1_100_000)
        expect(found).toMatchObject({ hasBefore: true, hasAfter: true })
        const seqs = found!.messages.map(({ seq }) => seq)
        expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index))
        if (anchor.kind === 'before') expect(seqs.at(-1)).toBe(149)
        if (anchor.kind === 'after') expect(seqs[0]).toBe(11)
        if (anchor.kind === 'around') expect(seqs).toContain(100)
      }
    })
  })

  it('[ACL1] no read shows anything to non-members and removed members', async () => {
    const [stranger, removed] = (await fixture.users(2)) as [Id, Id]
    const group = await fixture.group([ada, removed])
    const { seq } = await fixture.send(group, ada, 'a secret')
    await fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user: removed })
    for (const user of [stranger, removed]) {
      for (const anchor of [
        { kind: 'newest' },
        { kind: 'before', seq: 99 },
        { kind: 'after', seq: 0 },
        { kind: 'around', seq },
      ] as const)
        expect(await readMessagePage(store.database, user, group, anchor, 10)).toBeUndefined()
      expect(await readNewestPage(store.database, user, group)).toBeUndefined()
      expect(await readMessage(store.database, user, group, seq)).toBeUndefined()
      expect(await readChangesForMember(store.database, user, group, 0, 100)).toBeUndefined()
      expect(await readConversation(store.database, user, group)).toBeUndefined()
      expect(await readMembers(store.database, user, group, 10, 0)).toBeUndefined()
      expect(await markRead(store.database, user, group, seq)).toBeUndefined()
      expect((await readConversations(store.database, user, 10, undefined)).conversations).toEqual([])
    }
    // A non-member may see a public channel in lists, but not its messages.
    const channel = await fixture.group([ada], 'channel')
    await fixture.send(channel, ada, 'a secret')
    const seen = await readConversation(store.database, stranger, channel)
    expect(seen).toMatchObject({ role: null, unread: 0, lastMessage: null })
    expect(await readMessagePage(store.database, stranger, channel, { kind: 'newest' }, 10)).toBeUndefined()
  })

  it('[OFF1] counts unread messages; read markers never go back or beyond the log', async () => {
    const group = await fixture.group([ada, bob])
    const seqs: number[] = []
    for (let index = 0; index < 6; index++)
      seqs.push((await fixture.send(group, index < 2 ? ada : bob, `${index}`)).seq)
    await fixture.apply({ op: 'react', conversation: group, actor: bob, target: seqs[0]!, emoji: 'x' })
    await fixture.apply({ op: 'delete', conversation: group, actor: bob, target: seqs[5]! })
    const unread = async (): Promise<number | undefined> => (await readConversation(store.database, ada, group))?.unread
    expect(await unread()).toBe(3)
    expect(await markRead(store.database, ada, group, seqs[3]!)).toMatchObject({
      readSeq: seqs[3],
      moved: true,
      unread: 1,
    })
    expect(await markRead(store.database, ada, group, seqs[2]!)).toMatchObject({
      readSeq: seqs[3],
      moved: false,
      unread: 1,
    })
    const top = (await fixture.seqs(group)).length
    expect(await markRead(store.database, ada, group, 99_999)).toMatchObject({
      readSeq: top,
      moved: true,
      unread: 0,
      seq: top,
    })
    expect(await unread()).toBe(0)
    await fixture.fill(group, bob, 1_200)
    expect(await unread()).toBe(1_000)
    // Unread messages are counted only among the newest ones.
    await fixture.fill(group, ada, 1_500)
    expect(await unread()).toBe(500)
    await fixture.fill(group, ada, 499)
    expect(await unread()).toBe(1)
    await fixture.fill(group, ada, 1)
    expect(await unread()).toBe(0)
    expect((await markRead(store.database, ada, group, 0))?.unread).toBe(0)
    expect(await readMembers(store.database, bob, group, 1, 0)).toMatchObject([{ user: { id: ada }, readSeq: top }])
  })

  it('[OFF1, ACL1] returns the read markers of members, none for non-members', async () => {
    const place = await fixture.group([ada, bob])
    const { seq } = await fixture.send(place, ada, 'one')
    await fixture.send(place, ada, 'two')
    await markRead(store.database, bob, place, seq)
    const stranger = await fixture.user()
    const pairs = [bob, stranger, ada, bob].map((user) => ({ user, conversation: place }))
    const bobs = { seq: seq + 1, readSeq: seq, unread: 1 }
    const adas = { ...bobs, readSeq: expect.any(Number) as number, unread: 0 }
    expect(await readMarkers(store.database, pairs)).toEqual([bobs, null, adas, bobs])
  })

  it('lists conversations by newest change, in pages without repeats', async () => {
    const [carol] = (await fixture.users(1)) as [Id]
    const groups: Id[] = []
    for (let index = 0; index < 7; index++) groups.push(await fixture.group([carol, bob]))
    await fixture.send(groups[2]!, carol, 'the newest')
    const listed: Id[] = []
    let from: { xid: string; id: Id } | undefined
    do {
      const { conversations, next } = await readConversations(store.database, carol, 3, from)
      listed.push(...conversations.map(({ id }) => id))
      from = next
    } while (from !== undefined)
    const order = [2, 6, 5, 4, 3, 1, 0].map((index) => groups[index])
    expect(listed).toEqual(order)
    const [first] = (await readConversations(store.database, carol, 1, undefined)).conversations
    expect(first).toMatchObject({ kind: 'group', role: 'owner', memberCount: 2, lastMessage: { text: 'the newest' } })
    expect(first?.members.map(({ user }) => user.id)).toEqual([carol, bob])
  })

  it('lists members in pages, in the order of joining', async () => {
    const people = await fixture.users(9)
    const group = await fixture.group([ada, ...people])
    const listed: Id[] = []
    let after = 0
    for (;;) {
      const members = await readMembers(store.database, ada, group, 4, after)
      if (members!.length === 0) break
      listed.push(...members!.map(({ user }) => user.id))
      after = members!.at(-1)!.joinedSeq
    }
    expect(listed).toEqual([ada, ...people])
  })

  it('[PRES2] a user shares conversations only with themselves and fellow members', async () => {
    const [carol, dan] = (await fixture.users(2)) as [Id, Id]
    const group = await fixture.group([ada, carol])
    expect(await readSharing(store.database, carol, [ada, dan, carol])).toEqual(new Set([ada, carol]))
    await fixture.apply({ op: 'remove-member', conversation: group, actor: ada, user: carol })
    expect(await readSharing(store.database, carol, [ada, dan, carol])).toEqual(new Set([carol]))
  })

  it('[ACL1] reads a missing range together with all users removed since its start', async () => {
    const place = await fixture.group([ada, bob], 'channel')
    const strangers = await fixture.users(3)
    const [gone, back, before] = strangers as [Id, Id, Id]
    const join = (user: Id) => fixture.apply({ op: 'put-member', conversation: place, actor: ada, user, role: null })
    const leave = (user: Id) => fixture.apply({ op: 'remove-member', conversation: place, actor: user, user })
    for (const user of strangers) await join(user)
    await leave(before)
    const { seq: from } = await fixture.send(place, ada, 'one')
    await leave(back)
    const { seq: removal } = await leave(gone)
    const { seq: to } = await join(back)
    const page = await readGap(store.database, { conversation: place, from, to: from }, 10)
    expect(page.changes.map(({ seq }) => seq)).toEqual([from])
    expect(page.asOf).toBe(to)
    expect(page.removals).toMatchObject([{ seq: removal, effect: { kind: 'left', user: gone } }])
    expect((await readGap(store.database, { conversation: place, from: removal + 1, to }, 10)).removals).toEqual([])
    // Remove more users than one statement returns.
    const crowd = await fixture.users(removalsMax + 1)
    await fixture.sql(
      `with top as (update conversations set seq = seq + $3 where id = $1 returning seq - $3 as base),
            u as (select id, n from unnest($2::uuid[]) with ordinality t(id, n)),
            c as (insert into changes (conversation, seq, at, type, actor, user_id, role)
                  select $1, top.base + u.n, now(), 'member.left', u.id, u.id, 'member' from top, u)
       insert into members (conversation, user_id, role, joined_seq, left_seq)
       select $1, u.id, 'member', 1, top.base + u.n from top, u`,
      [place, crowd, crowd.length],
    )
    const crowded = await readGap(store.database, { conversation: place, from, to }, 2)
    expect(crowded.changes.map(({ seq }) => seq)).toEqual([from, from + 1])
    expect(crowded.removals.map(({ effect }) => effect?.user)).toEqual([gone, ...crowd])
  })

  describe('the sweep for new rows', () => {
    it('[TAIL1] the sweep finds each change, membership, read marker and revoked session once', async () => {
      let place = placeAt(await readPosition(store.database))
      const { position } = place
      const group = await fixture.group([ada, bob])
      await fixture.send(group, bob, 'x')
      await fixture.send(group, bob, 'y')
      await markRead(store.database, ada, group, 4)
      const session = await fixture.session(ada)
      await fixture.sql('update sessions set revoked_at = now(), xid = pg_current_xact_id() where id = $1', [session])
      const swept = await sweepChanges(store.database, place)
      expect(swept.conversations.get(group)).toBe(5)
      expect(swept.members.find(({ user, conversation }) => user === ada && conversation === group)).toMatchObject({
        leftSeq: null,
        readSeq: 4,
      })
      expect(swept.members.find(({ user, conversation }) => user === bob && conversation === group)).toMatchObject({
        leftSeq: null,
        readSeq: null,
      })
      expect(swept.revokedSessions).toContain(session)
      expect(swept.place.position).toBeGreaterThanOrEqual(position)
      // Other tests use this Postgres, too. Their open transactions may hold the position back for
      // a while.
      for (;;) {
        const next = await sweepChanges(store.database, place)
        expect(next.place.position).toBeGreaterThanOrEqual(place.position)
        ;({ place } = next)
        if (next.conversations.size === 0 && next.members.length === 0) break
      }
      // The position never goes back, even if it starts above the computed one.
      const ahead = placeAt(place.position + 50)
      expect((await sweepChanges(store.database, ahead)).place.position).toBeGreaterThanOrEqual(ahead.position)
    })

    it('[TAIL1, LIM1] the sweep reads a limited number of rows and continues without gaps', async () => {
      let place = placeAt(await readPosition(store.database))
      const groups = await Promise.all([1, 2, 3].map(() => fixture.group([ada, bob])))
      // Write more rows than one sweep reads, in several transactions. One of them alone exceeds
      // the limit.
      await fixture.fill(groups[0]!, bob, 3_000)
      await fixture.fill(groups[1]!, bob, sweepPartMax + 1_000)
      await fixture.fill(groups[2]!, bob, 3_000)
      const newest = new Map<Id, number>()
      let sweeps = 0
      for (;;) {
        const swept = await sweepChanges(store.database, place)
        sweeps++
        for (const [conversation, seq] of swept.conversations)
          newest.set(conversation, Math.max(newest.get(conversation) ?? 0, seq))
        expect(swept.place.position).toBeGreaterThanOrEqual(place.position)
        ;({ place } = swept)
        if (!swept.cut && groups.every((group) => newest.has(group))) break
        if (sweeps > 200) throw new Error('the sweep stands still')
      }
      expect(sweeps).toBeGreaterThan(1)
      expect(groups.map((group) => newest.get(group))).toEqual([3_003, sweepPartMax + 1_003, 3_003])
    })

    it.runIf(engine === 'postgres')(
      '[TAIL1, RES2] sweeps past an open transaction and finds its rows after COMMIT',
      async () => {
        const places = await Promise.all([1, 2, 3, 4].map(() => fixture.group([ada, bob])))
        const [old, large, small, late] = places as [Id, Id, Id, Id]
        const session = await fixture.session(ada)
        // Read all existing rows first, because other tests use this Postgres, too.
        let place = placeAt(await readPosition(store.database))
        const found = new Map<Id, number>()
        const markers: (number | null)[] = []
        const revoked: Id[] = []
        /** Sweeps until no limit is reached, as the server does. */
        const run = async (): Promise<{ rows: number; covers: boolean }> => {
          let rows = 0
          for (let pages = 0; pages < 20; pages++) {
            const swept = await sweepChanges(store.database, place)
            rows += swept.conversations.size + swept.members.length + swept.revokedSessions.length
            for (const [id, seq] of swept.conversations) found.set(id, Math.max(found.get(id) ?? 0, seq))
            for (const { user, conversation, readSeq } of swept.members)
              if (user === ada && conversation === small) markers.push(readSeq)
            revoked.push(...swept.revokedSessions)
            expect(swept.place.position).toBeGreaterThanOrEqual(place.position)
            ;({ place } = swept)
            if (!swept.cut) return { rows, covers: swept.covers }
          }
          throw new Error('the sweep stands still')
        }
        await run()
        const writer = new pg.Client({ connectionString: store.url })
        await writer.connect()
        try {
          await writer.query('begin')
          const { rows } = await writer.query<{ xid: string }>('select pg_current_xact_id()::text as xid')
          const openXid = Number(rows[0]!.xid)
          // Write as many rows as one sweep reads in one transaction, then one more row of each
          // kind.
          await fixture.fill(large, bob, sweepPartMax)
          const { seq } = await fixture.send(small, bob, 'behind it')
          await markRead(store.database, ada, small, seq)
          await fixture.sql('update sessions set revoked_at = now(), xid = pg_current_xact_id() where id = $1', [
            session,
          ])
          expect((await run()).covers).toBe(false)
          expect([found.get(large), found.get(small)]).toEqual([sweepPartMax + 3, seq])
          expect(markers.at(-1)).toBe(seq)
          expect(revoked).toContain(session)
          expect(place.position).toBeLessThanOrEqual(openXid)
          // While a transaction with a lower id is open, a sweep reads new rows, but none of the
          // rows that earlier sweeps have read.
          expect(await run()).toEqual({ rows: 0, covers: false })
          await fixture.send(late, bob, 'later')
          expect((await run()).rows).toBe(1)
          expect(found.get(late)).toBe(4)
          // The open transaction now writes a row and commits. The next sweep must find that row,
          // although it has a lower transaction id than all rows read so far.
          await writer.query(
            `with top as (update conversations set seq = seq + 1, last_xid = pg_current_xact_id() where id = $1 returning seq)
             insert into changes (conversation, seq, at, type, actor, name)
             select $1, seq, now(), 'conversation.updated', $2, 'x' from top`,
            [old, bob],
          )
          expect((await run()).rows).toBe(0)
          await writer.query('commit')
          expect((await run()).rows).toBe(1)
          expect(found.get(old)).toBe(4)
          while (!(await run()).covers) await fixture.send(late, bob, 'until other transactions have ended, too')
          expect(place.position).toBeGreaterThan(openXid)
        } finally {
          await writer.end()
        }
      },
    )

    it.runIf(engine === 'postgres')(
      '[TAIL1, LIM1] limited sweeps find all rows of transactions that were open before',
      async () => {
        const places = await Promise.all([1, 2, 3].map(() => fixture.group([ada, bob])))
        const writers = await Promise.all(
          places.map(async () => {
            const writer = new pg.Client({ connectionString: store.url })
            await writer.connect()
            await writer.query('begin')
            await writer.query('select pg_current_xact_id()')
            return writer
          }),
        )
        try {
          // This newer row puts the three transactions below the sweep position.
          await fixture.send(await fixture.group([ada, bob]), bob, 'newer')
          let place = placeAt(await readPosition(store.database))
          for (let isCut = true; isCut; ) ({ place, cut: isCut } = await sweepChanges(store.database, place))
          for (const [index, writer] of writers.entries()) {
            await writer.query(
              `with top as (update conversations set seq = seq + $3::int where id = $1 returning seq - $3::int as base)
               insert into changes (conversation, seq, at, type, actor, name)
               select $1, top.base + n, now(), 'conversation.updated', $2, 'x' from top, generate_series(1, $3::int) n`,
              [places[index], bob, sweepPartMax],
            )
            await writer.query('commit')
          }
          const found = new Set<Id>()
          for (let pages = 1; ; pages++) {
            const swept = await sweepChanges(store.database, place)
            for (const id of swept.conversations.keys()) found.add(id)
            ;({ place } = swept)
            if (!swept.cut) break
            expect(pages).toBeLessThan(10)
          }
          expect([...found]).toEqual(expect.arrayContaining(places))
        } finally {
          for (const writer of writers) await writer.end()
        }
      },
    )
  })

  describe('reactions to messages', () => {
    const place = async (): Promise<{ group: Id; target: number }> => {
      const group = await fixture.group([ada, bob])
      const { seq } = await fixture.send(group, ada)
      return { group, target: seq }
    }
    const react = (group: Id, target: number, actor: Id, emoji: string, op: 'react' | 'unreact' = 'react') =>
      fixture.apply({ op, conversation: group, actor, target, emoji })
    const shown = async (group: Id, target: number, user = ada) =>
      (await readMessage(store.database, user, group, target))?.reactions

    it('[LIM1] keeps one correct count per emoji through all additions and removals', async () => {
      const { group, target } = await place()
      const rows = () =>
        fixture.sql<{ emoji: string; n: number }>(
          'select emoji, n from reaction_counts where conversation = $1 and target = $2 order by first_seq',
          [group, target],
        )
      await react(group, target, ada, '👍')
      await react(group, target, bob, '🎉')
      await react(group, target, bob, '👍')
      await react(group, target, bob, '👍')
      expect(await rows()).toEqual([
        { emoji: '👍', n: 2 },
        { emoji: '🎉', n: 1 },
      ])
      expect(await shown(group, target)).toEqual([
        { emoji: '👍', count: 2, mine: true },
        { emoji: '🎉', count: 1, mine: false },
      ])
      // The first user who chose the emoji removes it. The emoji keeps its place in the order, as
      // in clients.
      await react(group, target, ada, '👍', 'unreact')
      expect(await shown(group, target)).toEqual([
        { emoji: '👍', count: 1, mine: false },
        { emoji: '🎉', count: 1, mine: false },
      ])
      // The last user removes the emoji and adds it again: now it moves to the end.
      await react(group, target, bob, '👍', 'unreact')
      await react(group, target, bob, '👍')
      expect(await shown(group, target, bob)).toEqual([
        { emoji: '🎉', count: 1, mine: true },
        { emoji: '👍', count: 1, mine: true },
      ])
      await fixture.apply({ op: 'delete', conversation: group, actor: ada, target })
      expect(await rows()).toEqual([])
    })

    it('[LIM1] counts reactions that servers of the previous version wrote in bulk', async () => {
      const { group, target } = await place()
      const many = await fixture.users(50)
      await fixture.sql(
        `insert into reactions (conversation, target, user_id, emoji, seq, removed)
         select $1, $2, u, e, 10, u = $3 from unnest($4::uuid[]) u, unnest(array['a', 'b']) e`,
        [group, target, many[0], many],
      )
      expect(await shown(group, target)).toMatchObject([{ count: 49 }, { count: 49 }])
      await fixture.sql(`update reactions set removed = not removed where conversation = $1 and emoji = 'a'`, [group])
      await fixture.sql(`delete from reactions where conversation = $1 and emoji = 'b' and user_id <> $2`, [
        group,
        many[1],
      ])
      const counts = await shown(group, target)
      expect(new Map(counts?.map(({ emoji, count }) => [emoji, count]))).toEqual(
        new Map([
          ['a', 1],
          ['b', 1],
        ]),
      )
    })

    it('[LIM1] users do not share one cached page of messages with too many reactions', async () => {
      const { group, target } = await place()
      const { seq: second } = await fixture.send(group, ada)
      const many = await fixture.users(sharedPageLimits.reactorsMax)
      const flood = async (message: number, emoji: string) =>
        fixture.sql(
          `insert into reactions (conversation, target, user_id, emoji, seq) select $1, $2, u, $3, 10 from unnest($4::uuid[]) u`,
          [group, message, emoji, many],
        )
      const isShared = async () =>
        (await readNewestPages(store.database, [{ user: ada, conversation: group }])).pages.get(group) !== undefined
      for (const emoji of ['a', 'b', 'c']) await flood(target, emoji)
      for (const emoji of ['a', 'b']) await flood(second, emoji)
      expect(await isShared()).toBe(true)
      await react(group, second, ada, 'z')
      expect(await isShared()).toBe(false)
    })
  })
})
