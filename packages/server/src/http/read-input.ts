/**
 * Builds the input of a command from an HTTP request. Some fields are in the path; the others come
 * from the query (GET, DELETE) or from the body. Integers and lists are converted as the command's
 * schema says; all other fields stay text. The schema then checks the input and refuses unknown
 * fields.
 */
import { ChorusError, commands, pathFieldsOf } from '@chorus/protocol'
import type { CommandName, RouteDefinition } from '@chorus/protocol'
import type { FastifyRequest } from 'fastify'
import * as z from 'zod'
import { verbOf } from '../dispatch/parse-input.ts'

type FieldType = 'integer' | 'list' | 'text'

interface JsonSchema {
  readonly $ref?: string
  readonly type?: string
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly $defs?: Readonly<Record<string, JsonSchema>>
}

/**
 * Returns the type of each field of a command, so that fields can be read from a path or a query.
 */
function fieldTypesOf(name: CommandName): ReadonlyMap<string, FieldType> {
  const schema = z.toJSONSchema(commands[name].input, { io: 'input', unrepresentable: 'any' }) as JsonSchema
  return new Map(
    Object.entries(schema.properties ?? {}).map(([field, property]) => {
      const named = property.$ref === undefined ? property : schema.$defs?.[property.$ref.replace('#/$defs/', '')]
      return [field, named?.type === 'integer' ? 'integer' : named?.type === 'array' ? 'list' : 'text']
    }),
  )
}

function toValue(text: string, type: FieldType | undefined): unknown {
  switch (type) {
    case 'integer':
      return /^(?:0|-?[1-9]\d{0,19})$/.test(text) ? Number(text) : text
    case 'list':
      return text === '' ? [] : text.split(',')
    case 'text':
    case undefined:
      return text
  }
}

/** Returns a function that builds the input of this command from a request. */
export function createInputReader(name: CommandName, route: RouteDefinition): (request: FastifyRequest) => unknown {
  const types = fieldTypesOf(name)
  const inPath = new Set(pathFieldsOf(route))
  const usesQuery = route.method === 'GET' || route.method === 'DELETE'

  function refuse(reason: string): never {
    throw new ChorusError('invalid', `unable to ${verbOf(name)}; ${reason}`)
  }

  function readQuery(request: FastifyRequest): [string, unknown][] {
    return Object.entries(request.query as Record<string, string | string[]>).map(([field, text]) => {
      if (inPath.has(field)) refuse(`${field} is already in the path`)
      if (typeof text !== 'string') refuse(`${field} is given twice`)
      return [field, toValue(text, types.get(field))]
    })
  }

  function readBody(body: unknown): [string, unknown][] {
    if (body === undefined) return []
    if (typeof body !== 'object' || body === null || Array.isArray(body)) refuse('the body is not an object')
    const fields = Object.entries(body)
    for (const [field] of fields) if (inPath.has(field)) refuse(`${field} is already in the path`)
    return fields
  }

  return (request) => {
    const path = Object.entries(request.params as Record<string, string>).map(([field, text]): [string, unknown] => [
      field,
      toValue(text, types.get(field)),
    ])
    const query = readQuery(request)
    if (usesQuery) {
      if (readBody(request.body).length > 0) refuse('the body must be empty')
      return Object.fromEntries([...path, ...query])
    }
    if (query.length > 0) refuse('the query must be empty')
    if (route.bodyIs !== undefined) return Object.fromEntries([...path, [route.bodyIs, request.body]])
    return Object.fromEntries([...path, ...readBody(request.body)])
  }
}
