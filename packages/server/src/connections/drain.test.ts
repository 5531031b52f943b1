/**
 * Tests how a stopping server drains, on a manual clock: what each step waits for, and for how long
 * at most.
 */
import { describe, expect, it } from 'vitest'
import type { CommandContext, CommandTable } from '../commands/command.ts'
import { InFlightCommands } from '../dispatch/in-flight-commands.ts'
import type { Connection } from '../delivery/connection.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { ConnectionGate } from './connection-gate.ts'
import { drain, drainTimings } from './drain.ts'

function setUp(connectionCount: number) {
  const clock = new ManualClock()
  const log: string[] = []
  const note = (what: string): void => void log.push(`${Math.round(clock.nowMs())} ${what}`)
  const quiet = new Set<number>()
  const here = new Map(
    Array.from({ length: connectionCount }, (_, index) => [
      index,
      { id: index, isQuietSince: () => quiet.has(index) } as unknown as Connection,
    ]),
  )
  const gate = {
    get size() {
      return here.size
    },
    refuseNew: () => note('refuse'),
    askToMove: (overMs: number) => {
      note('move')
      return [...here.values()].map((connection, index) => ({
        connection,
        byMs: clock.nowMs() + (overMs * (index + 1)) / here.size,
      }))
    },
    closeLeft: ({ id }: Connection) => {
      note(`close ${id}`)
      here.delete(id)
    },
    closeAll: () => {
      note('close all')
      here.clear()
    },
  } as unknown as ConnectionGate
  const ends: (() => void)[] = []
  const intake = new InFlightCommands(
    {
      'add-reaction': {
        cost: { budget: 'sends' },
        run: () => new Promise((resolve) => ends.push(() => resolve({ seq: 1 }))),
      },
    } as Partial<CommandTable> as CommandTable,
    clock,
  )
  const ask = (): Promise<unknown> =>
    intake.handlers['add-reaction']({} as CommandContext, { conversation: 'c', seq: 1, emoji: 'x' }).catch(
      () => 'refused',
    )
  const run = async (): Promise<number> => {
    let isOver = false
    void drain({ gate, intake, openWires: () => 0, clock, noticeMs: 2_000, moveMs: 4_000 }).then(() => {
      isOver = true
    })
    while (!isOver) {
      clock.advance(10)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return clock.nowMs()
  }
  return { clock, log, quiet, here, ends, ask, run }
}

describe('draining a server', () => {
  it('a server without connections and requests drains at once', async () => {
    const { clock, run } = setUp(0)
    clock.advance(1_000)
    const startedAtMs = clock.nowMs()
    expect((await run()) - startedAtMs).toBeLessThan(drainTimings.refuseMs + 100)
  })

  it('waits for load balancers after a recent request, and keeps serving', async () => {
    const { ask, ends, log, run, clock } = setUp(0)
    const first = ask()
    ends[0]?.()
    await first
    const over = run()
    while (clock.nowMs() < 1_000) await new Promise((resolve) => setImmediate(resolve))
    const late = ask()
    ends[1]?.()
    expect(await late).toEqual({ seq: 1 })
    await over
    expect(log[0]).toMatch(/^20\d\d refuse$/)
    expect(await ask()).toBe('refused')
  })

  it('closes idle connections at their deadline, and busy connections last', async () => {
    const { log, quiet, run } = setUp(4)
    for (const id of [0, 1]) quiet.add(id)
    const endedAtMs = await run()
    const at = (what: string): number => Number(log.find((line) => line.endsWith(` ${what}`))?.split(' ')[0])
    expect(at('move')).toBeGreaterThanOrEqual(2_000)
    for (const [id, dueMs] of [
      [0, 4_000],
      [1, 5_000],
    ] as const)
      expect(Math.abs(at(`close ${id}`) - dueMs)).toBeLessThan(200)
    expect(at('close 2')).toBeNaN()
    expect(at('close all')).toBeGreaterThanOrEqual(7_000)
    expect(endedAtMs).toBeLessThan(9_000)
  })

  it('[LIM1] draining ends within its time limits even if no command ends', async () => {
    const { ask, run } = setUp(2)
    void ask()
    expect(await run()).toBeLessThan(2_000 + 4_000 + drainTimings.strayMs + drainTimings.answerMs + 500)
  })
})
