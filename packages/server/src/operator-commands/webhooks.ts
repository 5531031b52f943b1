/**
 * The operator command `npm run webhooks`, with which operators manage webhook endpoints. Servers
 * notice a change with the next page of the log that they read.
 */
import { randomBytes } from 'node:crypto'
import { type WebhookType, webhookTypes } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import {
  addEndpoint,
  type DeadLetter,
  endpointsMax,
  endRotation,
  listDeadLetters,
  listEndpoints,
  removeEndpoint,
  replay,
  type ReplayFrom,
  retryDeadLetter,
  rotateSecret,
  setEndpointEnabled,
  type WebhookEndpoint,
} from '../jobs/webhooks.ts'
import {
  type Action,
  checkOptions,
  one,
  type OperatorCommand,
  readArguments,
  toLines,
  UsageError,
} from './operator-command.ts'

const usage = `npm run webhooks -- <action>

  add <url> [--types message.created,message.edited]   prints its id and secret
  list
  disable <id> · enable <id> · remove <id>             enable also sends the waiting webhooks
  rotate <id> [--end]                                  add a new secret; --end: remove the old one
  dead-letters                                         list the newest 100
  retry <event id> [--endpoint <id>]                   send one dead letter again
  replay <id> --from <conversation>/<seq>              send everything from there again, under the same ids
  replay <id> --since <ISO time>

types: ${webhookTypes.join(', ')}
`

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const deadLettersShown = 100
const urlMaxChars = 2_048

/** Allowed options of each action, for actions that have options. */
const knownOptions: Readonly<Record<string, readonly string[]>> = {
  add: ['types'],
  rotate: ['end'],
  retry: ['endpoint'],
  replay: ['from', 'since'],
}

export const webhooksCommand: OperatorCommand = { readAction }

function readAction(args: readonly string[]): Action {
  const { plain, options } = readArguments(args, ['end'])
  const [what, ...rest] = plain
  checkOptions(what, options, knownOptions)
  switch (what) {
    case 'add': {
      const url = readUrl(one(what, rest, 'a URL'))
      const types = readTypes(options.get('types'))
      return async (database) => {
        const [id, secret] = [uuidv7(), createSecret()]
        if (!(await addEndpoint(database, { id, url, types, secret })))
          throw new UsageError(`unable to add; there are ${endpointsMax} endpoints already`)
        return `added ${id}\nsecret ${secret}\n`
      }
    }
    case 'list':
      return async (database) => {
        const endpoints = await listEndpoints(database)
        return endpoints.length === 0 ? 'no endpoints\n' : toLines(endpoints.map(describeEndpoint))
      }
    case 'disable':
    case 'enable': {
      const id = readId(what, rest)
      return async (database) => {
        if (!(await setEndpointEnabled(database, id, what === 'enable'))) throw unknownEndpoint(what, id)
        return `${what}d ${id}\n`
      }
    }
    case 'remove': {
      const id = readId(what, rest)
      return async (database) => {
        if (!(await removeEndpoint(database, id))) throw unknownEndpoint(what, id)
        return `removed ${id}\n`
      }
    }
    case 'rotate': {
      const id = readId(what, rest)
      if (options.has('end')) {
        return async (database) => {
          if (!(await endRotation(database, id))) throw unknownEndpoint(what, id)
          return `the old secret of ${id} no longer signs\n`
        }
      }
      return async (database) => {
        const secret = createSecret()
        if (!(await rotateSecret(database, id, secret))) throw unknownEndpoint(what, id)
        return `secret ${secret}\nboth secrets sign until: npm run webhooks -- rotate ${id} --end\n`
      }
    }
    case 'dead-letters':
      return async (database) => {
        const letters = await listDeadLetters(database, deadLettersShown)
        return letters.length === 0 ? 'no dead letters\n' : toLines(letters.map(describeDeadLetter))
      }
    case 'retry': {
      const eventId = one(what, rest, 'the id of an event')
      const endpoint = options.get('endpoint')
      if (endpoint !== undefined && !uuid.test(endpoint))
        throw new UsageError(`unable to retry; ${endpoint} is not an id`)
      return async (database) => {
        const count = await retryDeadLetter(database, eventId, endpoint)
        if (count === 0) throw new UsageError(`unable to retry; there is no dead letter ${eventId}`)
        return `due again: ${count}\n`
      }
    }
    case 'replay': {
      const id = readId(what, rest)
      const from = readStart(options)
      return async (database) => {
        const count = await replay(database, id, from, await database.epoch())
        if (count === undefined) throw unknownEndpoint(what, id)
        return `due again: ${count}\n`
      }
    }
    default:
      throw new UsageError(what === undefined ? usage : `unable to ${what}; the action is unknown\n\n${usage}`)
  }
}

function describeEndpoint(endpoint: WebhookEndpoint): string {
  const { id, url, types, enabled, disabledReason, failingSince, due, dead } = endpoint
  return [
    id,
    url,
    types?.join(',') ?? 'all types',
    enabled ? 'enabled' : `disabled (${disabledReason ?? ''})`,
    ...(failingSince === null ? [] : [`failing since ${failingSince}`]),
    `${due} due`,
    `${dead} dead`,
  ].join('  ')
}

function describeDeadLetter({ eventId, endpoint, attempts, lastStatus, lastError, deadAt }: DeadLetter): string {
  return `${eventId}  endpoint ${endpoint}  ${attempts} attempts until ${deadAt}  ${lastStatus ?? 'no answer'} (${lastError ?? ''})`
}

function readId(what: string, rest: readonly string[]): string {
  const id = one(what, rest, 'the id of an endpoint')
  if (!uuid.test(id)) throw new UsageError(`unable to ${what}; ${JSON.stringify(id)} is not the id of an endpoint`)
  return id
}

function readUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new UsageError('unable to add; expected an address like https://example.org/hook')
  if (url.username !== '' || url.password !== '')
    throw new UsageError('unable to add; the address contains a password: the signature authenticates the sender')
  if (url.hash !== '') throw new UsageError('unable to add; the address contains a fragment, which is never sent')
  if (url.port === '0') throw new UsageError('unable to add; port 0 is not a valid port')
  if (url.href.length > urlMaxChars)
    throw new UsageError(`unable to add; the address is longer than ${urlMaxChars} characters`)
  return url.href
}

function readTypes(text: string | undefined): readonly WebhookType[] | null {
  if (text === undefined) return null
  const types = text.split(',').map((type) => type.trim())
  const unknown = types.find((type) => !webhookTypes.includes(type as WebhookType))
  if (unknown !== undefined)
    throw new UsageError(`unable to add; ${JSON.stringify(unknown)} is not a type; expected ${webhookTypes.join(', ')}`)
  return types as WebhookType[]
}

function readStart(options: ReadonlyMap<string, string>): ReplayFrom {
  const [from, since] = [options.get('from'), options.get('since')]
  if ((from === undefined) === (since === undefined))
    throw new UsageError('unable to replay; expected --from <conversation>/<seq> or --since <ISO time>')
  if (from !== undefined) {
    const [conversation = '', seq = ''] = from.split('/')
    if (!uuid.test(conversation) || !/^[1-9]\d{0,14}$/.test(seq))
      throw new UsageError(`unable to replay; ${JSON.stringify(from)} is not <conversation>/<seq>`)
    return { kind: 'seq', conversation, seq: Number(seq) }
  }
  const time = new Date(since ?? '')
  if (!/^\d{4}-\d\d-\d\d/.test(since ?? '') || Number.isNaN(time.getTime()))
    throw new UsageError(`unable to replay; ${JSON.stringify(since)} is not a time like 2026-01-31T12:00:00Z`)
  return { kind: 'time', since: time.toISOString() }
}

function createSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`
}

function unknownEndpoint(what: string, id: string): UsageError {
  return new UsageError(`unable to ${what}; there is no endpoint ${id}`)
}
