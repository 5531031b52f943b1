/** What every store promises; run on each of them. `reopen` gives a store over the same data, as after a reload. */
import { describe, expect, it } from 'vitest'
import type { ChatStore, ConversationRecord, OutboxRecord } from '../store.ts'

export interface StoreUnderTest {
  readonly store: ChatStore
  readonly reopen: () => Promise<ChatStore>
}

const user = { id: 'user-1', handle: 'ada', name: 'Ada', avatar: null }

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
    it('remembers the account, and forgets it', async () => {
      const { store, reopen } = await make()
      expect(await store.readAccount()).toBeUndefined()
      await store.writeAccount({ user, cookies: { chorus_session: 'x' } })
      const again = await reopen()
      expect(await again.readAccount()).toEqual({ user, cookies: { chorus_session: 'x' } })
      await again.writeAccount(undefined)
      expect(await again.readAccount()).toBeUndefined()
      await again.close()
    })

    it('[CP1] keeps a cursor together with what it covers, and none before the first load is whole', async () => {
      const { store, reopen } = await make()
      await store.commitReplica('user-1', {
        epoch: 'e1',
        conversations: [conversation('a', 3)],
        removed: [],
        replace: true,
      })
      expect(await store.readReplica('user-1')).toBeUndefined()
      await store.commitReplica('user-1', {
        epoch: 'e1',
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

    it('[CLI1] never takes a conversation back to a lower seq within an epoch', async () => {
      const { store } = await make()
      const base = { epoch: 'e1', cursor: 'k', removed: [] }
      await store.commitReplica('user-1', { ...base, conversations: [conversation('a', 9)], replace: true })
      await store.commitReplica('user-1', { ...base, cursor: 'k2', conversations: [conversation('a', 8)] })
      const replica = await store.readReplica('user-1')
      expect(replica?.cursor).toBe('k2')
      expect(replica?.conversations[0]?.appliedSeq).toBe(9)
      await store.close()
    })

    it('[RES2] drops a commit of another epoch, unless it replaces everything', async () => {
      const { store } = await make()
      const commit = { cursor: 'k', removed: [], conversations: [conversation('a', 9)] }
      await store.commitReplica('user-1', { ...commit, epoch: 'e1', replace: true })
      await store.commitReplica('user-1', { ...commit, epoch: 'e2', conversations: [conversation('a', 20)] })
      expect((await store.readReplica('user-1'))?.conversations[0]?.appliedSeq).toBe(9)
      await store.commitReplica('user-1', {
        ...commit,
        epoch: 'e2',
        conversations: [conversation('b', 2)],
        replace: true,
      })
      const replica = await store.readReplica('user-1')
      expect(replica?.epoch).toBe('e2')
      expect(replica?.conversations.map(({ id }) => id)).toEqual(['b'])
      await store.close()
    })

    it('forgets a conversation that was left', async () => {
      const { store } = await make()
      const base = { epoch: 'e1', cursor: 'k', removed: [] }
      await store.commitReplica('user-1', {
        ...base,
        conversations: [conversation('a', 1), conversation('b', 1)],
        replace: true,
      })
      await store.commitReplica('user-1', { ...base, conversations: [], removed: ['a'] })
      expect((await store.readReplica('user-1'))?.conversations.map(({ id }) => id)).toEqual(['b'])
      await store.close()
    })

    it('[ORD2] keeps waiting messages in order, through a reload', async () => {
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

    it('keeps users apart, and clears one of them', async () => {
      const { store } = await make()
      const base = { epoch: 'e1', cursor: 'k', removed: [], replace: true }
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
  })
}
