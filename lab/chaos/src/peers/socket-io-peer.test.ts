/**
 * The peer must fail, or the checker proves nothing. Uses real Redis and Postgres; skipped without
 * them.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasPostgres, hasRedis } from '@chorus/testkit'
import { describe, expect, it } from 'vitest'
import { reportHistory } from '../report/index.ts'
import { runSocketIoPeer } from './run-socket-io-peer.ts'

describe.skipIf(!hasRedis() || !hasPostgres())('plain Socket.IO with its Redis adapter', () => {
  it('loses messages under Redis faults, and the checker reports it', { timeout: 120_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'chorus-peer-'))
    try {
      const options = { folder, seed: 1, commit: 'test', faults: 2, servers: 2, clients: 10, rate: 200 }
      await runSocketIoPeer({ ...options, say: () => undefined })
      const { result } = reportHistory(folder, { peer: 'socket-io' })
      const broken = result.rules.filter(({ verdict }) => verdict === 'broken').map(({ id }) => id)
      expect(broken).toContain('A13')
      // The peer stores before it acknowledges, so no message is lost from the log or invented.
      for (const id of ['A1', 'A3', 'A4', 'A6']) expect(broken).not.toContain(id)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
