/**
 * Compares a hash over every schema, route, event, limit and error code with the published one.
 * Fails when a change alters the protocol without a new version and a line in the history
 * (version.ts).
 */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import { expect, it } from 'vitest'
import { commands } from './commands/commands.ts'
import type { CommandDefinition } from './commands/define-command.ts'
import { errorCatalogue } from './errors.ts'
import { events } from './events/events.ts'
import { limits } from './limits.ts'
import { PROTOCOL_VERSION } from './version.ts'

/** Hash of each published version. The hash of a version in use must never be edited. */
const hashOfVersion: Readonly<Record<number, string>> = {
  1: 'e998f0697d638b66',
  2: 'cf8026870890a925',
  3: '6337c838c109a6d9',
}

const describeSchema = (schema: z.ZodType, io: 'input' | 'output') =>
  z.toJSONSchema(schema, { io, unrepresentable: 'any' })

function describeWire(): string {
  const definitions = Object.values(commands) as CommandDefinition<string, z.ZodType, z.ZodType, unknown>[]
  return JSON.stringify({
    commands: definitions
      .sort((one, other) => (one.name < other.name ? -1 : 1))
      .map(({ name, auth, input, result, route, event }) => ({
        name,
        auth,
        input: describeSchema(input, 'input'),
        result: describeSchema(result, 'output'),
        route,
        event: event && { name: event.name, ack: describeSchema(event.ack, 'output') },
      })),
    events: Object.entries(events).map(([name, payload]) => ({ name, payload: describeSchema(payload, 'output') })),
    limits,
    errors: errorCatalogue,
  })
}

it('a changed protocol needs a new version number', () => {
  const hash = createHash('sha256').update(describeWire()).digest('hex').slice(0, 16)
  expect(
    hash,
    'The wire has changed. Before a release: write the new hash here. After one: raise PROTOCOL_VERSION, add a line to its history, add the hash.',
  ).toBe(hashOfVersion[PROTOCOL_VERSION])
})

it('each command and event has a unique name and route', () => {
  const definitions = Object.values(commands) as readonly CommandDefinition<string, z.ZodType, z.ZodType, unknown>[]
  for (const [key, { name }] of Object.entries(commands)) expect(name).toBe(key)
  const routes = definitions.flatMap(({ route }) => (route ? [`${route.method} ${route.path}`] : []))
  const names = [...definitions.flatMap(({ event }) => (event ? [event.name] : []))]
  expect(new Set(routes).size).toBe(routes.length)
  expect(new Set(names).size).toBe(names.length)
})
