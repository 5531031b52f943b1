/**
 * Runs a comparison server of Socket.IO under faults. The checker must find lost messages, or its
 * verdicts prove nothing. Uses a real Redis and Postgres; skipped without them.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasPostgres, hasRedis } from '@chorus/testkit'
import { describe, expect, it } from 'vitest'
import { reportHistory } from '../report/index.ts'
import { runSocketIoPeer } from './run-socket-io-peer.ts'

describe.skipIf(!hasRedis() || !hasPostgres())('Socket.IO with its Redis adapter', () => {
  it('the checker finds that Socket.IO loses messages when Redis fails', { timeout: 120_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'chorus-peer-'))
    try {
      const options = { folder, seed: 1, commit: 'test', faults: 2, servers: 2, clients: 10, rate: 200 }
      await runSocketIoPeer({ ...options, say: () => undefined })
      const { result } = reportHistory(folder, { peer: 'socket-io' })
      const broken = result.rules.filter(({ verdict }) => verdict === 'broken').map(({ id }) => id)
      expect(broken).toContain('A13')
      // The comparison server stores each message before it acknowledges it, so its log loses and
      // invents no message.
      for (const id of ['A1', 'A3', 'A4', 'A6']) expect(broken).not.toContain(id)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
