/**
 * A short fault run: three servers, twenty faults, ten thousand acknowledged messages. The checker
 * of the run must find no broken rule. The run itself is `npm run chaos`; this test checks its
 * report.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hasBalancer, hasPostgres, hasRedis } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const main = fileURLToPath(new URL('../../lab/chaos/dist/main.js', import.meta.url))
const seed = 1
const faults = 20
const messages = 10_000
/**
 * Time added to the time limits of the checker. Those are set for an idle machine, and a machine
 * that runs tests is busy.
 */
const slackMs = 5_000
/** Timeout of the run. A run takes about two minutes, and longer on a busy machine. */
const runTimeoutMs = 540_000

interface Report {
  readonly result: {
    readonly rules: readonly {
      readonly id: string
      readonly verdict: 'kept' | 'broken' | 'not judged'
      readonly judged: number
      readonly witnesses: readonly { readonly text: string }[]
    }[]
    readonly counts: { readonly acknowledged: number; readonly faults: number }
  }
}

/**
 * Rules for which every run with member changes, faults and revocations contains evidence. The test
 * fails if the checker found none.
 */
const alwaysJudged = ['A1', 'A3', 'A4', 'A5', 'A6', 'A7', 'A8', 'A9', 'A10', 'A11', 'A12', 'A13', 'A16', 'A17']
const rules = Array.from({ length: 17 }, (_, index) => `A${index + 1}`)

describe.skipIf(!existsSync(main) || !hasPostgres() || !hasRedis() || !hasBalancer('haproxy'))(
  'a short fault run of a cluster',
  () => {
    let folder: string
    let report: Report

    beforeAll(async () => {
      folder = mkdtempSync(join(tmpdir(), 'chorus-chaos-'))
      await new Promise<void>((resolve) => {
        const args = [main, '--seed', seed, '--faults', faults, '--messages', messages]
        args.push('--slack-ms', slackMs, '--out', folder)
        const child = execFile(
          process.execPath,
          args.map(String),
          { maxBuffer: 64 * 1024 * 1024, timeout: runTimeoutMs },
          () => resolve(),
        )
        // Prints the progress and the time of each fault during the run.
        child.stderr?.pipe(process.stderr)
      })
      const name = readdirSync(folder).find((file) => file.endsWith('.json'))
      if (name === undefined) throw new Error('unable to judge; the run left no report')
      report = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Report
    }, runTimeoutMs + 30_000)

    afterAll(() => rmSync(folder, { recursive: true, force: true }))

    it(`injects ${faults} faults while ${messages} messages are acknowledged`, () => {
      expect(report.result.counts.faults).toBeGreaterThanOrEqual(faults)
      expect(report.result.counts.acknowledged).toBeGreaterThanOrEqual(messages)
    })

    it.each(rules)('the run keeps the rule %s', (id) => {
      const rule = report.result.rules.find((one) => one.id === id)
      expect(rule?.witnesses.map(({ text }) => text)).toEqual([])
      expect(rule?.verdict).not.toBe('broken')
      if (alwaysJudged.includes(id)) expect(rule?.judged).toBeGreaterThan(0)
    })
  },
)
