/**
 * Tests the wrapper around all commands: after closing it refuses new commands, and it waits a
 * bounded time for commands in flight.
 */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import type { CommandContext, CommandTable } from '../commands/command.ts'
import { InFlightCommands } from './in-flight-commands.ts'

function open() {
  const clock = new ManualClock()
  const begun: string[] = []
  const ends: (() => void)[] = []
  const intake = new InFlightCommands(
    {
      'add-reaction': {
        cost: { budget: 'sends' },
        run: async (_context, { emoji }) => {
          begun.push(emoji)
          await new Promise<void>((resolve) => ends.push(resolve))
          return { seq: 1 }
        },
      },
    } as Partial<CommandTable> as CommandTable,
    clock,
  )
  const ask = (emoji: string): Promise<unknown> =>
    intake.handlers['add-reaction']({} as CommandContext, { conversation: 'c', seq: 1, emoji }).catch(
      (error: { code: string }) => error.code,
    )
  return { clock, begun, ends, intake, ask }
}

describe('commands in flight', () => {
  it('[ORD2] begins a command in the turn of the event loop in which it arrived', () => {
    const { begun, ask } = open()
    void ask('a')
    void ask('b')
    expect(begun).toEqual(['a', 'b'])
  })

  it('[ACK2] refuses commands after closing, and still answers commands in flight', async () => {
    const { clock, begun, ends, intake, ask } = open()
    const first = ask('a')
    intake.close()
    expect(await ask('b')).toBe('unavailable')
    expect(begun).toEqual(['a'])
    const order: string[] = []
    const idle = intake.whenIdle(1_000).then(() => order.push('idle'))
    void first.then(() => order.push('answered'))
    ends[0]?.()
    await idle
    expect(order).toEqual(['answered', 'idle'])
    expect(intake.underWay).toBe(0)
    expect(clock.pendingCount).toBe(0)
  })

  it('[LIM1] waits for commands in flight no longer than the given time', async () => {
    const { clock, intake, ask } = open()
    void ask('a')
    const idle = intake.whenIdle(1_000)
    clock.advance(1_000)
    await idle
    expect(intake.underWay).toBe(1)
  })
})
