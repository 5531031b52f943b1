/**
 * One signed-in account attacks with every command in turn, as hard as its limits allow, while two
 * members chat. The cases come from the command table, so a new command is covered automatically.
 */
import { hasPostgres, listCommandAttacks } from '@chorus/testkit'
import type { CommandAttack } from '@chorus/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { AttackedServer } from './attacked-server.ts'
import type { Engine } from './attacked-server.ts'

/**
 * Duration of a flood of writes. Writes build up in queues, so their cost shows later than that of
 * reads.
 */
const writesMs = 1_500
const readsMs = 500
const attacks = listCommandAttacks()
const engines: readonly { engine: Engine; attacks: readonly CommandAttack[] }[] = [
  ...(hasPostgres() ? [{ engine: 'postgres' as const, attacks }] : []),
  // Reads use the same SQL on both engines, so they run here only without Postgres. Writes share
  // one connection here, so they run again. There is only one session, so commands that end it do
  // not run.
  {
    engine: 'embedded',
    attacks: attacks.filter(({ isWrite, endsSession }) => !endsSession && (isWrite || !hasPostgres())),
  },
]

describe.each(engines)('on the $engine engine', ({ engine, attacks }) => {
  let attacked: AttackedServer

  beforeAll(async () => {
    attacked = await AttackedServer.start(engine)
  })

  afterAll(async () => {
    await attacked.stop()
  })

  it.each(attacks)('[LIM1] [SLOW1] withstands a flood of $command over $transport', async (attack) => {
    await attacked.withstand(() =>
      attack.run(attacked.server.url, attacked.attacker, { forMs: attack.isWrite ? writesMs : readsMs }),
    )
  })
})
