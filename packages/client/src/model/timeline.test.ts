/**
 * Property tests of the timeline against a model of the server. Changes arrive in any order,
 * repeated, with gaps and mixed with pages. The timeline must end equal to the server's log and
 * report each change to the application exactly once.
 */
import type { Change, Message, MessagePage, PageMessage, ReactionCount } from '@chorus/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { offer } from '../testing/sign-card.ts'
import { heldMaxChanges, recentMaxChanges, spanOf, Timeline, windowMaxMessages } from './timeline.ts'

const conversation = '0190a000-0000-7000-8000-000000000001'
const users = ['u-me', 'u-ann', 'u-bob'] as const
const emojis = ['👍', '🎉'] as const

type Act =
  | { readonly do: 'create'; readonly by: number; readonly hasCard?: boolean }
  | { readonly do: 'act' | 'update-card'; readonly pick: number; readonly by: number }
  | { readonly do: 'edit' | 'delete'; readonly pick: number }
  | { readonly do: 'react' | 'unreact'; readonly pick: number; readonly by: number; readonly emoji: number }
  | { readonly do: 'join' }
  | { readonly do: 'skip'; readonly length: number }

/**
 * Model of one conversation on the server. It keeps the log and the messages after every change.
 */
class ModelServer {
  remembersPages = true
  readonly changes: Change[] = []
  readonly #messages = new Map<number, { message: Message; reactions: Map<string, Set<string>> }>()
  /** Messages of the conversation as they were at each seq. */
  readonly #states: PageMessage[][] = [[]]
  top = 0

  act(act: Act): void {
    const at = '2026-01-01T00:00:00.000Z'
    const targets = [...this.#messages.values()]
    const picked = 'pick' in act ? targets[act.pick % Math.max(1, targets.length)] : undefined
    const seq = this.top + 1
    switch (act.do) {
      case 'create': {
        const sender = users[act.by % users.length]!
        const message: Message = {
          conversation,
          seq,
          version: seq,
          clientId: `client-${seq}`,
          sender,
          text: `text ${seq}`,
          replyTo: null,
          attachments: [],
          data: null,
          createdAt: at,
          editedAt: null,
          deletedAt: null,
          ...(act.hasCard && { card: { ...offer, acted: null, jws: 'jws 1' } }),
        }
        this.#messages.set(seq, { message, reactions: new Map() })
        this.#push({ seq, type: 'message.created', at, actor: sender, message })
        return
      }
      case 'edit':
      case 'delete': {
        if (picked === undefined || picked.message.deletedAt !== null) return
        const { card: _card, ...erased } = picked.message
        picked.message =
          act.do === 'edit'
            ? { ...picked.message, version: seq, text: `edited ${seq}`, editedAt: at }
            : { ...erased, version: seq, text: '', deletedAt: at }
        if (act.do === 'delete') picked.reactions.clear()
        const type = act.do === 'edit' ? 'message.edited' : 'message.deleted'
        this.#push({ seq, type, at, actor: picked.message.sender, message: picked.message })
        return
      }
      case 'react':
      case 'unreact': {
        if (picked === undefined || picked.message.deletedAt !== null) return
        const actor = users[act.by % users.length]!
        const emoji = emojis[act.emoji % emojis.length]!
        const those = picked.reactions.get(emoji) ?? new Set()
        if (those.has(actor) === (act.do === 'react')) return
        if (act.do === 'react') those.add(actor)
        else those.delete(actor)
        picked.reactions.delete(emoji)
        if (those.size > 0) picked.reactions.set(emoji, those)
        const type = act.do === 'react' ? 'reaction.added' : 'reaction.removed'
        this.#push({ seq, type, at, actor, target: picked.message.seq, emoji })
        return
      }
      case 'act': {
        const card = picked?.message.card
        if (picked === undefined || card === undefined || card.acted !== null) return
        const actor = users[act.by % users.length]!
        picked.message = { ...picked.message, card: { ...card, acted: { seq, action: 'accept', actor } } }
        this.#push({ seq, type: 'card.acted', at, actor, target: picked.message.seq, action: 'accept' })
        return
      }
      case 'update-card': {
        const card = picked?.message.card
        if (picked === undefined || card === undefined) return
        const version = card.version + 1
        const next = { ...card, version, acted: null, state: `state-${seq}`, jws: `jws ${version}` }
        picked.message = { ...picked.message, version: seq, card: next }
        this.#push({ seq, type: 'card.updated', at, actor: users[0], message: picked.message })
        return
      }
      case 'join':
        this.#push({ seq, type: 'member.joined', at, actor: users[1], user: users[1], role: 'member' })
        return
      case 'skip': {
        const to = this.top + act.length
        this.#push({ seq: to, type: 'skip', from: seq, to })
        return
      }
    }
  }

  #push(change: Change): void {
    this.changes.push(change)
    this.top = spanOf(change).to
    if (!this.remembersPages) return
    const state = [...this.#messages.values()].map(({ message, reactions }) => ({
      ...message,
      reactions: [...reactions].map(
        ([emoji, those]): ReactionCount => ({ emoji, count: those.size, mine: those.has(users[0]) }),
      ),
    }))
    const { from, to } = spanOf(change)
    for (let seq = from; seq <= to; seq += 1) this.#states[seq] = state
  }

  messagesAt(seq: number): readonly PageMessage[] {
    return this.#states[seq] ?? []
  }

  /**
   * Returns the log after a seq. Each change contains its message in the current form, not as it
   * was first written.
   */
  changesAfter(after: number, limit: number): Change[] {
    return this.changes
      .filter((change) => spanOf(change).to > after)
      .slice(0, limit)
      .map((change) => this.current(change))
  }

  current(change: Change): Change {
    if (!('message' in change)) return change
    return { ...change, message: this.#messages.get(change.message.seq)!.message }
  }

  page(seq: number, limit: number, at: { before?: number; after?: number; around?: number } = {}): MessagePage {
    const all = this.messagesAt(seq)
    let low = Math.max(0, all.length - limit)
    let high = all.length
    if (at.before !== undefined) {
      high = all.filter((message) => message.seq < at.before!).length
      low = Math.max(0, high - limit)
    } else if (at.after !== undefined) {
      low = all.filter((message) => message.seq <= at.after!).length
      high = Math.min(all.length, low + limit)
    } else if (at.around !== undefined) {
      low = Math.max(0, all.filter((message) => message.seq < at.around!).length - Math.floor(limit / 2))
      high = Math.min(all.length, low + limit)
    }
    return { messages: all.slice(low, high), seq, hasBefore: low > 0, hasAfter: high < all.length }
  }
}

function bySortedEmoji(messages: readonly PageMessage[]): readonly PageMessage[] {
  return messages.map((message) => ({
    ...message,
    reactions: [...message.reactions].sort((left, right) => left.emoji.localeCompare(right.emoji)),
  }))
}

const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('create' as const), by: fc.nat(9), hasCard: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('act' as const, 'update-card' as const),
      pick: fc.nat(99),
      by: fc.nat(9),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('edit' as const, 'delete' as const), pick: fc.nat(99) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('react' as const, 'unreact' as const),
      pick: fc.nat(99),
      by: fc.nat(9),
      emoji: fc.nat(9),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: 'join' as const }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('skip' as const), length: fc.integer({ min: 1, max: 4 }) }) },
)

/**
 * Random inputs for the timeline from network and user. `at` is a position as a fraction of the
 * log.
 */
const input = fc.record({
  what: fc.constantFrom('deliver', 'deliver', 'deliver', 'repair', 'newest', 'older', 'newer', 'around', 'limited'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 6 }),
  isCurrent: fc.boolean(),
})

function run(acts: readonly Act[], inputs: readonly (typeof input extends fc.Arbitrary<infer H> ? H : never)[]) {
  const server = new ModelServer()
  for (const one of acts) server.act(one)
  const timeline = new Timeline({ me: users[0], appliedSeq: 0 })
  const given: Change[] = []
  const limitedTo: number[] = []
  for (const { what, at, length, isCurrent } of inputs) {
    const seq = Math.round(at * server.top)
    const { window } = timeline
    const first = window?.entries[0]?.message.seq
    const last = window?.entries.at(-1)?.message.seq
    switch (what) {
      case 'deliver': {
        const start = Math.floor(at * server.changes.length)
        const slice = server.changes.slice(start, start + length)
        given.push(...timeline.applyChanges(isCurrent ? slice.map((one) => server.current(one)) : slice).applied)
        break
      }
      case 'repair':
        given.push(...timeline.applyChanges(server.changesAfter(timeline.appliedSeq, length)).applied)
        break
      case 'newest':
        timeline.applyPage(server.page(seq, length), { at: 'whole' })
        break
      case 'around':
        timeline.applyPage(server.page(seq, length, { around: Math.round(seq / 2) }), { at: 'whole' })
        break
      case 'older':
        // The page may be older than the window. Then it no longer joins the end of the window, and
        // the timeline must refuse it.
        if (first !== undefined) {
          timeline.applyPage(server.page(Math.max(seq, first), length, { before: first }), {
            at: 'older',
            before: first,
          })
        }
        break
      case 'newer':
        if (last !== undefined) {
          timeline.applyPage(server.page(Math.max(seq, last), length, { after: last }), { at: 'newer', after: last })
        }
        break
      default:
        if (seq > timeline.appliedSeq) limitedTo.push(seq)
        given.push(...timeline.applyLimited(seq, server.page(seq, length).messages).applied)
    }
  }
  return { server, timeline, given, limitedTo }
}

describe('the timeline', () => {
  it('[CLI1] the timeline equals the server’s log, in whatever order changes and pages arrive', () => {
    fc.assert(
      fc.property(
        fc.array(act, { minLength: 1, maxLength: 60 }),
        fc.array(input, { maxLength: 40 }),
        (acts, inputs) => {
          const { server, timeline } = run(acts, inputs)
          timeline.applyChanges(server.changesAfter(timeline.appliedSeq, Number.POSITIVE_INFINITY))
          expect(timeline.appliedSeq).toBe(server.top)
          expect(timeline.isMissing).toBe(false)
          const { window } = timeline
          if (window === undefined) return
          const shown = window.entries.map((entry) => entry.message)
          const all = server.messagesAt(server.top)
          const low = shown[0]?.seq ?? Number.POSITIVE_INFINITY
          const high = window.hasAfter ? (shown.at(-1)?.seq ?? 0) : Number.POSITIVE_INFINITY
          const expected = all.filter((message) => message.seq >= low && message.seq <= high)
          expect(bySortedEmoji(shown)).toEqual(bySortedEmoji(expected))
          if (!window.hasBefore && shown.length > 0) expect(shown[0]?.seq).toBe(all[0]?.seq)
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('[CLI1] [NODE1] the timeline reports each change once, in order, except skipped ones', () => {
    fc.assert(
      fc.property(
        fc.array(act, { minLength: 1, maxLength: 60 }),
        fc.array(input, { maxLength: 40 }),
        (acts, inputs) => {
          const { server, timeline, given } = run(
            acts,
            inputs.filter(({ what }) => what !== 'limited'),
          )
          given.push(
            ...timeline.applyChanges(server.changesAfter(timeline.appliedSeq, Number.POSITIVE_INFINITY)).applied,
          )
          expect(given.map((change) => spanOf(change))).toEqual(server.changes.map((change) => spanOf(change)))
        },
      ),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(
        fc.array(act, { minLength: 1, maxLength: 60 }),
        fc.array(input, { maxLength: 40 }),
        (acts, inputs) => {
          const { server, timeline, given } = run(acts, inputs)
          given.push(
            ...timeline.applyChanges(server.changesAfter(timeline.appliedSeq, Number.POSITIVE_INFINITY)).applied,
          )
          const ends = given.map((change) => spanOf(change).to)
          expect(ends).toEqual([...new Set(ends)].sort((left, right) => left - right))
        },
      ),
      { numRuns: 500 },
    )
  })

  it('[NODE1] the timeline reports a change of an unknown type without showing it', () => {
    const server = new ModelServer()
    server.act({ do: 'create', by: 0 })
    const timeline = new Timeline({ me: users[0], appliedSeq: 0 })
    timeline.applyPage(server.page(0, 10), { at: 'whole' })
    const later = {
      seq: 2,
      type: 'message.later',
      at: '2026-01-01T00:00:00.000Z',
      actor: users[1],
    } as unknown as Change
    const step = timeline.applyChanges([...server.changes, later])
    expect(step).toMatchObject({ applied: [{ seq: 1 }, later], next: 'nothing' })
    expect(timeline.window?.entries).toHaveLength(1)
    expect(timeline.appliedSeq).toBe(2)
  })

  it('[LIM1] the timeline holds back a limited number of changes that arrive too early', () => {
    const server = new ModelServer()
    for (let index = 0; index < heldMaxChanges + 50; index += 1) server.act({ do: 'create', by: 0 })
    const timeline = new Timeline({ me: users[0], appliedSeq: 0 })
    expect(timeline.applyChanges(server.changes.slice(1)).next).toBe('read-missing')
    const step = timeline.applyChanges(server.changes.slice(0, 1))
    expect(step.applied).toHaveLength(heldMaxChanges + 1)
    expect(step.next).toBe('read-missing')
    expect(timeline.applyChanges(server.changesAfter(timeline.appliedSeq, 200)).next).toBe('nothing')
  })

  it('[LIM1] the timeline keeps a limited number of messages and drops the oldest', () => {
    const server = new ModelServer()
    // Do not store the messages after each of these changes: this would take most of the run time.
    server.remembersPages = false
    const timeline = new Timeline({ me: users[0], appliedSeq: 0 })
    timeline.applyPage(server.page(0, 10), { at: 'whole' })
    for (let index = 0; index < windowMaxMessages + 10; index += 1) server.act({ do: 'create', by: 0 })
    timeline.applyChanges(server.changes)
    expect(timeline.window?.entries).toHaveLength(windowMaxMessages)
    expect(timeline.window?.hasBefore).toBe(true)
  })

  it('[CLI1] the timeline refuses a page older than the oldest change it remembers', () => {
    const server = new ModelServer()
    for (let index = 0; index < recentMaxChanges + 20; index += 1) server.act({ do: 'create', by: 0 })
    const timeline = new Timeline({ me: users[0], appliedSeq: 0 })
    timeline.applyChanges(server.changes)
    expect(timeline.applyPage(server.page(5, 10), { at: 'whole' })).toBe('stale')
    expect(timeline.applyPage(server.page(server.top - 5, 10), { at: 'whole' })).toBe('applied')
  })

  it('a timeline restored from stored messages applies later changes', () => {
    const server = new ModelServer()
    const timeline = new Timeline({ me: users[0], appliedSeq: 0 })
    for (let index = 0; index < 30; index += 1) server.act({ do: 'create', by: index })
    timeline.applyPage(server.page(server.top, 20), { at: 'whole' })
    timeline.applyChanges(server.changes)
    const record = timeline.toRecord(10)
    expect(record?.messages).toHaveLength(10)
    expect(record?.hasBefore).toBe(true)
    const again = new Timeline({ me: users[0], appliedSeq: timeline.appliedSeq, ...(record && { window: record }) })
    server.act({ do: 'react', pick: 29, by: 0, emoji: 0 })
    again.applyChanges(server.changes)
    expect(again.window?.entries.at(-1)?.message.reactions).toEqual([{ emoji: '👍', count: 1, mine: true }])
  })
})
