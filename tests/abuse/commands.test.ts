/**
 * One signed-in account floods the server with each command of the protocol in turn, as fast as its
 * rate limits allow, while two members chat. The test cases come from the command table, so a new
 * command gets a test automatically.
 */
import { hasPostgres, listCommandAttacks } from '@chorus/testkit'
import type { CommandAttack } from '@chorus/testkit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { AttackedServer } from './attacked-server.ts'
import type { Engine } from './attacked-server.ts'

/**
 * Duration of a flood of write commands. It is longer than the one of read commands: writes build
 * up in queues, so their cost shows later.
 */
const writesMs = 1_500
const readsMs = 500
const attacks = listCommandAttacks()
const engines: readonly { engine: Engine; attacks: readonly CommandAttack[] }[] = [
  ...(hasPostgres() ? [{ engine: 'postgres' as const, attacks }] : []),
  // On the embedded engine, reads are tested only if there is no Postgres, because both engines use
  // the same SQL for them. Writes are tested on both engines, because on the embedded engine all
  // writes share one connection. Commands that end the session are left out, because the attacker
  // has only one session here.
  {
    engine: 'embedded',
    attacks: attacks.filter(({ isWrite, endsSession }) => !endsSession && (isWrite || !hasPostgres())),
  },
]

describe.each(engines)('a server on the $engine engine', ({ engine, attacks }) => {
  let attacked: AttackedServer

  beforeAll(async () => {
    attacked = await AttackedServer.start(engine)
  })

  afterAll(async () => {
    await attacked.stop()
  })

  it.each(attacks)('[LIM1] [SLOW1] the server withstands a flood of $command over $transport', async (attack) => {
    await attacked.withstand(() =>
      attack.run(attacked.server.url, attacked.attacker, { forMs: attack.isWrite ? writesMs : readsMs }),
    )
  })
})
