/**
 * Proves that the inputs which the attack tests send make the server work: without rate limits, the
 * server accepts some inputs of each command. An attack whose inputs are all refused early would
 * prove nothing.
 */
import { hasPostgres, listCommandAttacks, makeAttacker, startServer, usePostgres, WorstInputs } from '@chorus/testkit'
import type { Attacker, ServerProcess } from '@chorus/testkit'
import { commands } from '@chorus/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const limitsOff = Object.fromEntries(
  [
    'SENDS',
    'REQUESTS',
    'KEY_REQUESTS',
    'SIGN_INS',
    'SIGN_INS_ADDRESS',
    'CONNECTIONS',
    'MEMBERS',
    'STRANGERS',
    'CONNECTS',
    'CONNECTS_ADDRESS',
  ].map((name) => [`LIMIT_${name}`, '0']),
)
const triesMax = 16
/**
 * HTTP statuses of requests that the server processed: successful ones, and ones refused after a
 * check of the user's rights.
 */
const workedStatuses = [200, 201, 204, 403]
const attacks = listCommandAttacks().filter(
  ({ command, askOnce }) => askOnce !== undefined && commands[command].auth !== 'none',
)

describe.skipIf(!hasPostgres())('the inputs of the attack tests', () => {
  let server: ServerProcess
  let attacker: Attacker

  beforeAll(async () => {
    const databases = await usePostgres()
    const databaseUrl = await databases.createDatabase()
    server = await startServer({ databaseUrl, env: limitsOff })
    attacker = await makeAttacker(server.url, { databases, databaseUrl })
  })
  afterAll(() => server.remove())

  it.each(attacks)(
    'the server processes an attack input of $command instead of refusing it early',
    async ({ command, askOnce }) => {
      const inputs = new WorstInputs(command, attacker.world)
      const statuses: (number | undefined)[] = []
      while (statuses.length < triesMax && !workedStatuses.includes(statuses.at(-1) ?? 0)) {
        statuses.push(await askOnce?.(server.url, attacker, inputs))
      }
      expect(workedStatuses, `statuses ${statuses.join()}`).toContain(statuses.at(-1))
    },
  )
})
