/**
 * Tests that an open transaction is detected, and that its age counts from the first time it was
 * seen.
 */
import { startPostgres, hasPostgres } from '@chorus/testkit'
import { Client } from 'pg'
import { expect, it } from 'vitest'
import { readConfig } from '../config/config.ts'
import { ManualClock } from '../support/testing/manual-clock.ts'
import { OldestTransaction } from './oldest-transaction.ts'
import { openDatabase } from './open-database.ts'

it.skipIf(!hasPostgres())('measures how long a transaction has held back all cursors', async () => {
  const postgres = await startPostgres()
  try {
    const url = await postgres.createDatabase()
    const database = await openDatabase(readConfig({ DATABASE_URL: url }))
    const other = new Client({ connectionString: url })
    await other.connect()
    try {
      const clock = new ManualClock()
      const oldest = new OldestTransaction(database, clock)
      expect(await oldest.ageMs()).toBe(0)
      await other.query('begin')
      await other.query('select pg_current_xact_id()')
      // A transaction holds back only the positions of later transactions, and there is none yet.
      expect(await oldest.ageMs()).toBe(0)
      await database.query({ text: 'select pg_current_xact_id()', values: [] })
      expect(await oldest.ageMs()).toBe(0)
      clock.advance(7_000)
      expect(await oldest.ageMs()).toBe(7_000)
      await other.query('rollback')
      expect(await oldest.ageMs()).toBe(0)
    } finally {
      await other.end()
      await database.close()
    }
  } finally {
    await postgres.stop()
  }
})
