/**
 * Faults F8 to F10 and F18 of the chaos test: Postgres crashes, loses the response to a COMMIT,
 * refuses writes, or is locked by a migration.
 */
import { waitForFact } from '@chorus/testkit'
import { drawServer, drawShared } from './fault.ts'
import type { Fault } from './fault.ts'
import type { Lab } from './lab.ts'

export const killBackend: Fault = {
  kind: 'F8',
  name: 'kill -9 of a Postgres backend',
  affects: ['postgres'],
  boundMs: 5_000,
  weight: 1,
  draw: drawShared('postgres', 0, 0),
  async begin(lab) {
    const rows = await lab.query<{ pid: number }>(
      `select pid from pg_stat_activity where application_name like 'chorus %' and query like '%append_%' limit 1`,
    )
    const pid = rows[0]?.pid
    // When one of its backends is killed, Postgres ends all other backends and recovers from its
    // log.
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  },
  heal: (lab) => whenAnswering(lab),
}

export const killPostgres: Fault = {
  kind: 'F8',
  name: 'kill -9 of Postgres',
  affects: ['postgres'],
  boundMs: 5_000,
  weight: 1,
  draw: drawShared('postgres', 0, 1_500, 5_000),
  begin: (lab) => lab.cluster.postgres.kill9(),
  heal: (lab) => lab.cluster.postgres.start(),
}

export const crashPostgres: Fault = {
  kind: 'F8',
  name: 'immediate stop of Postgres',
  affects: ['postgres'],
  boundMs: 5_000,
  weight: 1,
  draw: drawShared('postgres', 0, 1_500, 5_000),
  begin: (lab) => lab.cluster.postgres.stop('immediate'),
  heal: (lab) => lab.cluster.postgres.start(),
}

const cutsMax = 3
const cutWaitMs = 3_000

export const cutAtCommit: Fault = {
  kind: 'F9',
  name: 'answer to a COMMIT lost',
  affects: ['postgres'],
  boundMs: 5_000,
  weight: 2,
  draw: drawServer(0, 0),
  async begin(lab, { server, share }) {
    const link = lab.link('database', server)
    const wanted = link.cutReplyCount + 1 + Math.floor(share * cutsMax)
    link.cutReplies('append_', wanted - link.cutReplyCount)
    // With little traffic, fewer responses may be cut than wanted. One cut response is enough for
    // the fault.
    await waitForFact(() => link.cutReplyCount >= wanted, { what: 'a cut', timeoutMs: cutWaitMs }).catch(
      () => undefined,
    )
  },
  heal: async (lab, { server }) => lab.link('database', server).heal(),
}

export const readOnlyPostgres: Fault = {
  kind: 'F10',
  name: 'Postgres read-only',
  affects: ['postgres'],
  boundMs: 5_000,
  weight: 1,
  draw: drawShared('postgres', 1_000, 2_500, 10_000),
  async begin(lab) {
    await lab.query('alter system set default_transaction_read_only = on')
    await lab.query('select pg_reload_conf()')
  },
  async heal(lab) {
    await lab.query('alter system reset default_transaction_read_only')
    await lab.query('select pg_reload_conf()')
  },
}

/**
 * Locks the table of the log, as a migration does. A single statement holds the lock and ends by
 * itself, so no lock remains even if the run aborts.
 */
export const lockTable: Fault = {
  kind: 'F18',
  name: 'log locked by a migration',
  affects: ['postgres'],
  boundMs: 5_000,
  weight: 1,
  // The whole fault happens in `begin`, so its drawn duration is 0.
  draw: drawShared('postgres', 0, 0),
  async begin(lab, { share }) {
    const seconds = (1 + 2 * share).toFixed(3)
    await lab.query(`do $$ begin lock table changes in access exclusive mode; perform pg_sleep(${seconds}); end $$`)
  },
  heal: (lab) => whenAnswering(lab),
}

async function whenAnswering(lab: Lab): Promise<void> {
  await waitForFact(() => lab.query('select 1 as alive'), { what: 'Postgres', timeoutMs: 30_000 })
}
