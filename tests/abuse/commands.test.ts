/**
 * One signed-in account does the worst that its limits allow, with every command in turn, while two others
 * chat. The cases come from the command table, so a new command is covered by itself.
 */
import { hasPostgres, listCommandAttacks } from '@chorus/testkit'
import type { CommandAttack } from '@chorus/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { AttackedServer } from './attacked-server.ts'
import type { Engine } from './attacked-server.ts'

/** Writes pile up in queues, and need longer to show what they cost. */
const writesMs = 1_500
const readsMs = 500
const attacks = listCommandAttacks()
const engines: readonly { engine: Engine; attacks: readonly CommandAttack[] }[] = [
  ...(hasPostgres() ? [{ engine: 'postgres' as const, attacks }] : []),
  // Reads are the same SQL on both engines; writes share one connection here, and there is one session.
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

  it.each(attacks)('[LIM1] [SLOW1] withstands a flood of $command over $road', async (attack) => {
    await attacked.withstand(() =>
      attack.run(attacked.server.url, attacked.attacker, { forMs: attack.isWrite ? writesMs : readsMs }),
    )
  })
})
