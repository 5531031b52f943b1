import { describe, expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { EpochTransition, historyRetryMs } from './epoch-transition.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function open() {
  const clock = new ManualClock()
  const happened: string[] = []
  const answers: (number | Error | Promise<number>)[] = []
  const history = new EpochTransition({
    clock,
    onLeft: () => happened.push('left'),
    onBegun: (position) => happened.push(`begun ${position}`),
    onFailed: () => happened.push('failed'),
    readPosition: async () => {
      const answer = await answers.shift()
      if (answer === undefined || answer instanceof Error) throw answer ?? new Error('not asked')
      return answer
    },
  })
  return { clock, happened, answers, history }
}

describe('the transition to a new database epoch', () => {
  it('[RES2] a new epoch drops the old state at once and retries to read the position', async () => {
    const { clock, happened, answers, history } = open()
    answers.push(new Error('away'), new Error('away'), 70)
    history.begin()
    expect(happened).toEqual(['left'])
    for (let attempt = 0; attempt < 3; attempt++) {
      await turn()
      clock.advance(historyRetryMs)
    }
    await turn()
    expect(happened).toEqual(['left', 'failed', 'failed', 'begun 70'])
    expect(clock.pendingCount).toBe(0)
  })

  it('[RES2] ignores a position that was read in an earlier epoch', async () => {
    const { clock, happened, answers, history } = open()
    let answer: (position: number) => void = () => undefined
    answers.push(
      new Promise((resolve) => {
        answer = resolve
      }),
      90,
    )
    history.begin()
    history.begin()
    await turn()
    answer(70)
    await turn()
    expect(happened).toEqual(['left', 'left', 'begun 90'])
    answers.push(new Error('away'))
    history.begin()
    await turn()
    history.stop()
    clock.advance(historyRetryMs)
    await turn()
    expect(happened).toEqual(['left', 'left', 'begun 90', 'left', 'failed'])
  })
})
