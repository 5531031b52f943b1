/**
 * Contract suite for stores: checks the guarantees of every store. `reopen` returns a new store
 * over the same data, as after a reload.
 */
import type { PageMessage } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import type { ChatStore, ConversationRecord, OutboxRecord } from '../model/store.ts'

export interface StoreUnderTest {
  readonly store: ChatStore
  readonly reopen: () => Promise<ChatStore>
}

const user = { id: 'user-1', handle: 'ada', name: 'Ada', avatar: null, bot: false }

function conversation(id: string, appliedSeq: number): ConversationRecord {
  return {
    id,
    appliedSeq,
    summary: {
      id,
      kind: 'group',
      name: 'Tea',
      seq: appliedSeq,
      readSeq: 0,
      unread: 0,
      lastMessage: null,
      members: [],
      memberCount: 1,
      role: 'owner',
    },
  }
}

function message(seq: number): PageMessage {
  return {
    conversation: 'a',
    seq,
    version: seq,
    clientId: `m-${seq}`,
    sender: 'user-2',
    text: `text ${seq}`,
    replyTo: null,
    attachments: [],
    data: null,
    createdAt: '2026-01-01T00:00:00.000Z',
    editedAt: null,
    deletedAt: null,
    reactions: [],
  }
}

function waiting(clientId: string, order: number): OutboxRecord {
  return {
    clientId,
    conversation: 'c-1',
    order,
    draft: { text: `text ${order}`, data: { deep: ['ü', null, 1] } },
    createdAt: '2026-01-01T00:00:00.000Z',
    status: { state: 'pending', attempts: 0 },
  }
}

export function storeSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`the store contract, ${name}`, () => {
    it('the store keeps and deletes the signed-in account', async () => {
      const { store, reopen } = await make()
      expect(await store.readAccount()).toBeUndefined()
      await store.writeAccount({ user, cookies: { chorus_session: 'x' } })
      const again = await reopen()
      expect(await again.readAccount()).toEqual({ user, cookies: { chorus_session: 'x' } })
      await again.writeAccount(undefined)
      expect(await again.readAccount()).toBeUndefined()
      await again.close()
    })

    it('[CP1] the store returns a cursor only together with its data', async () => {
      const { store, reopen } = await make()
      await store.commitReplica('user-1', {
        epoch: 'e1',
        base: undefined,
        conversations: [conversation('a', 3)],
        removed: [],
        replace: true,
      })
      expect(await store.readReplica('user-1')).toBeUndefined()
      await store.commitReplica('user-1', {
        epoch: 'e1',
        base: await store.readGeneration('user-1'),
        cursor: 'k1',
        conversations: [conversation('b', 5)],
        removed: [],
      })
      const replica = await (await reopen()).readReplica('user-1')
      expect(replica).toMatchObject({ epoch: 'e1', cursor: 'k1' })
      expect(replica?.conversations.map(({ id, appliedSeq }) => [id, appliedSeq]).sort()).toEqual([
        ['a', 3],
        ['b', 5],
      ])
      await store.close()
    })

    it('[CLI1] the store never moves a conversation to a lower seq within an epoch', async () => {
      const { store } = await make()
      const common = { epoch: 'e1', cursor: 'k', removed: [], base: undefined }
      await store.commitReplica('user-1', { ...common, conversations: [conversation('a', 9)], replace: true })
      const base = await store.readGeneration('user-1')
      await store.commitReplica('user-1', { ...common, base, cursor: 'k2', conversations: [conversation('a', 8)] })
      const replica = await store.readReplica('user-1')
      expect(replica?.cursor).toBe('k2')
      expect(replica?.conversations[0]?.appliedSeq).toBe(9)
      await store.close()
    })

    it('[RES2] the store accepts data of another database epoch only as a full replacement', async () => {
      const { store } = await make()
      const commit = { cursor: 'k', removed: [], conversations: [conversation('a', 9)] }
      await store.commitReplica('user-1', { ...commit, base: undefined, epoch: 'e1', replace: true })
      const base = await store.readGeneration('user-1')
      const other = await store.commitReplica('user-1', {
        ...commit,
        base,
        epoch: 'e2',
        conversations: [conversation('a', 20)],
      })
      expect(other).toMatchObject({ kind: 'refused', epoch: 'e1' })
      expect((await store.readReplica('user-1'))?.conversations[0]?.appliedSeq).toBe(9)
      await store.commitReplica('user-1', {
        ...commit,
        base,
        epoch: 'e2',
        conversations: [conversation('b', 2)],
        replace: true,
      })
      const replica = await store.readReplica('user-1')
      expect(replica?.epoch).toBe('e2')
      expect(replica?.conversations.map(({ id }) => id)).toEqual(['b'])
      await store.close()
    })

    it('the store removes a conversation that the user left', async () => {
      const { store } = await make()
      const common = { epoch: 'e1', cursor: 'k', removed: [] }
      await store.commitReplica('user-1', {
        ...common,
        base: undefined,
        conversations: [conversation('a', 1), conversation('b', 1)],
        replace: true,
      })
      const base = await store.readGeneration('user-1')
      await store.commitReplica('user-1', { ...common, base, conversations: [], removed: [{ id: 'a', appliedSeq: 2 }] })
      expect((await store.readReplica('user-1'))?.conversations.map(({ id }) => id)).toEqual(['b'])
      // An outdated client must not restore the conversation.
      await store.commitReplica('user-1', { ...common, base, conversations: [conversation('a', 1)] })
      const replica = await store.readReplica('user-1')
      expect(replica?.conversations.map(({ id }) => id)).toEqual(['b'])
      expect(replica?.removed).toEqual([{ id: 'a', appliedSeq: 2 }])
      await store.close()
    })

    it('[ORD2] the store keeps pending messages in order across a reload', async () => {
      const { store, reopen } = await make()
      await Promise.all([3, 1, 2].map((order) => store.putOutbox('user-1', waiting(`m-${order}`, order))))
      const again = await reopen()
      expect((await again.readOutbox('user-1')).map(({ clientId }) => clientId)).toEqual(['m-1', 'm-2', 'm-3'])
      expect((await again.readOutbox('user-1'))[0]).toEqual(waiting('m-1', 1))
      await again.putOutbox('user-1', {
        ...waiting('m-2', 2),
        status: { state: 'acknowledged', seq: 7, createdAt: 'now' },
      })
      await again.removeOutbox('user-1', ['m-1', 'm-3'])
      const last = await (await reopen()).readOutbox('user-1')
      expect(last.map(({ clientId, status }) => [clientId, status.state])).toEqual([['m-2', 'acknowledged']])
      await again.close()
    })

    it('the store can clear the data of one user and keep that of others', async () => {
      const { store } = await make()
      const base = { epoch: 'e1', cursor: 'k', removed: [], base: undefined, replace: true }
      for (const id of ['user-1', 'user-2', 'user-10']) {
        await store.commitReplica(id, { ...base, conversations: [conversation(`of-${id}`, 1)] })
        await store.putOutbox(id, waiting(`m-${id}`, 1))
      }
      await store.clear('user-1', { outbox: false })
      expect(await store.readReplica('user-1')).toBeUndefined()
      expect(await store.readOutbox('user-1')).toHaveLength(1)
      await store.clear('user-1', { outbox: true })
      expect(await store.readOutbox('user-1')).toHaveLength(0)
      for (const id of ['user-2', 'user-10']) {
        expect((await store.readReplica(id))?.conversations.map((one) => one.id)).toEqual([`of-${id}`])
        expect(await store.readOutbox(id)).toHaveLength(1)
      }
      await store.close()
    })

    it('[CP1] the store merges a late first load with the newer data of another client', async () => {
      const { store, reopen } = await make()
      const first = { epoch: 'e1', removed: [], base: undefined, replace: true }
      const quick = await store.commitReplica('user-1', {
        ...first,
        cursor: 'k1',
        conversations: [conversation('a', 3), conversation('b', 3)],
      })
      const base = quick.kind === 'stored' ? quick.generation : undefined
      await store.commitReplica('user-1', {
        epoch: 'e1',
        base,
        cursor: 'k9',
        removed: [],
        conversations: [conversation('a', 9), conversation('c', 1)],
      })
      const late = await store.commitReplica('user-1', {
        ...first,
        cursor: 'k2',
        conversations: [conversation('a', 4), conversation('b', 3)],
      })
      expect(late).toMatchObject({ kind: 'stored', foreign: [{ id: 'c' }] })
      const replica = await (await reopen()).readReplica('user-1')
      expect(replica?.cursor).toBe('k9')
      expect(replica?.conversations.map(({ id, appliedSeq }) => [id, appliedSeq]).sort()).toEqual([
        ['a', 9],
        ['b', 3],
        ['c', 1],
      ])
      await store.close()
    })

    it('[CP1] at the same seq, the store prefers a left conversation to a present one', async () => {
      const { store } = await make()
      const common = { epoch: 'e1', cursor: 'k', removed: [] }
      await store.commitReplica('user-1', {
        ...common,
        base: undefined,
        conversations: [conversation('a', 5)],
        replace: true,
      })
      const base = await store.readGeneration('user-1')
      const left = { id: 'a', appliedSeq: 5, left: true } as const
      await store.commitReplica('user-1', { ...common, base, conversations: [left] })
      await store.commitReplica('user-1', { ...common, base, conversations: [conversation('a', 5)] })
      expect((await store.readReplica('user-1'))?.conversations).toEqual([left])
      // The user joins again at a higher seq. Other clients must then compare all entries again.
      await store.commitReplica('user-1', { ...common, base, conversations: [conversation('a', 7)] })
      expect((await store.readReplica('user-1'))?.conversations).toMatchObject([{ appliedSeq: 7 }])
      expect(await store.readGeneration('user-1')).not.toBe(base)
      await store.close()
    })

    it('[CP1] the store refuses commits of a client that missed a sign-out', async () => {
      const { store } = await make()
      const commit = { epoch: 'e1', cursor: 'k', removed: [], conversations: [conversation('a', 3)] }
      await store.commitReplica('user-1', { ...commit, base: undefined, replace: true })
      const base = await store.readGeneration('user-1')
      await store.clear('user-1', { outbox: true })
      for (const lagging of [
        { ...commit, base },
        { ...commit, base, replace: true },
        { ...commit, base: undefined, replace: true },
      ]) {
        expect(await store.commitReplica('user-1', lagging)).toMatchObject({ kind: 'refused' })
      }
      expect(await store.readReplica('user-1')).toBeUndefined()
      // Another client has signed in again. From the outdated client, the store still accepts only
      // a commit of its whole local copy.
      const again = await store.readGeneration('user-1')
      await store.commitReplica('user-1', { ...commit, base: again, replace: true })
      expect(await store.commitReplica('user-1', { ...commit, base })).toMatchObject({ kind: 'refused', epoch: 'e1' })
      await store.close()
    })

    it('[CP1] the store keeps the higher read marker of two clients', async () => {
      const { store } = await make()
      const marked = (appliedSeq: number, readSeq: number, unread: number): ConversationRecord => {
        const record = conversation('a', appliedSeq)
        return { ...record, summary: { ...record.summary!, lastMessage: message(appliedSeq), readSeq, unread } }
      }
      const common = { epoch: 'e1', cursor: 'k', removed: [], base: undefined }
      await store.commitReplica('user-1', { ...common, conversations: [marked(5, 4, 1)], replace: true })
      const base = await store.readGeneration('user-1')
      const read = async () => (await store.readReplica('user-1'))?.conversations[0]
      // At the same seq, a lower read marker does not replace a higher one.
      await store.commitReplica('user-1', { ...common, base, conversations: [marked(5, 1, 4)] })
      expect((await read())?.summary).toMatchObject({ readSeq: 4 })
      // The next commit to the store has newer changes, but a lower read marker. The store keeps the
      // higher marker, and counts unread messages after it.
      const window = {
        hasBefore: false,
        messages: [1, 2, 3, 4, 5, 6].map((seq) => ({ message: message(seq), asOfSeq: 6 })),
      }
      await store.commitReplica('user-1', { ...common, base, conversations: [{ ...marked(6, 1, 5), window }] })
      expect((await read())?.summary).toMatchObject({ seq: 6, readSeq: 4, unread: 2 })
      await store.commitReplica('user-1', { ...common, base, conversations: [marked(7, 1, 6)] })
      expect(await read()).toMatchObject({ summary: { seq: 7, readSeq: 4 }, isUnreadUnsure: true })
      await store.close()
    })

    it('[ACK2] an acknowledged message never becomes pending again', async () => {
      const { store } = await make()
      const acknowledged = { ...waiting('m', 1), status: { state: 'acknowledged', seq: 7, createdAt: 'now' } } as const
      await store.putOutbox('user-1', acknowledged)
      await store.putOutbox('user-1', waiting('m', 1))
      expect((await store.readOutbox('user-1'))[0]?.status.state).toBe('acknowledged')
      await store.close()
    })
  })
}
