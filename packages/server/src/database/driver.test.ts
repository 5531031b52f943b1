/** Tests which database reads are retried, and which error the caller gets in the end. */
import { describe, expect, it } from 'vitest'
import { DatabaseError, type DatabaseErrorKind, readRetry } from './database-errors.ts'
import { runRead } from './driver.ts'

const totalMs = 10_000
const noPause = () => Promise.resolve()

/** Returns a read that fails once with each of these kinds of errors, then succeeds. */
function failing(...kinds: readonly DatabaseErrorKind[]) {
  let attempts = 0
  const run = () => {
    const kind = kinds[attempts]
    attempts += 1
    if (kind !== undefined) return Promise.reject(new DatabaseError(kind, new Error(`attempt ${attempts}`)))
    return Promise.resolve(['row'])
  }
  return { run, attempts: () => attempts }
}

async function outcomeOf(...kinds: readonly DatabaseErrorKind[]): Promise<string> {
  const { run } = failing(...kinds)
  return runRead(run, noPause, totalMs).then(
    () => 'answered',
    (error: DatabaseError) => error.kind,
  )
}

describe('retries of database reads', () => {
  it('[ACK2] reports `lost` after a lost connection, even if later attempts are refused', async () => {
    expect(await outcomeOf('lost', 'refused', 'refused', 'refused')).toBe('lost')
    expect(await outcomeOf('refused', 'lost', 'retryable', 'refused')).toBe('lost')
    expect(await outcomeOf('refused', 'refused', 'refused', 'refused')).toBe('refused')
    expect(await outcomeOf('refused', 'retryable', 'refused', 'retryable')).toBe('retryable')
  })

  it("[ACK2] returns the database's own error, even after an attempt lost its connection", async () => {
    expect(await outcomeOf('lost', 'refused', 'lost')).toBe('answered')
    expect(await outcomeOf('lost', 'data')).toBe('data')
    expect(await outcomeOf('lost', 'bug')).toBe('bug')
  })

  it('[LIM1] stops retrying a read after the maximum number of attempts', async () => {
    const { run, attempts } = failing(...Array.from({ length: 20 }, () => 'refused' as const))
    await expect(runRead(run, noPause, totalMs)).rejects.toMatchObject({ kind: 'refused' })
    expect(attempts()).toBe(readRetry.attemptsMax)
  })
})
