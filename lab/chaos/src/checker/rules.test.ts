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
  it('judges nothing in an empty history', () => {
    for (const result of judge([]).values()) {
      expect(result, result.id).toMatchObject({ verdict: 'not judged', judged: 0, violations: 0 })
      expect(result.note, result.id).toBeTruthy()
    }
  })

  it('keeps every rule for a correct chat and counts its judgements', () => {
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

  it('lists a few witnesses with places and counts the rest', () => {
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

describe('A1 lost acknowledgement', () => {
  it('finds an acknowledged message missing from the log', () => {
    const events = [...smallChat().finish()]
    const invoke = find(events, 'send', ({ type }) => type === 'invoke')
    expect(invoke.type).toBe('invoke')
    events.push({ ...invoke, id: 999, process: 'other', clientId: 'lost', hash: 7 })
    events.push({ t: invoke.t + 9_000_000_000, op: 'send', type: 'ok', id: 999, seq: 99 })
    expect(brokenRules(events)).toEqual(['A1'])
  })

  it('finds an acknowledged message missing from a final read', () => {
    const events = smallChat().finish()
    const page = events.find((event) => 'type' in event && event.type === 'ok' && event.op === 'page') as OkEvent
    const items = page.page!.items.filter((_, index) => index !== 1)
    expect(brokenRules(replace(events, page, { ...page, page: { ...page.page!, items } }))).toEqual(['A1'])
  })

  it('ignores messages that were never acknowledged', () => {
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

describe('A2 aborted read', () => {
  it('finds a delivery of a refused message', () => {
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

  it('accepts a message that a later attempt stored', () => {
    const chat = smallChat()
    chat.send('group', 'ada-2', 'ada', 2)
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('A3 phantom or corrupt', () => {
  const corrupt = (patch: Partial<DeliverEvent>) => {
    const events = smallChat().finish()
    const sample = deliveriesTo(events, 'bob-1').find(({ kind }) => kind === 'c')!
    return [
      ...events,
      { ...sample, t: sample.t + 1, conversation: 'elsewhere', seq: 1, target: 1, version: 1, ...patch },
    ]
  }

  it('finds a text that no client sent', () => {
    expect(brokenRules(corrupt({ hash: 12345 }))).toEqual(['A3'])
  })

  it('finds a text from another conversation', () => {
    expect(brokenRules(corrupt({}))).toEqual(['A3'])
  })

  it('finds an emptied text without a deletion', () => {
    expect(brokenRules(corrupt({ hash: 0 }))).toEqual(['A3'])
  })

  it('finds a wrong sender', () => {
    const events = smallChat().finish()
    const rows = events.filter((event) => event.op === 'row' && event.kind === 'c')
    const row = rows[0] as Extract<HistoryEvent, { op: 'row' }>
    // The log's row has the wrong sender, deliveries disagree with it, and the acknowledged message
    // has no row.
    expect(brokenRules(replace(events, row, { ...row, actor: 'bob' }))).toEqual(['A1', 'A3', 'A6'])
  })

  it('accepts edits and deletions', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.edit('group', 'ada', seq)
    chat.delete('group', 'ada', seq)
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('A4 duplicate row', () => {
  const twin = (patch: { readonly clientId?: string }) => {
    const chat = smallChat()
    const events = chat.finish()
    const row = rowOf(events, 5)
    // Put the rows into a separate log that only the dump contains.
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

  it('finds two rows with the same identity', () => {
    expect(judge(twin({})).get('A4')).toMatchObject({ verdict: 'broken', violations: 1 })
  })

  it('finds two rows with the same text and different identities', () => {
    expect(judge(twin({ clientId: 'new' })).get('A4')).toMatchObject({ verdict: 'broken', violations: 1 })
  })

  it('finds two acknowledged seqs for one message', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada', 2)
    const events = chat.finish()
    const info = events.find((event) => 'type' in event && event.type === 'info') as NotOkEvent
    const other = { t: info.t, op: 'send', type: 'ok', id: info.id, seq: 5 } as const
    expect(brokenRules(replace(events, info, other))).toEqual(['A4', 'A6'])
  })
})

describe('A5 duplicate delivery', () => {
  it('finds a repeated seq in one observer', () => {
    const events = smallChat().finish()
    const seen = deliveriesTo(events, 'bob-1').at(-1)!
    expect(brokenRules(insertAfter(events, seen, { ...seen, t: seen.t + 1 }))).toEqual(['A5'])
  })

  it('finds a repeat of a much earlier seq', () => {
    const events = smallChat().finish()
    const deliveries = deliveriesTo(events, 'bob-1')
    const last = deliveries.at(-1)!
    expect(brokenRules(insertAfter(events, last, { ...deliveries[0]!, t: last.t + 1 }))).toEqual(['A5'])
  })

  it('accepts in-order repeats to a store that was not written', () => {
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

describe('A5 duplicate delivery after a removal', () => {
  it('accepts a repeated removal to a store that was not written', () => {
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

describe('A6 inconsistent offset', () => {
  it('finds two observers that disagree about a seq', () => {
    const events = smallChat().finish()
    const seen = deliveriesTo(events, 'bob-1').find(({ kind }) => kind === 'j')!
    expect(brokenRules(replace(events, seen, { ...seen, actor: 'eve' }))).toEqual(['A6'])
  })

  it('finds two texts for one version', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.edit('group', 'ada', seq)
    const events = chat.finish()
    const edits = deliveriesTo(events, 'bob-1').filter(({ kind }) => kind === 'e')
    const original = deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!
    expect(brokenRules(replace(events, edits[0]!, { ...edits[0]!, hash: original.hash }))).toEqual(['A6'])
  })

  it('finds an acknowledged seq that differs from the row', () => {
    const events = smallChat().finish()
    const ok = events.find((event) => 'type' in event && event.type === 'ok' && event.op === 'send') as OkEvent
    expect(brokenRules(replace(events, ok, { ...ok, seq: 4 }))).toEqual(['A6'])
  })
})

describe('A7 hole', () => {
  it('finds a missing seq in the log and a wrong counter', () => {
    const events = smallChat().finish()
    // Seq 1 is not a message, so no acknowledgement refers to it.
    expect(brokenRules(without(events, rowOf(events, 1)))).toEqual(['A7'])
    const counter = find(events, 'conversation')
    expect(judge(replace(events, counter, { ...counter, seq: 99 })).get('A7')?.violations).toBe(1)
  })

  it('finds changes that a raw client missed between two connections', () => {
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
    // A resumed connection may repeat changes.
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

describe('A8 non-monotonic or skipped', () => {
  it('finds a jump', () => {
    const chat = smallChat()
    for (let index = 0; index < 3; index++) chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const seen = deliveriesTo(events, 'bob-1').at(-2)!
    // The skipped message never arrived, so A13 is broken as well.
    expect(brokenRules(without(events, seen))).toEqual(['A8', 'A13'])
  })

  it('finds a step back to a skipped change', () => {
    const events = smallChat().finish()
    const [one, two] = deliveriesTo(events, 'bob-1').slice(-3)
    const swapped = replace(replace(events, one!, { ...two!, t: one!.t }), two!, { ...one!, t: two!.t })
    expect(brokenRules(swapped)).toEqual(['A8'])
    expect(judge(swapped).get('A8')?.violations).toBe(2)
  })

  it('allows a jump explained by a rebase, even one recorded just after', () => {
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

  it('allows jumps to a removal and over changes before a rejoin', () => {
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

describe('A9 sender order', () => {
  it('finds two messages of one outbox in the wrong order', () => {
    const chat = smallChat()
    const first = chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const invokes = events.filter(
      (event): event is Extract<HistoryEvent, { op: 'send'; type: 'invoke' }> =>
        event.op === 'send' && event.type === 'invoke' && event.process === 'ada-1',
    )
    // Move the later invoke to the front, long before its acknowledgement.
    const early = { ...invokes.at(-1)!, t: invokes[0]!.t - 1 }
    const moved = without(events, invokes.at(-1))
    expect(brokenRules([early, ...moved])).toEqual(['A9'])
    expect(first).toBeGreaterThan(0)
  })

  it('ignores the order of retried attempts by a raw client', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada', 2)
    chat.send('group', 'raw', 'ada', 2)
    expect(brokenRules(chat.finish())).toEqual([])
  })
})

describe('A10 real-time order', () => {
  it('finds a message begun after another’s acknowledgement with a lower seq', () => {
    const events = smallChat().finish()
    const invokes = events.filter((event) => event.op === 'send' && event.type === 'invoke')
    const [first] = invokes
    const acknowledgements = events.filter((event) => event.op === 'send' && event.type === 'ok')
    const lateT = acknowledgements.at(-1)!.t + 1_000
    const ok = acknowledgements[0]!
    const late = [...without(events, first, ok), { ...first!, t: lateT }, { ...ok, t: lateT + 1_000 }] as HistoryEvent[]
    // Its deliveries now precede its invoke. Only the order of the log matters here.
    expect(brokenRules(late)).toEqual(['A10'])
  })
})

describe('A11 stale read of own message', () => {
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

  it('finds a page without the reader’s own acknowledged message', () => {
    expect(brokenRules(read({ drop: true }))).toEqual(['A11'])
  })

  it('finds a page that reflects an older log', () => {
    expect(brokenRules(read({ top: 4 }))).toEqual(['A11'])
  })

  it('accepts a page with the acknowledged message', () => {
    expect(judge(read({})).get('A11')).toMatchObject({ verdict: 'kept' })
  })
})

describe('A12 leak', () => {
  function removed(): { chat: ModelChat; leaked: DeliverEvent } {
    const chat = smallChat()
    chat.remove('group', 'ada', 'bob')
    const seq = chat.send('group', 'ada-1', 'ada')
    const seen = chat.events.find(
      (event): event is DeliverEvent => event.op === 'deliver' && event.observer === 'ada-1' && event.seq === seq,
    )
    return { chat, leaked: { ...seen!, observer: 'bob-1' } }
  }

  it('finds a delivery after the removal', () => {
    const { chat, leaked } = removed()
    chat.events.push(leaked)
    expect(brokenRules(chat.finish())).toEqual(['A12'])
  })

  it('finds a version, newer than the removal, of an older message', () => {
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

  it('allows everything again once a rejoin was requested', () => {
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

  it('determines membership times even when no response names a seq', () => {
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
    // Other rules may be broken too: bob's second rejoin in the model skips the leaked change.
    expect(brokenRules(leaked)).toContain('A12')
  })

  it('finds a page after the removal, whatever it shows', () => {
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

  it('finds a live value after the bound', () => {
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

  it('finds a delivery to a user who never was a member', () => {
    const chat = smallChat()
    chat.attach('eve-1', 'eve')
    const seen = deliveriesTo(chat.events, 'ada-1').at(-1)!
    chat.events.push({ ...seen, observer: 'eve-1', t: chat.t })
    expect(brokenRules(chat.finish())).toEqual(['A12'])
  })

  it('finds a stored message from a removed member', () => {
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

  it("finds a connection open too long after its session's revocation", () => {
    expect(brokenRules(revoked(500, false))).toEqual([])
    expect(brokenRules(revoked(5_000, false))).toEqual(['A12'])
    expect(brokenRules(revoked(5_000, true))).toEqual([])
  })

  it('finds a delivery to a revoked session', () => {
    const chat = smallChat()
    chat.revoke('bob')
    chat.pass(5_000)
    const seq = chat.send('group', 'ada-1', 'ada')
    chat.detach('bob-1')
    expect(judge(chat.finish()).get('A12')?.witnesses[0]?.text).toContain(`received seq ${seq}`)
  })
})

describe('A13 convergence', () => {
  it('finds a message that arrives late and one that never arrives', () => {
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

  it('measures the healing time and finds healing over its bound', () => {
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

  it('excuses lateness during a stall of the driver', () => {
    const chat = smallChat()
    const seq = chat.send('group', 'ada-1', 'ada')
    const events = chat.finish()
    const seen = deliveriesTo(events, 'bob-1').find((delivery) => delivery.seq === seq)!
    const late = replace(events, seen, { ...seen, t: seen.t + 4_000_000 })
    const stall: HistoryEvent = { t: seen.t + 4_000_000, op: 'stall', lateMs: 3_900 }
    expect(brokenRules([...late, stall])).toEqual([])
    // A stall does not excuse a message that never arrived.
    expect(brokenRules([...without(events, seen), stall])).toEqual(['A13'])
  })

  it('ignores detached streams and clients that loaded a page', () => {
    const chat = smallChat()
    chat.detach('bob-1')
    chat.send('group', 'ada-1', 'ada')
    chat.attach('bob-2', 'bob')
    chat.finish()
    // A fresh client would load these changes as a page, so remove the model's callbacks for them.
    const events = chat.events.filter((event) => event.op !== 'deliver' || event.observer !== 'bob-2')
    expect(brokenRules(events)).toEqual([])
  })
})

describe('A14 false refusal', () => {
  it('finds a refused message that was stored', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada')
    const events = chat.finish()
    const ok = events.filter((event) => event.op === 'send' && event.type === 'ok').at(-1)!
    const refused = { t: ok.t, op: 'send', type: 'fail', id: (ok as { id: number }).id, code: 'unavailable' } as const
    // The message was also delivered, so A2 is broken as well.
    expect(brokenRules(replace(events, ok, refused))).toEqual(['A2', 'A14'])
  })

  it('finds a refusal that the retry’s response contradicts', () => {
    const chat = smallChat()
    chat.send('group', 'raw', 'ada', 2)
    const events = chat.finish()
    const info = events.find((event) => 'type' in event && event.type === 'info') as NotOkEvent
    const ok = events.filter((event) => event.op === 'send' && event.type === 'ok').at(-1) as OkEvent
    const refused = replace(events, info, { ...info, type: 'fail', code: 'unavailable' })
    expect(judge(refused).get('A14')).toMatchObject({ verdict: 'kept', judged: 1 })
    expect(brokenRules(replace(refused, ok, { ...ok, isDuplicate: true }))).toEqual(['A14'])
    // After an attempt without a response, a duplicate is expected.
    expect(brokenRules(replace(events, ok, { ...ok, isDuplicate: true }))).toEqual([])
  })
})

describe('A14 false refusal by the SDK', () => {
  it('finds an outbox that fails a message for a temporary reason', () => {
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

describe('A15 presence', () => {
  function watched(status: 'online' | 'offline' | 'unknown', isHere: boolean): ReadonlyMap<RuleId, RuleResult> {
    const chat = smallChat()
    if (!isHere) chat.detach('bob-1')
    chat.tell('ada-1', 'bob', status)
    chat.pass(40_000)
    chat.tell('ada-1', 'bob', isHere ? 'online' : 'offline')
    return judge(chat.finish())
  }

  it('finds a user shown as online long after the last connection', () => {
    expect(watched('online', false).get('A15')?.verdict).toBe('broken')
    expect(watched('offline', false).get('A15')?.verdict).toBe('kept')
  })

  it('finds a connected user shown as offline', () => {
    expect(watched('offline', true).get('A15')?.verdict).toBe('broken')
    expect(watched('online', true).get('A15')?.verdict).toBe('kept')
  })

  it('accepts unknown and anything that a fault explains', () => {
    expect(watched('unknown', false).get('A15')?.verdict).not.toBe('broken')
    const chat = smallChat()
    chat.detach('bob-1')
    chat.tell('ada-1', 'bob', 'online')
    for (let index = 0; index < 5; index++) chat.fault('F4')
    expect(judge(chat.finish()).get('A15')?.verdict).toBe('not judged')
  })
})

describe('A16 resources', () => {
  const measure = (rssMegabytes: number, fds: number): readonly HistoryEvent[] => {
    const chat = smallChat()
    const part = { op: 'resources', part: 'server 1', pid: 1 } as const
    chat.events.push({ ...part, t: chat.t, phase: 'baseline', rssBytes: 100 * 1024 * 1024, fds: 50 })
    chat.finish()
    chat.events.push({ ...part, t: chat.t, pid: 2, phase: 'quiet', rssBytes: rssMegabytes * 1024 * 1024, fds })
    return chat.events
  }

  it('finds memory and files that were not released', () => {
    expect(judge(measure(120, 60)).get('A16')?.verdict).toBe('kept')
    expect(brokenRules(measure(400, 60))).toEqual(['A16'])
    expect(brokenRules(measure(120, 500))).toEqual(['A16'])
  })

  it('finds Redis keys that never expire', () => {
    const chat = smallChat()
    const keys = { t: chat.t, op: 'redis-keys', redis: 'primary', scanned: 10, samples: ['chorus:x'] } as const
    chat.events.push({ ...keys, withoutExpiry: 0 })
    const events = chat.finish()
    expect(judge(events).get('A16')?.verdict).toBe('kept')
    expect(brokenRules([...events, { ...keys, withoutExpiry: 1 }])).toEqual(['A16'])
  })
})

describe('A17 crash', () => {
  it('finds crashes and errors in server logs and exits', () => {
    const events = smallChat().finish()
    const server = { t: 5_000_000_000, op: 'server', server: 's1' } as const
    expect(brokenRules([...events, { ...server, what: 'expected-exit' }])).toEqual([])
    for (const what of ['unhandled-rejection', 'uncaught-exception', 'unexpected-exit'] as const) {
      expect(brokenRules([...events, { ...server, what, text: 'oh' }])).toEqual(['A17'])
    }
  })
})
