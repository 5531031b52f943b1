/**
 * Tests that an emoji counts as one reaction in every spelling (sequence of code points), and that
 * reactions stored in another spelling can be removed.
 */
import { commands } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LogFixture } from '../../database/testing/log-fixture.ts'
import { openTestDatabase } from '../../database/testing/open-test-database.ts'
import { changeReaction } from './change-reaction.ts'
import type { CommandContext } from '../command.ts'

describe('reactions', () => {
  let store: Awaited<ReturnType<typeof openTestDatabase>>
  let fixture: LogFixture
  let ada: string
  let bob: string
  let conversation: string
  let announced: number

  beforeAll(async () => {
    store = await openTestDatabase('embedded')
    fixture = new LogFixture(store.database)
    ada = await fixture.user('Ada')
    bob = await fixture.user('Bob')
    conversation = await fixture.group([ada, bob])
  })
  afterAll(() => store.close())

  async function message(): Promise<number> {
    announced = 0
    return (await fixture.send(conversation, ada)).seq
  }

  function contextOf(userId: string): CommandContext {
    const parts = {
      log: fixture.log,
      database: store.database,
      feeds: { announce: (changes: readonly unknown[]) => void (announced += changes.length) },
    }
    return { parts, actor: { userId } } as unknown as CommandContext
  }

  /** Sends a reaction through the command's input schema, as a request does. */
  async function change(user: string, op: 'react' | 'unreact', seq: number, emoji: string): Promise<number> {
    const { input } = commands[op === 'react' ? 'add-reaction' : 'remove-reaction']
    return (await changeReaction(contextOf(user), op, input.parse({ conversation, seq, emoji }))).seq
  }

  async function shown(seq: number): Promise<Record<string, number>> {
    const rows = await fixture.sql<{ emoji: string; n: number }>(
      'select emoji, count(*)::int as n from reactions where conversation = $1 and target = $2 and not removed group by emoji',
      [conversation, seq],
    )
    return Object.fromEntries(rows.map(({ emoji, n }) => [emoji, n]))
  }

  it('[NAME2] counts every spelling of an emoji as one reaction', async () => {
    const seq = await message()
    const first = await change(ada, 'react', seq, '👍')
    expect(await change(ada, 'react', seq, '👍\ufe0f')).toBe(first)
    await change(bob, 'react', seq, '👍\ufe0f')
    await change(bob, 'react', seq, '👍🏽')
    expect(await shown(seq)).toEqual({ '👍': 2, '👍🏽': 1 })
    await change(bob, 'unreact', seq, '👍\ufe0f')
    expect(await shown(seq)).toEqual({ '👍': 1, '👍🏽': 1 })
    await expect(change(ada, 'react', seq, '1👍')).rejects.toThrow(/is not one emoji/)
  })

  it('[NAME2] removes reactions that an earlier version stored in another spelling', async () => {
    const seq = await message()
    // An earlier version stored these spellings.
    for (const emoji of ['👍\ufe0f', '❤', '1👍'])
      await fixture.apply({ op: 'react', conversation, actor: ada, target: seq, emoji })
    await change(bob, 'react', seq, '❤')
    await change(ada, 'unreact', seq, '👍\ufe0f')
    expect(await shown(seq)).toEqual({ '❤': 1, '❤\ufe0f': 1, '1👍': 1 })
    await change(ada, 'unreact', seq, '❤\ufe0f')
    await change(ada, 'unreact', seq, '1👍')
    expect(await shown(seq)).toEqual({ '❤\ufe0f': 1 })
    const before = announced
    await change(ada, 'unreact', seq, '❤\ufe0f')
    expect(announced).toBe(before)
    expect(await shown(seq)).toEqual({ '❤\ufe0f': 1 })
  })
})
