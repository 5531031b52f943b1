/**
 * Property tests of the chaos test's checker: no random behaviour of a correct chat breaks a rule,
 * and each way of damaging its history breaks exactly the matching rule.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { DeliverEvent, HistoryEvent } from '../history/index.ts'
import { checkHistory } from './check-history.ts'
import { toHistory } from './history.ts'
import type { RuleId } from './rule.ts'
import { ModelChat } from './testing/model-chat.ts'

const users = ['ada', 'bob', 'cyd', 'dan'] as const
const conversations = ['one', 'two'] as const

/**
 * Number of random histories to try, from the environment: `PROPERTY_RUNS=2000`. Without it, every
 * run of the tests tries the same histories.
 */
const asked = process.env['PROPERTY_RUNS']
const runs = (usual: number): number => (asked === undefined ? usual : Number(asked))
const seed = asked === undefined ? { seed: 1 } : {}

type Step =
  | {
      readonly do: 'send' | 'retry' | 'refuse' | 'edit' | 'delete' | 'page'
      readonly user: number
      readonly conversation: number
    }
  | { readonly do: 'remove' | 'add' | 'restart'; readonly user: number; readonly conversation: number }
  | { readonly do: 'fault'; readonly user: number; readonly conversation: number }

const step: fc.Arbitrary<Step> = fc.record({
  do: fc.oneof(
    { weight: 8, arbitrary: fc.constant('send' as const) },
    ...(['retry', 'refuse', 'edit', 'delete', 'page', 'remove', 'add', 'restart', 'fault'] as const).map((name) => ({
      weight: 1,
      arbitrary: fc.constant(name),
    })),
  ),
  user: fc.nat(users.length - 1),
  conversation: fc.nat(conversations.length - 1),
})

/**
 * Plays the steps that are possible and skips all others. At the end, each member sends a message
 * to each conversation.
 */
function play(steps: readonly Step[]): ModelChat {
  const chat = new ModelChat()
  for (const user of users) chat.attach(`${user}-1`, user)
  for (const conversation of conversations) chat.create(conversation, 'ada', ['bob', 'cyd'])
  const sent: { conversation: string; user: string; seq: number }[] = []
  for (const { do: what, user: userIndex, conversation: conversationIndex } of steps) {
    const user = users[userIndex] ?? 'ada'
    const conversation = conversations[conversationIndex] ?? 'one'
    const isMember = chat.members(conversation).includes(user)
    const isOwner = user === 'ada'
    const own = sent.findLast((message) => message.user === user && message.conversation === conversation)
    switch (what) {
      case 'send':
        if (isMember) sent.push({ conversation, user, seq: chat.send(conversation, `${user}-1`, user) })
        break
      case 'retry':
        if (isMember) sent.push({ conversation, user, seq: chat.send(conversation, `${user}-raw`, user, 2) })
        break
      case 'refuse':
        chat.refuse(conversation, `${user}-raw`, user)
        break
      case 'edit':
        if (isMember && own !== undefined) chat.edit(conversation, user, own.seq)
        break
      case 'delete':
        if (isMember && own !== undefined) {
          chat.delete(conversation, user, own.seq)
          sent.splice(sent.indexOf(own), 1)
        }
        break
      case 'page':
        if (isMember) chat.page(conversation, `${user}-1`, user, { limit: 3 })
        break
      case 'remove':
        if (isMember && !isOwner) chat.remove(conversation, 'ada', user)
        break
      case 'add':
        if (!isMember) chat.add(conversation, 'ada', user)
        break
      case 'restart':
        chat.detach(`${user}-1`)
        chat.send(conversation, 'ada-1', 'ada')
        chat.attach(`${user}-1`, user)
        break
      case 'fault':
        chat.fault('F4')
        break
    }
  }
  for (const conversation of conversations) {
    chat.send(conversation, 'ada-1', 'ada')
    chat.page(conversation, 'ada-1', 'ada')
    chat.send(conversation, 'ada-1', 'ada')
  }
  return chat
}

function brokenRules(events: readonly HistoryEvent[]): readonly RuleId[] {
  return checkHistory(toHistory(events))
    .rules.filter(({ verdict }) => verdict === 'broken')
    .map(({ id }) => id)
}

const isDelivery = (event: HistoryEvent): event is DeliverEvent => event.op === 'deliver'
const pick = <Item>(items: readonly Item[], where: number): Item | undefined =>
  items[Math.min(items.length - 1, Math.floor(where * items.length))]

/**
 * Function that damages a history in one way. Returns undefined if the history contains nothing to
 * damage.
 */
type Break = (chat: ModelChat, events: HistoryEvent[], where: number) => HistoryEvent[] | undefined

const breaks: { readonly [Id in RuleId]?: Break } = {
  A1: (chat, events, where) => {
    // Add an acknowledged message that is in no row of the log and reached no client, as if the log
    // had lost it.
    const conversation = pick(conversations, where) ?? 'one'
    const invoke = events.find((event) => event.op === 'send' && event.type === 'invoke')
    if (invoke === undefined) return undefined
    const id = 1_000_000
    return [
      ...events,
      {
        ...invoke,
        id,
        conversation,
        process: 'raw',
        clientId: 'lost',
        hash: 7,
        order: 'none',
        t: chat.t,
      },
      { t: chat.t + 1, op: 'send', type: 'ok', id, seq: chat.top(conversation) + 1 },
    ]
  },
  A5: (_chat, events, where) => {
    const seen = pick(events.filter(isDelivery), where)
    if (seen === undefined) return undefined
    const last = events.findLastIndex(
      (event) => isDelivery(event) && event.observer === seen.observer && event.conversation === seen.conversation,
    )
    // After a rejoin or after the user's own removal, any sequence number is allowed next. So this
    // repeats one that the client has already received.
    return events.toSpliced(last + 1, 0, { ...seen, t: events[last]?.t ?? 0 })
  },
  A6: (_chat, events, where) => {
    const seen = pick(
      events.filter((event) => isDelivery(event) && event.kind === 'j'),
      where,
    )
    if (seen === undefined) return undefined
    return events.map((event) => (event === seen ? ({ ...event, actor: 'eve' } as HistoryEvent) : event))
  },
  A7: (_chat, events) => {
    const created = events.find((event) => event.op === 'row' && event.seq === 1)
    return events.filter((event) => event !== created)
  },
  A8: (_chat, events, where) => {
    // Remove one delivery from the middle of one client's deliveries, so that its sequence number
    // is missing for no permitted reason.
    const mine = events.filter(
      (event) => isDelivery(event) && event.observer === 'ada-1' && event.conversation === 'one',
    )
    const left = pick(mine.slice(4, -1), where)
    return left === undefined ? undefined : events.filter((event) => event !== left)
  },
  A12: (chat, events, where) => {
    const user = pick(users, where)
    const conversation = 'one'
    if (user === undefined || chat.members(conversation).includes(user)) return undefined
    const seen = events.findLast((event) => isDelivery(event) && event.conversation === conversation)
    if (seen === undefined) return undefined
    const observer: HistoryEvent = {
      t: chat.t,
      op: 'observer',
      observer: 'spy',
      stream: 'spy',
      kind: 'sse',
      process: 'spy',
      user,
      session: 's',
    }
    return [...events, observer, { ...(seen as DeliverEvent), observer: 'spy', t: chat.t }]
  },
  A13: (_chat, events) => {
    const last = events.findLast((event) => isDelivery(event) && event.observer === 'ada-1')
    return events.filter((event) => event !== last)
  },
  A17: (chat, events) => [...events, { t: chat.t, op: 'server', server: 's1', what: 'unexpected-exit', text: 'gone' }],
}

describe('the history of a correct chat', () => {
  it('the random history of a correct chat breaks no rule', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        expect(brokenRules(play(steps).finish())).toEqual([])
      }),
      { numRuns: runs(150), ...seed },
    )
  })
})

describe('a history damaged in one way', () => {
  for (const [id, breakIt] of Object.entries(breaks)) {
    it(`only rule ${id} finds its kind of damage in a history`, () => {
      let broken = 0
      fc.assert(
        fc.property(
          fc.array(step, { maxLength: 40 }),
          fc.double({ min: 0, max: 0.999, noNaN: true }),
          (steps, where) => {
            const chat = play(steps)
            const events = breakIt(chat, [...chat.finish()], where)
            if (events === undefined) return
            broken += 1
            // A skipped acknowledged message also never arrived, so it breaks rule A13 as well.
            const isAlone = (rule: RuleId) => id !== 'A8' || rule !== 'A13'
            expect(brokenRules(events).filter(isAlone)).toEqual([id])
          },
        ),
        { numRuns: runs(100), ...seed },
      )
      expect(broken).toBeGreaterThan(5)
    })
  }
})
