/** Tests that sessions are deleted long after their end, and that all other sessions are kept. */
import type { Id } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deleteOldSessions, readRecentRevocations } from './sessions.ts'
import { tendSessionsOnce } from './prune-sessions.ts'
import { placeAt, readPosition, sweepChanges } from '../log/sweep-changes.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import { openTestDatabase, type TestDatabase, testEngines } from '../database/testing/open-test-database.ts'

describe.each(testEngines)('the pruning of ended sessions on the %s engine', (engine) => {
  let store: TestDatabase
  let fixture: LogFixture
  beforeAll(async () => {
    store = await openTestDatabase(engine)
    fixture = new LogFixture(store.database)
  })
  afterAll(() => store.close())

  async function session(user: Id, ended: string): Promise<Id> {
    const id = await fixture.session(user)
    await fixture.sql(`update sessions set ${ended} where id = $1`, [id])
    return id
  }
  const left = async (): Promise<Id[]> =>
    (await fixture.sql<{ id: Id }>('select id from sessions order by id')).map(({ id }) => id)

  it('[LIM1] deletes sessions a week after their end, in limited batches', async () => {
    const user = await fixture.user()
    const kept = [
      await session(user, 'revoked_at = null'),
      await session(user, `revoked_at = now() - interval '6 days'`),
      await session(user, `expires_at = now() - interval '6 days'`),
    ]
    for (let index = 0; index < 5; index++) {
      await session(user, `expires_at = now() - interval '8 days'`)
      await session(user, `revoked_at = now() - interval '8 days'`)
    }
    expect(await deleteOldSessions(store.database, 7, 3)).toBe(3)
    expect(await tendSessionsOnce(store.database)).toBe(7)
    expect(await left()).toEqual(kept.sort())
  })

  it.skipIf(engine === 'embedded')('deletes ended sessions on only one server at a time', async () => {
    await session(await fixture.user(), `expires_at = now() - interval '8 days'`)
    const second = await store.openSecond()
    const asleep = second.query({
      text: 'select pg_advisory_xact_lock(5091623), pg_sleep(1)',
    })
    const isHeld = async (): Promise<boolean> =>
      (await fixture.sql(`select from pg_locks where locktype = 'advisory' and objid = 5091623 and granted`)).length > 0
    while (!(await isHeld())) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await deleteOldSessions(store.database, 7, 10)).toBe(0)
    await asleep
    expect(await deleteOldSessions(store.database, 7, 10)).toBe(1)
  })

  it('[ACL2] revokes the sessions of a disabled user, so that the sweep finds them', async () => {
    const user = await fixture.user()
    const [first, second] = [await fixture.session(user), await fixture.session(user)]
    const position = await readPosition(store.database)
    await fixture.sql('update users set disabled_at = now() where id = $1', [user])
    const { revokedSessions } = await sweepChanges(store.database, placeAt(position))
    expect([...revokedSessions].sort()).toEqual([first, second].sort())
    expect((await readRecentRevocations(store.database, 60_000, 10)).sort()).toEqual([first, second].sort())
    expect(await readRecentRevocations(store.database, 60_000, 1)).toHaveLength(1)
    expect(await readRecentRevocations(store.database, 0, 10)).toEqual([])
    await fixture.sql('update users set disabled_at = null, name = $2 where id = $1', [user, 'again'])
    expect((await sweepChanges(store.database, placeAt(position))).revokedSessions).toHaveLength(2)
  })
})
