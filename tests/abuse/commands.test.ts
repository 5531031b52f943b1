/**
 * One signed-in account does the worst that its limits allow, with every command in turn, while two others
 * chat. The cases come from the command table, so a new command is covered by itself.
 */
import { commands, type CommandName } from '@chorus/protocol'
import { hasPostgres } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AttackedServer } from './attacked-server.ts'
import type { Engine } from './attacked-server.ts'
import { floodHttp, floodSocket, placeInput } from './floods.ts'
import { WorstInputs } from './worst-inputs.ts'

/** Writes pile up in queues, and need longer to show what they cost. */
const writesMs = 1_500
const readsMs = 500
const names = Object.keys(commands) as CommandName[]
const definitionOf = (name: CommandName) =>
  commands[name] as { auth: string; route?: { method: string; path: string; status: number }; event?: { name: string } }
const isReading = (name: CommandName) => definitionOf(name).route?.method === 'GET'
const changesTheLog = (name: CommandName) => definitionOf(name).auth === 'session' && !isReading(name)

const engines: readonly { engine: Engine; floods: readonly CommandName[] }[] = [
  ...(hasPostgres() ? [{ engine: 'postgres' as const, floods: names }] : []),
  // Reads are the same SQL on both engines; writes share one connection here.
  { engine: 'embedded' as const, floods: hasPostgres() ? names.filter(changesTheLog) : names },
]

describe.each(engines)('on the $engine engine', ({ engine, floods }) => {
  let attacked: AttackedServer

  beforeAll(async () => {
    attacked = await AttackedServer.start(engine)
  })

  afterAll(async () => {
    await attacked.stop()
  })

  // These end the attacker's own session, of which the embedded engine has one.
  const isSuicide = (name: CommandName) => engine === 'embedded' && ['sign-out', 'revoke-session'].includes(name)

  it.each(floods.filter((name) => definitionOf(name).route !== undefined && !isSuicide(name)))(
    '[LIM1] withstands a flood of %s over HTTP',
    async (name) => {
      const inputs = new WorstInputs(name, attacked.world)
      const { auth, route } = definitionOf(name)
      const statuses = await attacked.withstand(() =>
        floodHttp({
          url: attacked.server.url,
          cookie: auth === 'none' ? undefined : attacked.takeCookie(),
          method: route?.method ?? 'GET',
          next: () => placeInput(name, inputs.next()),
          forMs: changesTheLog(name) ? writesMs : readsMs,
        }),
      )
      // Inputs that the server refuses at once would attack nothing.
      if (auth === 'session') expect(statuses.get(route?.status ?? 200) ?? 0).toBeGreaterThan(0)
    },
  )

  it.each(floods.filter((name) => definitionOf(name).event !== undefined))(
    '[LIM1] [SLOW1] withstands a flood of %s from a client that stops reading',
    async (name) => {
      await attacked.withstand(() =>
        floodSocket({
          url: attacked.server.url,
          cookie: attacked.takeCookie(),
          event: definitionOf(name).event?.name ?? '',
          inputs: new WorstInputs(name, attacked.world),
          forMs: readsMs,
        }),
      )
    },
  )
})
