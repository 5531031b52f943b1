/** Hints of another history make the database be asked, and not more often than that. */
import { expect, it } from 'vitest'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { foreignEpochIntervalMs, ForeignEpochs } from './foreign-epochs.ts'

it('[RES2] hints of another history make the database be asked once, and again after a while', async () => {
  const clock = new ManualClock()
  let asked = 0
  const failures: unknown[] = []
  const answers: (() => Promise<void>)[] = []
  const epochs = new ForeignEpochs({
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
  // One that takes long is waited for.
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
