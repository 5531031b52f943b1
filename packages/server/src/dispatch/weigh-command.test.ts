/** Tests which cost a command takes from the rate limits of its user, before and after it runs. */
import { randomUUID } from 'node:crypto'
import type { ChorusError } from '@chorus/protocol'
import { commands, type CommandInput, type CommandName } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { Limits, type LimitSettings } from '../auth/limits.ts'
import { noLimits } from '../auth/testing/no-limits.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { CommandContext, CommandTable } from '../commands/command.ts'
import { commandTable } from './command-table.ts'
import { InFlightCommands } from './in-flight-commands.ts'
import { takeBudget } from './weigh-command.ts'

const user = randomUUID()
const conversation = randomUUID()

/** Wraps handlers that do nothing but return `answer`. */
function open(settings: Partial<LimitSettings>, answer: unknown = {}) {
  const clock = new ManualClock()
  const limits = new Limits({ ...noLimits, ...settings }, clock)
  const begun: CommandName[] = []
  const table = Object.fromEntries(
    Object.entries(commandTable).map(([name, { cost }]) => [
      name,
      {
        cost,
        run: async () => {
          begun.push(name as CommandName)
          return answer
        },
      },
    ]),
  ) as unknown as CommandTable
  const intake = new InFlightCommands(table, clock)
  const context = { parts: { limits }, actor: { userId: user, sessionId: user } } as unknown as CommandContext
  async function run<Name extends CommandName>(
    name: Name,
    input: CommandInput<Name>,
    more: Pick<CommandContext, 'connection' | 'key'> = {},
  ): Promise<string> {
    try {
      if (more.key === undefined) takeBudget(limits, name, user)
      else limits.takeKeyRequest(more.key.id)
      await intake.handlers[name]({ ...context, ...more }, input)
      return 'done'
    } catch (error) {
      return (error as ChorusError).code
    }
  }
  async function countDone<Name extends CommandName>(times: number, name: Name, input: CommandInput<Name>) {
    let done = 0
    for (let n = 0; n < times; n++) if ((await run(name, input)) === 'done') done++
    return done
  }
  return { clock, limits, begun, run, countDone }
}

const ids = (count: number): string[] => Array.from({ length: count }, () => randomUUID())

describe('the cost of a command', () => {
  it('[LIM3] every command that appends to a log takes from the message budget', async () => {
    // These commands change something but append nothing to a log. All other commands that change
    // something must take from the budget `sends`.
    const requestsOnly = [
      'authenticate',
      'mark-read',
      'revoke-session',
      'set-live-value',
      'set-notifications',
      'set-status',
      'sign-out',
      'update-profile',
      'update-session-data',
      'watch-presence',
    ]
    for (const { name, auth, route } of Object.values(commands)) {
      const takesRequest = route?.method === 'GET' || requestsOnly.includes(name)
      const expected = auth === 'session' ? (takesRequest ? 'requests' : 'sends') : auth
      expect(commandTable[name].cost.budget, name).toBe(expected)
    }
    const { run } = open({ limitSends: 30 })
    let done = 0
    for (let turn = 0; turn < 100; turn++) {
      const reaction = { conversation, seq: 1, emoji: '👍' }
      const answers = [
        await run('put-member', { conversation, user: 'me' }),
        await run('remove-member', { conversation, user: 'me' }),
        await run('add-reaction', reaction),
        await run('remove-reaction', reaction),
      ]
      done += answers.filter((answer) => answer === 'done').length
    }
    expect(done).toBe(60)
  })

  it('[LIM3] creating a conversation costs by the number of its members', async () => {
    const { clock, begun, countDone } = open({ limitMembers: 20 })
    const creation = { kind: 'group' as const, members: ids(99) }
    expect(await countDone(30, 'create-conversation', creation)).toBe(2)
    expect(begun).toHaveLength(2)
    clock.advance(5_000)
    expect(await countDone(30, 'create-conversation', creation)).toBe(1)
    expect(await countDone(30, 'put-member', { conversation, user: randomUUID() })).toBe(0)
    clock.advance(1_000)
    expect(await countDone(30, 'put-member', { conversation, user: randomUUID() })).toBe(20)
  })

  it('[LIM3] a live value costs by its size', async () => {
    const { clock, countDone } = open({ limitRequests: 100 })
    const live = { conversation, key: 'place', ttlMs: 1_000 }
    expect(await countDone(200, 'set-live-value', { ...live, value: [1, 2] })).toBe(100)
    clock.advance(1_000)
    expect(await countDone(200, 'set-live-value', { ...live, value: 'x'.repeat(1_000) })).toBe(25)
  })

  it('[LIM3] charges a large result after the command ran', async () => {
    const values = Array.from({ length: 1_000 }, () => ({ value: 'x'.repeat(1_000) }))
    const { clock, countDone } = open({ limitRequests: 100 }, { values })
    expect(await countDone(200, 'list-live-values', { conversation })).toBe(4)
    clock.advance(1_000)
    expect(await countDone(200, 'list-live-values', { conversation })).toBeLessThanOrEqual(4)
    const small = open({ limitRequests: 100 }, { values: values.slice(0, 10) })
    expect(await small.countDone(200, 'list-live-values', { conversation })).toBe(100)
  })

  it('[LIM3] large results requested at once cost as much as one after another', async () => {
    const values = Array.from({ length: 1_000 }, () => ({ value: 'x'.repeat(1_000) }))
    const { clock, begun, run } = open({ limitRequests: 100 }, { values })
    const askAtOnce = async (times: number) => {
      const results = await Promise.all(Array.from({ length: times }, () => run('list-live-values', { conversation })))
      return results.filter((result) => result === 'done').length
    }
    expect(await askAtOnce(80)).toBeLessThanOrEqual(2)
    expect(begun.length).toBeLessThanOrEqual(2)
    clock.advance(2_000)
    expect(await askAtOnce(3)).toBe(3)
  })

  it('[LIM3] a watch list costs by the number of newly watched users', async () => {
    const { clock, run } = open({ limitRequests: 100 })
    const users = ids(96)
    const watched = new Map<string, string>()
    const connection = {
      watched,
      commandBegan: () => undefined,
      commandEnded: () => undefined,
    } as unknown as NonNullable<CommandContext['connection']>
    const count = async (list: string[]): Promise<number> => {
      let done = 0
      for (let n = 0; n < 50; n++) if ((await run('watch-presence', { users: list }, { connection })) === 'done') done++
      return done
    }
    expect(await count(users)).toBe(2)
    clock.advance(1_000)
    for (const other of users) watched.set(other, 'online')
    expect(await count(users)).toBe(50)
    expect(await count([])).toBe(50)
  })

  it('[LIM3] a request with an API key takes all its costs from the limit of the key', async () => {
    const values = Array.from({ length: 1_000 }, () => ({ value: 'x'.repeat(1_000) }))
    const settings = { limitKeyRequests: 200, limitSends: 1, limitRequests: 1, limitMembers: 1 }
    const { clock, run } = open(settings, { values })
    const context = { key: { id: 'key' } as NonNullable<CommandContext['key']> }
    const count = async <Name extends CommandName>(name: Name, input: CommandInput<Name>): Promise<number> => {
      clock.advance(2_000)
      let done = 0
      for (let n = 0; n < 300; n++) if ((await run(name, input, context)) === 'done') done++
      return done
    }
    expect(await count('find-channels', { q: 'x', limit: 10 })).toBeLessThan(200)
    expect(await count('send-message', { conversation, clientId: randomUUID(), text: 'x' })).toBe(200)
    expect(await count('create-conversation', { kind: 'group', members: ids(98) })).toBe(2)
    const users = Array.from({ length: 990 }, (_, n) => ({ externalId: `${n}`, name: 'x' }))
    expect(await count('put-users', { users })).toBe(2)
    expect(await count('list-live-values', { conversation })).toBeLessThan(10)
  })

  it('[LIM3] limits no command whose limit is switched off', async () => {
    const { countDone } = open({})
    expect(await countDone(500, 'create-conversation', { kind: 'group', members: ids(99) })).toBe(500)
  })
})
