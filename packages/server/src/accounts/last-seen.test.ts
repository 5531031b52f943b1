/**
 * Tests the last-seen times of users: they are collected, written together, and never replaced by
 * an earlier time.
 */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { Database, Statement } from '../database/database.ts'
import { lastSeenLimits, LastSeenWriter } from './last-seen.ts'

const open = () => {
  const clock = new ManualClock()
  const statements: Statement[] = []
  const problems: unknown[] = []
  const state = { fails: false }
  const query = async (statement: Statement) => {
    statements.push(statement)
    if (state.fails) throw new Error('no database')
    return []
  }
  const database = { query } as unknown as Database
  const notes = new LastSeenWriter({ database, clock, onProblem: (problem) => void problems.push(problem) })
  return { clock, statements, problems, state, notes }
}
const at = (second: number) => new Date(second * 1_000).toISOString()
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('the writing of last-seen times', () => {
  it('[LIM2] writes the last-seen times of many users in one statement', async () => {
    const { clock, statements, notes } = open()
    for (let user = 0; user < 900; user++) notes.note([{ user: `u${user}`, at: at(1) }])
    notes.note([
      { user: 'u0', at: at(3) },
      { user: 'u0', at: at(2) },
    ])
    expect(statements).toHaveLength(0)
    clock.advance(lastSeenLimits.gatherMs)
    await turn()
    expect(statements).toHaveLength(1)
    const [users, times] = statements[0]?.values as [string[], string[]]
    expect(users).toHaveLength(900)
    expect(times[users.indexOf('u0')]).toBe(at(3))
  })

  it('[LIM1] limits the last-seen times per statement and those that wait', async () => {
    const { statements, notes } = open()
    notes.note(Array.from({ length: lastSeenLimits.waitingMax + 10 }, (_, user) => ({ user: `u${user}`, at: at(1) })))
    await notes.flush()
    const written = statements.flatMap(({ values }) => values?.[0] as string[])
    expect(written).toHaveLength(lastSeenLimits.waitingMax)
    expect(written).not.toContain('u0')
    expect(statements).toHaveLength(lastSeenLimits.waitingMax / lastSeenLimits.perStatement)
  })

  it('after a failed write, flush writes the last-seen times noted since', async () => {
    const { clock, statements, problems, state, notes } = open()
    state.fails = true
    notes.note([{ user: 'ada', at: at(1) }])
    clock.advance(lastSeenLimits.gatherMs)
    await turn()
    expect(problems).toHaveLength(1)
    state.fails = false
    notes.note([{ user: 'bob', at: at(2) }])
    await notes.flush()
    expect(statements.at(-1)?.values).toEqual([['bob'], [at(2)]])
    clock.advance(lastSeenLimits.gatherMs)
    await turn()
    expect(statements).toHaveLength(2)
  })
})
