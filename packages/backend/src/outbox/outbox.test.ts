/** The outbox in PGlite, and the checks of its arguments. */
import { randomUUID } from 'node:crypto'
import { PGlite } from '@electric-sql/pglite'
import { describe, expect, it } from 'vitest'
import { ChorusApiError } from '../api/api-error.ts'
import { describeOutbox } from '../testing/outbox.suite.ts'
import { judgeFailure } from './judge-failure.ts'
import { startOutboxRelay } from './outbox-relay.ts'
import { type OutboxMessage, postInTransaction } from './post-in-transaction.ts'

describeOutbox('PGlite', async () => {
  const database = await PGlite.create()
  return {
    client: database,
    transaction: (work) => database.transaction((transaction) => work(transaction)),
    close: () => database.close(),
  }
})

describe('posting in a transaction', () => {
  const conversation = randomUUID()
  const subject = { type: 'order', id: '7' }
  it.each<[object, string]>([
    [{ text: 'x' }, 'give either the conversation or the subject'],
    [{ conversation, subject, text: 'x' }, 'give either the conversation or the subject'],
    [{ conversation: 'general', text: 'x' }, 'conversation must be a UUID'],
    [{ conversation }, 'the message needs a text or a card'],
    [{ conversation, text: '' }, 'the message needs a text or a card'],
    [{ conversation, text: 'a\u0000' }, 'text must not contain NUL'],
    [{ conversation, text: 'a\ud800' }, 'text must not contain NUL or half a character'],
    [{ conversation, text: 'x', id: '7' }, 'id must be a UUID'],
    [{ conversation, text: 'x', as: '' }, 'as must be an external id'],
    [{ subject: { type: 'Order', id: '7' }, text: 'x' }, 'the subject needs a type'],
    [{ subject: { type: 'order', id: '' }, text: 'x' }, 'the subject needs a type'],
  ])('refuses %j before it sends a statement', async (message, reason) => {
    let statements = 0
    const client = {
      query: () => {
        statements += 1
        return Promise.resolve({ rows: [] })
      },
    }
    await expect(postInTransaction(client, message as OutboxMessage)).rejects.toThrow(reason)
    expect(statements).toBe(0)
  })

  it('refuses a pool without a query function', () => {
    const options = { pool: {}, client: {} } as unknown as Parameters<typeof startOutboxRelay>[0]
    expect(() => startOutboxRelay(options)).toThrow('pool must have a function query(text, values)')
  })
})

describe('a failed post', () => {
  const row = { attempts: 3, ageMs: 10_000 }
  const judge = (error: unknown, more: Partial<typeof row> = {}) =>
    judgeFailure(error, { ...row, ...more }, 0, 60_000).kind

  it.each([
    ['not-found', 'refused', 'dead'],
    ['forbidden', 'refused', 'dead'],
    ['conflict', 'refused', 'dead'],
    ['too-large', 'refused', 'dead'],
    ['stale', 'refused', 'dead'],
    ['unavailable', 'refused', 'lane-waits'],
    ['unknown', 'timeout', 'lane-waits'],
    ['unknown', 'unreachable', 'lane-waits'],
    ['not-found', 'other-answer', 'lane-waits'],
    ['unavailable', 'unreachable', 'relay-pauses'],
    ['unauthenticated', 'refused', 'relay-pauses'],
    ['rate-limited', 'refused', 'relay-pauses'],
  ] as const)('with %s (%s): %s', (code, failure, kind) => {
    expect(judge(new ChorusApiError(code, 'unable to post', { failure }))).toBe(kind)
  })

  it('kills a row only for a failure of its own', () => {
    const old = { ageMs: 70_000 }
    expect(judge(new ChorusApiError('unavailable', 'x', { failure: 'unreachable' }), old)).toBe('relay-pauses')
    expect(judge(new ChorusApiError('unauthenticated', 'x', { failure: 'refused' }), old)).toBe('relay-pauses')
    expect(judge(new ChorusApiError('unknown', 'x', { failure: 'timeout' }), old)).toBe('dead')
    expect(judge(new Error('unexpected'))).toBe('lane-waits')
  })
})
