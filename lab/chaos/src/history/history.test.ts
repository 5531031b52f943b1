import { appendFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DeliverEvent, HistoryEvent } from './events.ts'
import { HistoryWriter } from './history-writer.ts'
import { hashText } from './hash-text.ts'
import { nowMicros } from './clock.ts'
import { readHistory } from './read-history.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chorus-history-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function readAll(): HistoryEvent[] {
  const events: HistoryEvent[] = []
  readHistory(folder, (event) => events.push(event))
  return events
}

const t = nowMicros()
const conversation = '0198c0de-0000-7000-8000-000000000001'
const user = '0198c0de-0000-7000-8000-000000000002'
const deliver: DeliverEvent = {
  t: t + 5,
  op: 'deliver',
  observer: 'sdk-1',
  epoch: 'e1',
  conversation,
  seq: 12,
  kind: 'e',
  actor: user,
  target: 9,
  version: 12,
  hash: hashText('text'),
}

const events: readonly HistoryEvent[] = [
  {
    t,
    op: 'run',
    name: 'short',
    seed: 1,
    commit: 'abc',
    machine: '2 cores',
    startedAt: '2026-01-01T00:00:00Z',
    settings: { rate: 100, isLong: false },
  },
  {
    t,
    op: 'observer',
    observer: 'sdk-1',
    stream: 'sdk-1',
    kind: 'sdk',
    process: 'sdk-1',
    user,
    session: 's1',
  },
  { t, op: 'stream', stream: 'sdk-1', state: 'attached' },
  {
    t,
    op: 'send',
    type: 'invoke',
    id: 1,
    process: 'sdk-1',
    user,
    conversation,
    clientId: 'c1',
    hash: hashText('one'),
    order: 'outbox',
  },
  {
    t,
    op: 'send',
    type: 'invoke',
    id: 2,
    process: 'raw-1',
    user,
    conversation,
    clientId: 'c2',
    hash: hashText('two'),
    order: 'connection',
    connection: 'raw-1/1',
  },
  { t: t + 1, op: 'send', type: 'ok', id: 1, seq: 12, isDuplicate: true },
  { t: t + 1, op: 'send', type: 'info', id: 2, code: 'timeout' },
  { t, op: 'create', type: 'invoke', id: 3, process: 'p', user, members: [user] },
  { t, op: 'create', type: 'ok', id: 3, conversation },
  { t, op: 'revoke', type: 'invoke', id: 4, process: 'p', user, session: 's1' },
  { t, op: 'revoke', type: 'ok', id: 4 },
  { t, op: 'page', type: 'invoke', id: 5, process: 'p', user, conversation, final: 'fresh' },
  {
    t,
    op: 'page',
    type: 'ok',
    id: 5,
    page: {
      top: 12,
      hasBefore: true,
      hasAfter: false,
      items: [{ seq: 9, version: 12, sender: user, hash: hashText('text') }],
    },
  },
  deliver,
  {
    t,
    op: 'row',
    conversation,
    seq: 9,
    kind: 'c',
    actor: user,
    target: 9,
    version: 12,
    hash: 7,
    clientId: 'c1',
    member: '',
  },
  {
    t,
    op: 'fault',
    id: 1,
    kind: 'F4',
    name: 'redis-restart',
    phase: 'start',
    targets: ['redis'],
    affects: ['redis'],
    boundMs: 2_000,
  },
]

describe('the history of a chaos run', () => {
  it('a history contains the same events as were written to its files', () => {
    const writer = new HistoryWriter({ folder, origin: 'driver-1' })
    for (const event of events) writer.write(event)
    writer.close()
    expect(readAll()).toEqual(events)
  })

  it('operations of different processes have different ids in a history', () => {
    for (const origin of ['driver-1', 'driver-2']) {
      const writer = new HistoryWriter({ folder, origin })
      writer.write({ t, op: 'revoke', type: 'ok', id: writer.nextId() })
      writer.close()
    }
    const ids = readAll().map((event) => ('type' in event ? event.id : 0))
    expect(new Set(ids).size).toBe(2)
  })

  it('a delivery takes less than 70 bytes in a history file', () => {
    const writer = new HistoryWriter({ folder, origin: 'driver-1' })
    const count = 10_000
    for (let index = 0; index < count; index++) {
      writer.write({ ...deliver, t: t + 180_000_000 + index, seq: 50_000 + index, hash: hashText(`text ${index}`) })
    }
    writer.close()
    expect(statSync(writer.path).size / count).toBeLessThan(70)
  })

  it('the unfinished last line of a killed process is skipped and counted', () => {
    const writer = new HistoryWriter({ folder, origin: 'driver-1' })
    writer.write(deliver)
    writer.close()
    appendFileSync(writer.path, '["d",12')
    const seen: HistoryEvent[] = []
    expect(readHistory(folder, (event) => seen.push(event))).toMatchObject({ cut: 1, lines: 6 })
    expect(seen).toEqual([deliver])
  })

  it('the error for an unreadable history line names its file and line', () => {
    const writer = new HistoryWriter({ folder, origin: 'driver-1' })
    writer.close()
    appendFileSync(writer.path, '["?",1]\n')
    expect(() => readAll()).toThrow(/driver-1.history.jsonl:2 begins with "\?"/)
  })

  it('reading a history rejects an empty folder and an unknown format', () => {
    expect(() => readAll()).toThrow(/has no file/)
    writeFileSync(join(folder, 'x.history.jsonl'), '{"chorusHistory":2}\n')
    expect(() => readAll()).toThrow(/x.history.jsonl:1 is not the first line/)
  })

  it('the history writer rejects an existing file, and a file above its size limit', () => {
    const writer = new HistoryWriter({ folder, origin: 'driver-1', fileMaxBytes: 200 })
    for (let index = 0; index < 10; index++) writer.write(deliver)
    expect(() => writer.flush()).toThrow(/would grow over 200 bytes/)
    writer.close()
    expect(() => new HistoryWriter({ folder, origin: 'driver-1' })).toThrow(/EEXIST/)
  })

  it('the history writer records a pause of its own process', async () => {
    const writer = new HistoryWriter({ folder, origin: 'driver-1' })
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
    await pause(300)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000)
    await pause(300)
    writer.close()
    const stall = readAll().find((event) => event.op === 'stall')
    expect(stall?.lateMs).toBeGreaterThan(500)
  })

  it('different texts have different hashes, and the empty text has 0', () => {
    const hashes = new Set<number>()
    for (let index = 0; index < 100_000; index++) hashes.add(hashText(`message ${index}`))
    expect(hashes.size).toBe(100_000)
    expect(hashText('')).toBe(0)
    for (const hash of hashes) expect(Number.isSafeInteger(hash)).toBe(true)
  })
})
