import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ModelChat } from '../checker/testing/model-chat.ts'
import { type HistoryEvent, HistoryWriter } from '../history/index.ts'
import { reportHistory } from './report-history.ts'
import { ruleOfThree, toMarkdown, toTerminal, writeReport } from './report-run.ts'
import { readReports, summariseRuns } from './summarise-runs.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'chorus-report-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function writeRun(seed: number, isLossy: boolean): string {
  const chat = new ModelChat()
  chat.attach('ada-1', 'ada')
  chat.attach('bob-1', 'bob')
  chat.create('group', 'ada', ['bob'])
  chat.send('group', 'ada-1', 'ada')
  chat.fault('F4')
  chat.send('group', 'bob-1', 'bob')
  chat.fault('F11')
  const run = join(folder, `run-${seed}`)
  const writer = new HistoryWriter({ folder: run, origin: 'run' })
  const settings = { rate: 100 }
  writer.write({
    t: chat.t,
    op: 'run',
    name: 'model',
    seed,
    commit: 'abc123',
    machine: '2 cores',
    startedAt: '2026-01-01',
    settings,
  })
  const isLeftOut = (event: HistoryEvent) => isLossy && event.op === 'row' && event.kind === 'c'
  for (const event of chat.finish()) if (!isLeftOut(event)) writer.write(event)
  writer.close()
  return run
}

describe('the report of a chaos run', () => {
  it('a chaos report shows how much was judged and what that proves', () => {
    const report = reportHistory(writeRun(1, false))
    const text = toTerminal(report)
    expect(text).toContain('model, seed 1: 2 messages acknowledged')
    expect(text).toMatch(/^A1 +lost acknowledgement +kept +2 acknowledged messages$/m)
    expect(text).toMatch(/^A2 +aborted read +not judged +\(nothing to judge; needs sends/m)
    expect(text).toMatch(/healed to caught up, F4: p50 \d+ ms/)
    expect(text).toContain('fewer than 1.5e+0 of them at 95 % confidence')
    expect(text.endsWith('all rules kept')).toBe(true)
    expect(toMarkdown(report)).toContain('| A1 | lost acknowledgement | kept | 2 | 0 |')
  })

  it('a report with a broken rule lists violations and claims nothing', () => {
    const report = reportHistory(writeRun(1, true))
    const text = toTerminal(report)
    expect(text).toMatch(/^A1 .*broken/m)
    expect(text).toMatch(/- at [\d.]+ s: message client-id-1 was acknowledged .*\[run.history.jsonl:\d+\]/)
    expect(text).toMatch(/broken: A1, A7$/)
    expect(text).toContain('no claim')
    expect(toMarkdown(report)).toContain('## Witnesses')
  })

  it('a chaos report is written to the results folder and read again', () => {
    const path = writeReport(join(folder, 'results'), 'seed-1', reportHistory(writeRun(1, false)))
    expect(readFileSync(path, 'utf8')).toContain('# model, seed 1')
    expect(readReports(join(folder, 'results'))).toHaveLength(1)
  })

  it('a summary of chaos runs skips runs of mutants', () => {
    const results = join(folder, 'results')
    for (const seed of [1, 2]) writeReport(results, `seed-${seed}`, reportHistory(writeRun(seed, false)))
    writeReport(results, 'mutant', reportHistory(writeRun(3, true), { mutant: 'x' }))
    const reports = readReports(results)
    const text = summariseRuns(reports)
    expect(text).toContain('2 runs, 4 acknowledged messages')
    expect(text).toContain('No rule was broken: of 4 acknowledged messages fewer than 7.5e-1')
    expect(text).toMatch(/\| F4 \| 2 \| 4 \| \d+ ms \|/)
    const mixed = summariseRuns([...reports, reportHistory(writeRun(4, true))])
    expect(mixed).toContain('1 of 3 runs broke a rule (seeds 4); no claim.')
  })

  it('the claim for n cases without a violation is a rate below 3/n', () => {
    expect(ruleOfThree(1_000_000)).toBe('fewer than 3.0e-6 of them at 95 % confidence')
    expect(ruleOfThree(0)).toBe('no bound')
  })
})
