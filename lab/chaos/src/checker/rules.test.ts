import { describe, expect, it } from 'vitest'
import { hashText, type DeliverEvent, type HistoryEvent } from '../history/index.ts'
import type { NotOkEvent, OkEvent } from '../history/events.ts'
import { checkHistory } from './check-history.ts'
import { toHistory } from './history.ts'
import type { RuleId, RuleResult } from './rule.ts'
import { ModelChat } from './testing/model-chat.ts'

/** Builds a chat with three users in one group, each with a client and one message. */
function smallChat(): ModelChat {
  const chat = new ModelChat()
  chat.attach('ada-1', 'ada')
  chat.attach('bob-1', 'bob')
  chat.attach('cyd-1', 'cyd')
  chat.create('group', 'ada', ['bob', 'cyd'])
  for (const user of ['ada', 'bob', 'cyd']) chat.send('group', `${user}-1`, user)
  return chat
}

function judge(events: readonly HistoryEvent[]): ReadonlyMap<RuleId, RuleResult> {
  return new Map(checkHistory(toHistory(events)).rules.map((result) => [result.id, result]))
}

function brokenRules(events: readonly HistoryEvent[]): readonly RuleId[] {
  return [...judge(events).values()].filter(({ verdict }) => verdict === 'broken').map(({ id }) => id)
}

function deliveriesTo(events: readonly HistoryEvent[], observer: string): readonly DeliverEvent[] {
  return events.filter((event): event is DeliverEvent => event.op === 'deliver' && event.observer === observer)
}

const without = (events: readonly HistoryEvent[], ...left: readonly (HistoryEvent | undefined)[]) =>
  events.filter((event) => !left.includes(event))

const replace = (events: readonly HistoryEvent[], old: HistoryEvent, ...by: readonly HistoryEvent[]) =>
  events.flatMap((event) => (event === old ? by : [event]))

const insertAfter = (events: readonly HistoryEvent[], after: HistoryEvent, ...more: readonly HistoryEvent[]) =>
  replace(events, after, after, ...more)

const find = <Op extends HistoryEvent['op']>(
  events: readonly HistoryEvent[],
  op: Op,
  matches: (event: Extract<HistoryEvent, { op: Op }>) => boolean = () => true,
): Extract<HistoryEvent, { op: Op }> => {
  const found = events.find(
    (event): event is Extract<HistoryEvent, { op: Op }> =>
      event.op === op && matches(event as Extract<HistoryEvent, { op: Op }>),
  )
  if (found === undefined) throw new Error(`no ${op} in the history`)
  return found
}

const rowOf = (events: readonly HistoryEvent[], seq: number) => find(events, 'row', (row) => row.seq === seq)

describe('the checker', () => {
  it('the checker judges nothing in an empty history', () => {
    for (const result of judge([]).values()) {
      expect(result, result.id).toMatchObject({ verdict: 'not judged', judged: 0, violations: 0 })
      expect(result.note, result.id).toBeTruthy()
    }
  })

  it('a correct chat breaks no rule, and the checker counts what it judged', () => {
    const chat = smallChat()
    chat.fault('F4')
    chat.send('group', 'ada-1', 'ada')
    const results = judge(chat.finish())
    const verdicts = Object.fromEntries([...results].map(([id, { verdict }]) => [id, verdict]))
    expect(verdicts).toEqual({
      A1: 'kept',
      A2: 'not judged',
      A3: 'kept',
      A4: 'kept',
      A5: 'kept',
      A6: 'kept',
      A7: 'kept',
      A8: 'kept',
      A9: 'kept',
      A10: 'kept',
      A11: 'kept',
      A12: 'kept',
      A13: 'kept',
      A14: 'not judged',
      A15: 'not judged',
      A16: 'not judged',
      A17: 'kept',
    })
    expect(results.get('A1')?.judged).toBe(4)
    expect(checkHistory(toHistory(chat.events)).counts).toMatchObject({ sends: 4, acknowledged: 4, faults: 1 })
  })

  it('the checker describes five violations of a rule and counts the others', () => {
    const chat = smallChat()
    for (let index = 0; index < 20; index++) chat.send('group', 'ada-1', 'ada')
    const events = chat.finish().filter((event) => event.op !== 'row' || event.kind !== 'c')
    const lost = judge(events).get('A1')
    expect(lost?.violations).toBe(23)
    expect(lost?.witnesses).toHaveLength(5)
    expect(lost?.witnesses[0]).toMatchObject({
      places: [expect.stringMatching(/^events:\d+$/)],
      atSeconds: expect.any(Number),
    })
  })
})

describe('rule A1, lost acknowledgement', () => {
  it('rule A1 finds an acknowledged message missing from the log', () => {
    const events = [...smallChat().finish()]
    const invoke = find(events, 'send', ({ type }) => type === 'invoke')
    expect(invoke.type).toBe('invoke')
    events.push({ ...invoke, id: 999, process: 'other', clientId: 'lost', hash: 7 })
    events.push({ t: invoke.t + 9_000_000_000, op: 'send', type: 'ok', id: 999, seq: 99 })
    expect(brokenRules(events)).toEqual(['A1'])
  })

  it('rule A1 finds an acknowledged message missing from the final pages', () => {
    const events = smallChat().finish()
    const page = events.find((event) => 'type' in event && event.type === 'ok' && event.op === 'page') as OkEvent
    const items = page.page!.items.filter((_, index) => index !== 1)
    expect(brokenRules(replace(events, page, { ...page, page: { ...page.page!, items } }))).toEqual(['A1'])
  })

  it('rule A1 ignores messages that were never acknowledged', () => {
    const chat = smallChat()
    const events = chat.finish()
    const last = find(events, 'send', (event) => event.type === 'invoke')
    const lost: HistoryEvent[] = [
      { ...last, id: 999, process: 'other', clientId: 'gone', hash: 7 },
      { t: last.t + 1, op: 'send', type: 'info', id: 999, code: 'timeout' },
    ]
    expect(brokenRules([...events, ...lost])).toEqual([])
  })
})

describe('rule A2, aborted read', () => {
  it('rule A2 finds a delivery of a refused message', () => {
    const chat = smallChat()
    const clientId = chat.refuse('elsewhere', 'raw', 'ada')
    const events = chat.finish()
    const sample = deliveriesTo(events, 'bob-1')[0]!
    const hash = hashText(`text ${clientId}`)
    const seen: DeliverEvent = {
      ...sample,
      conversation: 'elsewhere',
      seq: 1,
      target: 1,
      version: 1,
      kind: 'c',
      actor: 'ada',
      hash,
    }
    expect(judge(events).get('A2')?.verdict).toBe('kept')
    expect(brokenRules([...events, { ...seen, t: chat.t }])).toEqual(['A2'])
  })

  it('rule A2 accepts a message that a later attempt stored', () => {
    const chat = smallChat()
    chat.send('group', 'ada-2', 'ada', 2)
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('rule A3, phantom or corrupt', () => {
  const corrupt = (patch: Partial<DeliverEvent>) => {
    const events = smallChat().finish()
    const sample = deliveriesTo(events, 'bob-1').find(({ kind }) => kind === 'c')!
    return [
      ...events,
      { ...sample, t: sample.t + 1, conversation: 'elsewhere', seq: 1, target: 1, version: 1, ...patch },
    ]
  }

  it('rule A3 finds a text that no client sent', () => {
    expect(brokenRules(corrupt({ hash: 12345 }))).toEqual(['A3'])
  })

  it('rule A3 finds a text of another conversation', () => {
    expect(brokenRules(corrupt({}))).toEqual(['A3'])
  })

  it('rule A3 finds an empty text of a message that was not deleted', () => {
    expect(brokenRules(corrupt({ hash: 0 }))).toEqual(['A3'])
  })

  it('rule A3 finds a message with the wrong sender', () => {
    const events = smallChat().finish()
    const rows = events.filter((event) => event.op === 'row' && event.kind === 'c')
    const row = rows[0] as Extract<HistoryEvent, { op: 'row' }>
    // The log's row has the wrong sender (A3), deliveries name another sender than the row (A6),
    // and the acknowledged message of the true sender has no row (A1).
    expect(brokenRules(replace(events, row, { ...row, actor: 'bob' }))).toEqual(['A1', 'A3', 'A6'])
  })

  it('rule A3 accepts edits and deletions', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.edit('group', 'ada', seq)
    chat.delete('group', 'ada', seq)
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('rule A4, duplicate row', () => {
  const twin = (patch: { readonly clientId?: string }) => {
    const chat = smallChat()
    const events = chat.finish()
    const row = rowOf(events, 5)
    // Put the copied rows into a conversation that nothing but the final log contains.
    const first = {
      ...row,
      conversation: 'elsewhere',
      seq: 1,
      target: 1,
      version: 1,
      kind: 'j' as const,
      member: 'ada',
    }
    const copies = [2, 3].map((seq) => ({
      ...row,
      ...patch,
      conversation: 'elsewhere',
      seq,
      target: seq,
      version: seq,
    }))
    const invoke = find(events, 'send', (event) => event.type === 'invoke')
    const written = { ...invoke, id: 998, conversation: 'elsewhere', clientId: 'x', hash: row.hash } as HistoryEvent
    return [
      ...events.filter((event) => event !== invoke),
      written,
      first,
      ...copies.map((copy, index) => ({ ...copy, ...(patch.clientId !== undefined && { clientId: `x${index}` }) })),
    ]
  }

  it('rule A4 finds two rows with the same identity', () => {
    expect(judge(twin({})).get('A4')).toMatchObject({ verdict: 'broken', violations: 1 })
  })

  it('rule A4 finds two rows with one text and different identities', () => {
    expect(judge(twin({ clientId: 'new' })).get('A4')).toMatchObject({ verdict: 'broken', violations: 1 })
  })

  it('rule A4 finds two acknowledged sequence numbers for one message', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada', 2)
    const events = chat.finish()
    const info = events.find((event) => 'type' in event && event.type === 'info') as NotOkEvent
    const other = { t: info.t, op: 'send', type: 'ok', id: info.id, seq: 5 } as const
    expect(brokenRules(replace(events, info, other))).toEqual(['A4', 'A6'])
  })
})

describe('rule A5, duplicate delivery', () => {
  it('rule A5 finds a change that one client received twice', () => {
    const events = smallChat().finish()
    const seen = deliveriesTo(events, 'bob-1').at(-1)!
    expect(brokenRules(insertAfter(events, seen, { ...seen, t: seen.t + 1 }))).toEqual(['A5'])
  })

  it('rule A5 finds a repeat of a much earlier change', () => {
    const events = smallChat().finish()
    const deliveries = deliveriesTo(events, 'bob-1')
    const last = deliveries.at(-1)!
    expect(brokenRules(insertAfter(events, last, { ...deliveries[0]!, t: last.t + 1 }))).toEqual(['A5'])
  })

  it('rule A5 accepts in-order repeats after a crash that lost writes', () => {
    const chat = smallChat()
    const events = [...chat.events]
    const deliveries = deliveriesTo(events, 'bob-1')
    const last = deliveries.at(-1)!
    const again = deliveries.slice(-2).map((delivery) => ({ ...delivery, t: last.t + 3 }))
    const died: HistoryEvent[] = [
      { t: last.t + 1, op: 'stream', stream: 'bob-1', state: 'detached', isClean: false },
      { t: last.t + 2, op: 'stream', stream: 'bob-1', state: 'attached' },
    ]
    const all = [...events, ...died, ...again, ...chat.finish().slice(events.length)]
    expect(brokenRules(all)).toEqual([])
    const clean = all.map((event) => (event === died[0] ? { ...died[0], isClean: true } : event)) as HistoryEvent[]
    expect(brokenRules(clean)).toEqual(['A5'])
  })
})

describe('rule A5, duplicate delivery after a removal', () => {
  it('rule A5 accepts a repeated removal after a crash that lost writes', () => {
    const chat = smallChat()
    chat.remove('group', 'ada', 'bob')
    const removal = deliveriesTo(chat.events, 'bob-1').at(-1)!
    const again = (isClean: boolean): HistoryEvent[] => [
      { t: chat.t, op: 'stream', stream: 'bob-1', state: 'detached', isClean },
      { t: chat.t, op: 'stream', stream: 'bob-1', state: 'attached' },
      { ...removal, t: chat.t },
    ]
    const events = chat.finish()
    expect(removal.kind).toBe('l')
    expect(brokenRules([...events, ...again(false)])).toEqual([])
    expect(brokenRules([...events, ...again(true)])).toEqual(['A5'])
  })
})

describe('rule A6, inconsistent offset', () => {
  it('rule A6 finds two different changes with the same sequence number', () => {
    const events = smallChat().finish()
    const seen = deliveriesTo(events, 'bob-1').find(({ kind }) => kind === 'j')!
    expect(brokenRules(replace(events, seen, { ...seen, actor: 'eve' }))).toEqual(['A6'])
  })

  it('rule A6 finds two texts for one version of a message', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.edit('group', 'ada', seq)
    const events = chat.finish()
    const edits = deliveriesTo(events, 'bob-1').filter(({ kind }) => kind === 'e')
    const original = deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!
    expect(brokenRules(replace(events, edits[0]!, { ...edits[0]!, hash: original.hash }))).toEqual(['A6'])
  })

  it('rule A6 finds an acknowledged sequence number that differs from the row', () => {
    const events = smallChat().finish()
    const ok = events.find((event) => 'type' in event && event.type === 'ok' && event.op === 'send') as OkEvent
    expect(brokenRules(replace(events, ok, { ...ok, seq: 4 }))).toEqual(['A6'])
  })
})

describe('rule A7, hole', () => {
  it('rule A7 finds a missing row and a wrong counter', () => {
    const events = smallChat().finish()
    // The change with sequence number 1 is not a message, so no acknowledgement names it and rule
    // A1 is not broken.
    expect(brokenRules(without(events, rowOf(events, 1)))).toEqual(['A7'])
    const counter = find(events, 'conversation')
    expect(judge(replace(events, counter, { ...counter, seq: 99 })).get('A7')?.violations).toBe(1)
  })

  it('rule A7 finds changes that a client missed between two connections', () => {
    const chat = smallChat()
    const events = [...chat.finish()]
    const seen = deliveriesTo(events, 'bob-1')
    const observe = (observer: string): HistoryEvent => ({
      t: chat.t,
      op: 'observer',
      observer,
      stream: 'raw',
      kind: 'sse',
      process: 'raw',
      user: 'bob',
      session: 's',
    })
    const on = (observer: string, from: number, to: number) =>
      seen.filter(({ seq }) => seq >= from && seq <= to).map((delivery) => ({ ...delivery, observer, t: chat.t }))
    const resumed = (from: number) => [
      ...events,
      observe('raw/1'),
      ...on('raw/1', 2, 4),
      observe('raw/2'),
      ...on('raw/2', from, 7),
    ]
    // A connection that resumes may receive earlier changes again.
    expect(brokenRules(resumed(3))).toEqual([])
    expect(brokenRules(resumed(6))).toEqual(['A7'])
    const rebase: HistoryEvent = {
      t: chat.t,
      op: 'rebase',
      observer: 'raw/2',
      conversation: 'group',
      seq: 5,
      why: 'limited',
    }
    const limited = [...events, observe('raw/1'), ...on('raw/1', 2, 4), observe('raw/2'), rebase, ...on('raw/2', 6, 7)]
    expect(brokenRules(limited)).toEqual([])
  })
})

describe('rule A8, non-monotonic or skipped', () => {
  it('rule A8 finds a skipped change', () => {
    const chat = smallChat()
    for (let index = 0; index < 3; index++) chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const seen = deliveriesTo(events, 'bob-1').at(-2)!
    // The skipped message never arrived, so rule A13 is broken as well.
    expect(brokenRules(without(events, seen))).toEqual(['A8', 'A13'])
  })

  it('rule A8 finds a skipped change that arrives later', () => {
    const events = smallChat().finish()
    const [one, two] = deliveriesTo(events, 'bob-1').slice(-3)
    const swapped = replace(replace(events, one!, { ...two!, t: one!.t }), two!, { ...one!, t: two!.t })
    expect(brokenRules(swapped)).toEqual(['A8'])
    expect(judge(swapped).get('A8')?.violations).toBe(2)
  })

  it('rule A8 allows a jump that the server announced, even slightly later', () => {
    const events = smallChat().finish()
    const [one, two] = deliveriesTo(events, 'bob-1').slice(-3)
    const rebase: HistoryEvent = {
      t: two!.t,
      op: 'rebase',
      observer: 'bob-1',
      conversation: 'group',
      seq: one!.seq,
      why: 'limited',
    }
    const before = replace(without(events, one), two!, rebase, two!)
    const after = replace(without(events, one), two!, two!, rebase)
    expect(brokenRules(before)).toEqual([])
    expect(brokenRules(after)).toEqual([])
  })

  it('rule A8 allows skipped changes before a removal or a rejoin', () => {
    const chat = smallChat()
    chat.detach('bob-1')
    chat.send('group', 'ada-1', 'ada')
    const seq = chat.remove('group', 'ada', 'bob')
    const removal: HistoryEvent = {
      t: chat.t,
      op: 'deliver',
      observer: 'bob-1',
      epoch: 'epoch-1',
      conversation: 'group',
      seq,
      kind: 'l',
      actor: 'ada',
      target: seq,
      version: seq,
      hash: hashText('bob'),
    }
    chat.events.push(removal)
    chat.send('group', 'ada-1', 'ada')
    chat.add('group', 'ada', 'bob')
    chat.attach('bob-1', 'bob')
    chat.send('group', 'ada-1', 'ada')
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('rule A9, sender order', () => {
  it('rule A9 finds two messages of one outbox in the wrong order', () => {
    const chat = smallChat()
    const first = chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const invokes = events.filter(
      (event): event is Extract<HistoryEvent, { op: 'send'; type: 'invoke' }> =>
        event.op === 'send' && event.type === 'invoke' && event.process === 'ada-1',
    )
    // Move the start of the later message to the front, long before its acknowledgement.
    const early = { ...invokes.at(-1)!, t: invokes[0]!.t - 1 }
    const moved = without(events, invokes.at(-1))
    expect(brokenRules([early, ...moved])).toEqual(['A9'])
    expect(first).toBeGreaterThan(0)
  })

  it('rule A9 ignores the order of retries without an outbox', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada', 2)
    chat.send('group', 'raw', 'ada', 2)
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('rule A10, real-time order', () => {
  it('rule A10 finds a later message with a lower sequence number', () => {
    const events = smallChat().finish()
    const invokes = events.filter((event) => event.op === 'send' && event.type === 'invoke')
    const [first] = invokes
    const acknowledgements = events.filter((event) => event.op === 'send' && event.type === 'ok')
    const lateT = acknowledgements.at(-1)!.t + 1_000
    const ok = acknowledgements[0]!
    const late = [...without(events, first, ok), { ...first!, t: lateT }, { ...ok, t: lateT + 1_000 }] as HistoryEvent[]
    // The first message is now sent after all others, but still has the lowest sequence number. No
    // other rule compares the time of sending with the times of the deliveries.
    expect(brokenRules(late)).toEqual(['A10'])
  })
})

describe('rule A11, stale read of own message', () => {
  const read = (patch: { readonly top?: number; readonly drop?: boolean }) => {
    const chat = smallChat()
    chat.page('group', 'reader', 'ada')
    const events = chat.finish()
    const page = events.find((event) => 'type' in event && event.type === 'ok' && event.op === 'page') as OkEvent
    const items = patch.drop === true ? page.page!.items.filter(({ sender }) => sender !== 'ada') : page.page!.items
    return replace(events, page, {
      ...page,
      page: { ...page.page!, ...(patch.top !== undefined && { top: patch.top }), items },
    })
  }

  it('rule A11 finds a page without the reader’s own acknowledged message', () => {
    expect(brokenRules(read({ drop: true }))).toEqual(['A11'])
  })

  it('rule A11 finds a page that shows an older state', () => {
    expect(brokenRules(read({ top: 4 }))).toEqual(['A11'])
  })

  it('rule A11 accepts a page with the reader’s own acknowledged message', () => {
    expect(judge(read({})).get('A11')).toMatchObject({ verdict: 'kept' })
  })
})

describe('rule A12, leak', () => {
  function removed(): { chat: ModelChat; leaked: DeliverEvent } {
    const chat = smallChat()
    chat.remove('group', 'ada', 'bob')
    const seq = chat.send('group', 'ada-1', 'ada')
    const seen = chat.events.find(
      (event): event is DeliverEvent => event.op === 'deliver' && event.observer === 'ada-1' && event.seq === seq,
    )
    return { chat, leaked: { ...seen!, observer: 'bob-1' } }
  }

  it('rule A12 finds a message delivered to a removed member', () => {
    const { chat, leaked } = removed()
    chat.events.push(leaked)
    expect(brokenRules(chat.finish())).toEqual(['A12'])
  })

  it('rule A12 finds a removed member that received the later edit of an old message', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.remove('group', 'ada', 'bob')
    chat.edit('group', 'ada', seq)
    const shown = deliveriesTo(chat.events, 'ada-1').find(({ kind }) => kind === 'e')!
    const events = chat.finish()
    const resumed: HistoryEvent[] = [
      {
        t: chat.t,
        op: 'observer',
        observer: 'raw/1',
        stream: 'raw',
        kind: 'sse',
        process: 'raw',
        user: 'bob',
        session: 's',
      },
      {
        ...deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!,
        observer: 'raw/1',
        version: shown.version,
        hash: shown.hash,
        t: chat.t,
      },
    ]
    expect(brokenRules([...events, ...resumed])).toEqual(['A12'])
  })

  it('rule A12 allows everything once a rejoin was requested', () => {
    const { chat, leaked } = removed()
    chat.add('group', 'ada', 'bob')
    chat.send('group', 'ada-1', 'ada')
    const { events } = chat
    events.push({ ...leaked, observer: 'raw/1', t: chat.t })
    events.unshift({
      t: 0,
      op: 'observer',
      observer: 'raw/1',
      stream: 'raw',
      kind: 'sse',
      process: 'raw',
      user: 'bob',
      session: 's',
    })
    expect(brokenRules(chat.finish())).toEqual([])
  })

  it('rule A12 finds a leak even if responses about members lack sequence numbers', () => {
    const chat = smallChat()
    chat.remove('group', 'ada', 'bob')
    chat.send('group', 'ada-1', 'ada')
    chat.add('group', 'ada', 'bob')
    chat.send('group', 'bob-1', 'bob')
    chat.remove('group', 'ada', 'bob')
    const seq = chat.send('group', 'ada-1', 'ada')
    const seen = chat.events.find(
      (event): event is DeliverEvent => event.op === 'deliver' && event.observer === 'ada-1' && event.seq === seq,
    )!
    const leakT = chat.t
    chat.send('group', 'ada-1', 'ada')
    chat.add('group', 'ada', 'bob')
    const silent = chat.finish().map((event) => {
      if (!('type' in event) || event.type !== 'ok' || !event.op.startsWith('member-')) return event
      const { seq: _named, ...rest } = event
      return rest
    })
    expect(brokenRules(silent)).toEqual([])
    const leaked = silent.toSpliced(
      silent.findIndex((event) => event.op === 'deliver' && event.observer === 'ada-1' && event.seq === seq) + 1,
      0,
      { ...seen, observer: 'bob-1', t: leakT },
    )
    // Other rules may be broken, too: in the model, the second rejoin of user bob skips the leaked
    // change.
    expect(brokenRules(leaked)).toContain('A12')
  })

  it('rule A12 finds any page that a removed member receives', () => {
    const { chat } = removed()
    chat.page('group', 'bob-1', 'bob')
    expect(brokenRules(chat.finish())).toEqual(['A12'])
    const { chat: other } = removed()
    const before = other.events.length
    other.page('group', 'bob-1', 'bob')
    const old = other.events
      .slice(before)
      .map((event) =>
        'type' in event && event.type === 'ok' && event.page !== undefined
          ? { ...event, page: { ...event.page, items: event.page.items.slice(0, 1), hasAfter: true } }
          : event,
      )
    other.events.splice(before, old.length, ...old)
    expect(brokenRules(other.finish())).toEqual(['A12'])
  })

  it('rule A12 finds a live value long after the reader’s removal', () => {
    const { chat } = removed()
    const live = { op: 'live', observer: 'bob-1', conversation: 'group', user: 'ada', key: 'typing' } as const
    chat.events.push({ ...live, t: chat.t })
    expect(
      brokenRules([
        ...chat.events,
        ...removed()
          .chat.finish()
          .slice(chat.events.length - 1),
      ]),
    ).toEqual([])
    chat.pass(5_000)
    chat.events.push({ ...live, t: chat.t })
    expect(brokenRules(chat.finish())).toEqual(['A12'])
  })

  it('rule A12 finds a delivery to a user who never was a member', () => {
    const chat = smallChat()
    chat.attach('eve-1', 'eve')
    const seen = deliveriesTo(chat.events, 'ada-1').at(-1)!
    chat.events.push({ ...seen, observer: 'eve-1', t: chat.t })
    expect(brokenRules(chat.finish())).toEqual(['A12'])
  })

  it('rule A12 finds a stored message from a removed member', () => {
    const { chat } = removed()
    chat.send('group', 'bob-2', 'bob')
    expect(brokenRules(chat.finish())).toEqual(['A12'])
  })

  function revoked(lateMs: number, isRedisAway: boolean): readonly HistoryEvent[] {
    const chat = smallChat()
    if (isRedisAway) {
      chat.events.push({
        t: chat.t,
        op: 'fault',
        id: 9,
        kind: 'F4',
        name: 'redis',
        phase: 'start',
        targets: [],
        affects: ['redis'],
        boundMs: 2_000,
      })
    }
    chat.revoke('bob')
    chat.pass(lateMs)
    chat.detach('bob-1')
    if (isRedisAway) {
      chat.events.push({
        t: chat.t,
        op: 'fault',
        id: 9,
        kind: 'F4',
        name: 'redis',
        phase: 'heal',
        targets: [],
        affects: ['redis'],
        boundMs: 2_000,
      })
    }
    return chat.finish()
  }

  it('rule A12 finds a connection open long after its session was revoked', () => {
    expect(brokenRules(revoked(500, false))).toEqual([])
    expect(brokenRules(revoked(5_000, false))).toEqual(['A12'])
    expect(brokenRules(revoked(5_000, true))).toEqual([])
  })

  it('rule A12 finds a delivery to a revoked session', () => {
    const chat = smallChat()
    chat.revoke('bob')
    chat.pass(5_000)
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.detach('bob-1')
    expect(judge(chat.finish()).get('A12')?.witnesses[0]?.text).toContain(`received seq ${seq}`)
  })
})

describe('rule A13, convergence', () => {
  it('rule A13 finds late messages and messages that never arrive', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const seen = deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!
    const late = replace(events, seen, { ...seen, t: seen.t + 4_000_000 })
    expect(brokenRules(late)).toEqual(['A13'])
    const never = judge(without(events, seen)).get('A13')
    expect(never?.verdict).toBe('broken')
    expect(never?.witnesses.map(({ text }) => text)).toEqual([
      expect.stringContaining('never, acknowledged at'),
      expect.stringContaining('the last of group'),
    ])
  })

  it('rule A13 measures the recovery after a fault and finds a slow one', () => {
    const chat = smallChat()
    const start = {
      t: chat.t,
      op: 'fault',
      id: 1,
      kind: 'F4',
      name: 'redis-kill',
      phase: 'start',
      targets: ['redis'],
      affects: ['redis'],
      boundMs: 2_000,
    } as const
    chat.events.push(start)
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.pass(1_000)
    const healT = chat.t
    chat.events.push({ ...start, t: healT, phase: 'heal' })
    chat.pass(10_000)
    const events = chat.finish()
    const seen = deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!
    const after = (ms: number) => replace(events, seen, { ...seen, t: healT + ms * 1_000 })
    const soon = checkHistory(toHistory(after(1_500)))
    expect(soon.isKept).toBe(true)
    expect(soon.latencies.heals['F4']).toMatchObject({ n: 3, maxMs: 1_500 })
    const late = judge(after(4_000)).get('A13')
    expect(late?.witnesses[0]?.text).toMatch(/bob-1 got seq 8 of group 4000 ms later .* after F4 redis-kill healed/)
  })

  it('rule A13 excuses late messages while the test process was paused', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const seen = deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!
    const late = replace(events, seen, { ...seen, t: seen.t + 4_000_000 })
    const stall: HistoryEvent = { t: seen.t + 4_000_000, op: 'stall', lateMs: 3_900 }
    expect(brokenRules([...late, stall])).toEqual([])
    // A pause of the test process does not excuse a message that never arrived.
    expect(brokenRules([...without(events, seen), stall])).toEqual(['A13'])
  })

  it('rule A13 ignores stopped clients and messages loaded as a page', () => {
    const chat = smallChat()
    chat.detach('bob-1')
    chat.send('group', 'ada-1', 'ada')
    chat.attach('bob-2', 'bob')
    chat.finish()
    // A new client loads these changes as a page, so remove the callbacks that the model recorded
    // for them.
    const events = chat.events.filter((event) => event.op !== 'deliver' || event.observer !== 'bob-2')
    expect(brokenRules(events)).toEqual([])
  })
})

describe('rule A14, false refusal', () => {
  it('rule A14 finds a refused message that was stored', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada')
    const events = chat.finish()
    const ok = events.filter((event) => event.op === 'send' && event.type === 'ok').at(-1)!
    const refused = { t: ok.t, op: 'send', type: 'fail', id: (ok as { id: number }).id, code: 'unavailable' } as const
    // The message was also delivered, so rule A2 is broken as well.
    expect(brokenRules(replace(events, ok, refused))).toEqual(['A2', 'A14'])
  })

  it('rule A14 finds a refused message that its retry calls a duplicate', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada', 2)
    const events = chat.finish()
    const info = events.find((event) => 'type' in event && event.type === 'info') as NotOkEvent
    const ok = events.filter((event) => event.op === 'send' && event.type === 'ok').at(-1) as OkEvent
    const refused = replace(events, info, { ...info, type: 'fail', code: 'unavailable' })
    expect(judge(refused).get('A14')).toMatchObject({ verdict: 'kept', judged: 1 })
    expect(brokenRules(replace(refused, ok, { ...ok, isDuplicate: true }))).toEqual(['A14'])
    // After an attempt without a response, the retry may be acknowledged as a duplicate.
    expect(brokenRules(replace(events, ok, { ...ok, isDuplicate: true }))).toEqual([])
  })
})

describe('rule A14, false refusal by the SDK', () => {
  it('rule A14 finds an outbox that gives up for a temporary reason', () => {
    for (const code of ['unavailable', 'unknown', 'rate-limited']) {
      const chat = smallChat()
      chat.refuse('group', 'ada-1', 'ada', code)
      expect(brokenRules(chat.finish())).toEqual(['A14'])
    }
    const chat = smallChat()
    chat.refuse('group', 'ada-1', 'ada', 'not-found')
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('rule A15, presence', () => {
  function watched(status: 'online' | 'offline' | 'unknown', isHere: boolean): ReadonlyMap<RuleId, RuleResult> {
    const chat = smallChat()
    if (!isHere) chat.detach('bob-1')
    chat.tell('ada-1', 'bob', status)
    chat.pass(40_000)
    chat.tell('ada-1', 'bob', isHere ? 'online' : 'offline')
    return judge(chat.finish())
  }

  it('rule A15 finds a user shown as online long after disconnecting', () => {
    expect(watched('online', false).get('A15')?.verdict).toBe('broken')
    expect(watched('offline', false).get('A15')?.verdict).toBe('kept')
  })

  it('rule A15 finds a connected user shown as offline', () => {
    expect(watched('offline', true).get('A15')?.verdict).toBe('broken')
    expect(watched('online', true).get('A15')?.verdict).toBe('kept')
  })

  it('rule A15 accepts unknown presence and wrong presence during a fault', () => {
    expect(watched('unknown', false).get('A15')?.verdict).not.toBe('broken')
    const chat = smallChat()
    chat.detach('bob-1')
    chat.tell('ada-1', 'bob', 'online')
    for (let index = 0; index < 5; index++) chat.fault('F4')
    expect(judge(chat.finish()).get('A15')?.verdict).toBe('not judged')
  })
})

describe('rule A16, resources', () => {
  const measure = (rssMegabytes: number, fds: number): readonly HistoryEvent[] => {
    const chat = smallChat()
    const part = { op: 'resources', part: 'server 1', pid: 1 } as const
    chat.events.push({ ...part, t: chat.t, phase: 'baseline', rssBytes: 100 * 1024 * 1024, fds: 50 })
    chat.finish()
    chat.events.push({ ...part, t: chat.t, pid: 2, phase: 'quiet', rssBytes: rssMegabytes * 1024 * 1024, fds })
    return chat.events
  }

  it('rule A16 finds memory and open files that were not released', () => {
    expect(judge(measure(120, 60)).get('A16')?.verdict).toBe('kept')
    expect(brokenRules(measure(400, 60))).toEqual(['A16'])
    expect(brokenRules(measure(120, 500))).toEqual(['A16'])
  })

  it('rule A16 finds Redis keys that never expire', () => {
    const chat = smallChat()
    const keys = { t: chat.t, op: 'redis-keys', redis: 'primary', scanned: 10, samples: ['chorus:x'] } as const
    chat.events.push({ ...keys, withoutExpiry: 0 })
    const events = chat.finish()
    expect(judge(events).get('A16')?.verdict).toBe('kept')
    expect(brokenRules([...events, { ...keys, withoutExpiry: 1 }])).toEqual(['A16'])
  })
})

describe('rule A17, crash', () => {
  it('rule A17 finds crashes and uncaught errors of servers', () => {
    const events = smallChat().finish()
    const server = { t: 5_000_000_000, op: 'server', server: 's1' } as const
    expect(brokenRules([...events, { ...server, what: 'expected-exit' }])).toEqual([])
    for (const what of ['unhandled-rejection', 'uncaught-exception', 'unexpected-exit'] as const) {
      expect(brokenRules([...events, { ...server, what, text: 'oh' }])).toEqual(['A17'])
    }
  })
})
