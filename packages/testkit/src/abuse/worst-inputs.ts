/**
 * Builds the most expensive inputs that a command's schema allows, from the schema itself, so new
 * commands are covered automatically. Strings and lists have their maximum length, ids are real ids
 * from the attacker's own data, and every input differs from the previous one.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { commands, type CommandName } from '@chorus/protocol'
import * as z from 'zod'

/**
 * Ids that the attacker may use in its inputs: conversations of which it is a member, existing
 * users, and seqs up to the newest.
 */
export interface AttackerWorld {
  readonly conversations: readonly string[]
  readonly users: readonly string[]
  readonly sessions: readonly string[]
  /** Ids of users that an API key manages. */
  readonly externalIds: readonly string[]
  /** Message with a card that the attacker may act on. */
  readonly card: { readonly conversation: string; readonly seq: number }
  /** Subject that has a conversation. */
  readonly subject: { readonly type: string; readonly id: string }
  readonly topSeq: number
  readonly handle: string
  readonly password: string
}

/**
 * Input sizes. `largest` fills every field to its limit. `mixed` fills the required fields and one
 * optional field, because some optional fields exclude each other. `least` fills only the required
 * fields, as short as allowed.
 */
const inputSizes = ['largest', 'mixed', 'least'] as const
type InputSize = (typeof inputSizes)[number]

interface JsonSchema {
  readonly $ref?: string
  readonly $defs?: Readonly<Record<string, JsonSchema>>
  readonly type?: string | readonly string[]
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  readonly allOf?: readonly JsonSchema[]
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly items?: JsonSchema
  readonly format?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly minimum?: number
  readonly maximum?: number
}

/**
 * Length of the string that is sent as the largest JSON value. It is below the limit of `data` (8
 * 192 bytes) and above the limit of live values (1 024 bytes).
 */
const freeValueChars = 8_100
const defaultListItems = 100
const emojis = ['👍', '🎉', '❤️', '😀', '🚀', '👀', '🙈', '🔥', '✅', '💡']

export class WorstInputs {
  readonly #command: CommandName
  readonly #schema: JsonSchema
  readonly #world: AttackerWorld
  #made = 0
  #state = 1

  constructor(command: CommandName, world: AttackerWorld) {
    this.#command = command
    this.#schema = z.toJSONSchema(commands[command].input, { io: 'input', unrepresentable: 'any' }) as JsonSchema
    this.#world = world
  }

  /**
   * Returns the next input: an object with the command's fields. The sizes are chosen
   * pseudorandomly.
   */
  next(): Record<string, unknown> {
    this.#made++
    const input = this.#make(this.#schema, '', this.#pick(inputSizes))
    return { ...(typeof input === 'object' && input !== null ? input : {}), ...this.#belongingTogether() }
  }

  /** Returns fields that only reach something together. */
  #belongingTogether(): Record<string, unknown> {
    const { card, subject } = this.#world
    switch (this.#command) {
      case 'act-on-card':
        return { ...card, version: 1, action: 'accept' }
      case 'update-card':
        return { ...card, version: 1 }
      case 'get-subject-conversation':
        return subject
      case 'put-subject-conversation':
        return this.#made % 2 === 0 ? subject : {}
      default:
        return {}
    }
  }

  #make(schema: JsonSchema, field: string, size: InputSize): unknown {
    if (schema.$ref !== undefined) {
      const name = schema.$ref.split('/').at(-1) ?? ''
      return this.#make(this.#schema.$defs?.[name] ?? {}, field, size)
    }
    const known = this.#byName(field)
    if (known !== undefined && schema.type !== 'array') return known
    if (schema.const !== undefined) return schema.const
    if (schema.enum !== undefined) return this.#pick(schema.enum)
    const choices = schema.anyOf ?? schema.oneOf
    if (choices !== undefined) return this.#make(this.#pick(choices), field, size)
    if (schema.allOf !== undefined && schema.properties === undefined && schema.type === undefined) {
      return this.#make(schema.allOf[0] ?? {}, field, size)
    }
    switch (typeof schema.type === 'string' ? schema.type : schema.type?.[0]) {
      case 'object':
        return this.#makeObject(schema, size)
      case 'array':
        return this.#makeList(schema, field, size)
      case 'string':
        return this.#makeText(schema, size)
      case 'integer':
      case 'number':
        return size === 'least' ? (schema.minimum ?? 0) : (schema.maximum ?? Number.MAX_SAFE_INTEGER)
      case 'boolean':
        return this.#made % 2 === 0
      case 'null':
        return null
      case undefined:
      default:
        return { value: 'x'.repeat(size === 'largest' ? freeValueChars : 900), made: this.#made }
    }
  }

  #makeObject(schema: JsonSchema, size: InputSize): Record<string, unknown> {
    const required = new Set(schema.required)
    // Omit paging fields: they would end a read early, and the first page is the most expensive.
    const names = Object.keys(schema.properties ?? {}).filter((name) => name !== 'page' && name !== 'cursor')
    const optional = names.filter((name) => !required.has(name))
    const mixed = optional.length === 0 ? undefined : this.#pick(optional)
    return Object.fromEntries(
      names
        .filter((name) => required.has(name) || size === 'largest' || (size === 'mixed' && name === mixed))
        .map((name) => [name, this.#make(schema.properties?.[name] ?? {}, name, size)]),
    )
  }

  #makeList(schema: JsonSchema, field: string, size: InputSize): unknown[] {
    const items = schema.items ?? {}
    const known = items.type === 'object' ? undefined : this.#listByName(field)
    const most = schema.maxItems ?? defaultListItems
    const length = size === 'least' ? (schema.minItems ?? 0) : known === undefined ? most : Math.min(most, known.length)
    return Array.from({ length }, (_, index) => (known === undefined ? this.#make(items, field, size) : known[index]))
  }

  #makeText({ minLength = 0, maxLength = 100, format }: JsonSchema, size: InputSize): string {
    if (format === 'uuid') return randomUUID()
    const length = size === 'largest' ? maxLength : Math.max(1, minLength)
    return `${this.#made.toString(36)}-`.padEnd(length, 'x').slice(0, length)
  }

  #listByName(field: string): readonly string[] | undefined {
    const { users, externalIds } = this.#world
    if (field === 'by') return externalIds
    if (!['members', 'users', 'ids'].includes(field)) return undefined
    return commands[this.#command].auth === 'key' ? externalIds : users
  }

  #byName(field: string): unknown {
    const { conversations, users, sessions, externalIds, topSeq, handle, password } = this.#world
    switch (field) {
      case 'conversation':
        return this.#pick(conversations)
      case 'user':
        return this.#pick(users)
      case 'id':
        return this.#pick([this.#pick(users), this.#pick(sessions)])
      case 'as':
        return this.#pick(externalIds)
      case 'externalId':
        return this.#made % 2 === 0 ? this.#pick(externalIds) : `e${randomBytes(8).toString('hex')}`
      case 'avatar':
        return this.#pick([null, `https://pictures.example/${'a'.repeat(2_000)}`])
      case 'email':
        return this.#pick([null, `a${randomBytes(8).toString('hex')}@example.org`])
      case 'seq':
      case 'replyTo':
        return 1 + (this.#made % topSeq)
      case 'emoji':
        return this.#pick(emojis)
      case 'handle':
        return this.#made % 2 === 0 ? handle : `h${randomBytes(8).toString('hex')}`
      case 'password':
        return password
      case 'clientId':
        return randomUUID()
      case 'key':
        return `k${this.#made}`
      case 'role':
        return 'member'
      case 'attachments':
        return []
      default:
        return undefined
    }
  }

  /**
   * Picks a pseudorandom value, so that the choices of different fields are independent. The
   * sequence is the same in every run.
   */
  #pick<Value>(values: readonly Value[]): Value {
    // The random number generator is mulberry32 (public domain).
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    const value = values[Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * values.length)]
    if (value === undefined) throw new Error('unable to pick a value; there is none')
    return value
  }
}
