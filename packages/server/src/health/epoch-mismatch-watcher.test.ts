/**
 * Tests that hints over Redis from other servers with another database epoch trigger a check of the
 * database, but not too often.
 */
import { expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { foreignEpochIntervalMs, EpochMismatchWatcher } from './epoch-mismatch-watcher.ts'

it('[RES2] many hints with another epoch trigger one check; later hints trigger another check', async () => {
  const clock = new ManualClock()
  let asked = 0
  const failures: unknown[] = []
  const answers: (() => Promise<void>)[] = []
  const epochs = new EpochMismatchWatcher({
    clock,
    recheck: () => {
      asked++
      return (answers.shift() ?? (() => Promise.resolve()))()
    },
    onFailed: (error) => void failures.push(error),
  })
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  let answer: () => void = () => undefined
  answers.push(
    () =>
      new Promise((resolve) => {
        answer = resolve
      }),
    () => Promise.reject(new Error('away')),
  )
  for (let index = 0; index < 100; index++) epochs.note()
  expect(asked).toBe(1)
  // While a long check runs, no second one starts.
  clock.advance(foreignEpochIntervalMs)
  epochs.note()
  expect(asked).toBe(1)
  answer()
  await turn()
  epochs.note()
  expect(asked).toBe(2)
  await turn()
  expect(failures).toHaveLength(1)
  epochs.note()
  expect(asked).toBe(2)
  clock.advance(foreignEpochIntervalMs)
  epochs.note()
  expect(asked).toBe(3)
})
