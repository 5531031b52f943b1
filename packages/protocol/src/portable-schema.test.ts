/**
 * Tests that client generators accept the OpenAPI document, and that the clients they generate
 * accept the server's responses.
 */
import { describe, expect, it } from 'vitest'
import { buildOpenApiDocument } from './openapi.ts'
import { toPortableSchema } from './portable-schema.ts'

type JsonObject = { [key: string]: unknown }

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, JsonObject>>>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonObject>> }
}

const document = buildOpenApiDocument('https://chat.example') as unknown as Document

/** Yields every object in a JSON document, with its path. */
function* walk(value: unknown, place: string): Generator<[string, JsonObject]> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield [place, value as JsonObject]
  for (const [key, child] of Object.entries(value)) yield* walk(child, `${place}/${key}`)
}

const schemas = [...walk(document.components, ''), ...walk(document.paths, '')]
const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
const operationOf = (id: string): JsonObject => operations.find(({ operationId }) => operationId === id)!

describe('the OpenAPI document', () => {
  it('the OpenAPI document has no constants, and no unions except with `null`', () => {
    for (const [place, schema] of schemas) {
      expect(schema.anyOf, place).toBeUndefined()
      expect(schema.const, place).toBeUndefined()
      if (!Array.isArray(schema.oneOf)) continue
      const [one, none, ...more] = schema.oneOf as JsonObject[]
      expect([none, more], place).toEqual([{ type: 'null' }, []])
      expect(one?.$ref !== undefined || one?.enum !== undefined, place).toBe(true)
    }
  })

  it('every integer in the OpenAPI document has a format and no bound of 2^53', () => {
    const integers = schemas.filter(
      ([, { type }]) => type === 'integer' || (Array.isArray(type) && type[0] === 'integer'),
    )
    expect(integers.length).toBeGreaterThan(10)
    for (const [place, { format, maximum = 0 }] of integers) {
      expect(['int32', 'int64'], place).toContain(format)
      expect(maximum, place).toBeLessThanOrEqual(2_147_483_647)
    }
    expect(document.components.schemas.Seq).toMatchObject({ type: 'integer', format: 'int64' })
  })

  it('the OpenAPI document has only patterns that every regular expression library reads', () => {
    for (const [place, { pattern }] of schemas)
      if (typeof pattern === 'string') expect(pattern, place).not.toMatch(/\(\?[^:]|\\[pPuU]|["'`]/)
  })

  it('the OpenAPI document allows any JSON value as message `data`', () => {
    expect(document.components.schemas.Message).toMatchObject({ properties: { data: {} } })
    expect((document.components.schemas.Message!.properties as JsonObject).data).toEqual({})
  })

  it('in the OpenAPI document, only responses allow unknown fields', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      if (schema.type !== 'object') continue
      expect([name, schema.additionalProperties]).toEqual([name, !name.endsWith('Body')])
    }
    for (const [place, { additionalProperties }] of walk(document.components.schemas, ''))
      if (!/Body$/.test(place)) expect(additionalProperties, place).not.toBe(false)
  })

  it('the OpenAPI document allows changes of unknown types', () => {
    const { Change } = document.components.schemas
    expect(Change).toMatchObject({ type: 'object', properties: { type: { type: 'string' } } })
    expect((Change!.properties as { type: JsonObject }).type.enum).toBeUndefined()
    expect(new Set(Change!.required as string[])).toEqual(new Set(['seq', 'type']))
  })

  it('the OpenAPI document requires a request body exactly where the server does', () => {
    expect(operationOf('send-message').requestBody).toMatchObject({ required: true })
    expect(operationOf('update-session-data').requestBody).toMatchObject({ required: true })
    expect(operationOf('put-member').requestBody).toMatchObject({ required: false })
    for (const operation of operations.filter(({ requestBody }) => requestBody !== undefined)) {
      const { required, content } = operation.requestBody as { required: boolean; content: JsonObject }
      const { schema } = content['application/json'] as { schema: JsonObject }
      const body = document.components.schemas[String(schema.$ref).split('/').at(-1) ?? '']
      if (body !== undefined)
        expect([operation.operationId, required]).toEqual([operation.operationId, Array.isArray(body.required)])
    }
  })

  it('the OpenAPI document refers only to schemas that exist', () => {
    for (const [place, { $ref }] of schemas)
      if (typeof $ref === 'string' && $ref.includes('/schemas/'))
        expect(Object.keys(document.components.schemas), place).toContain($ref.split('/').at(-1))
  })
})

describe('a portable schema', () => {
  const part = { type: 'object', properties: { a: { type: 'string' } }, additionalProperties: false }

  it.each([
    [{ anyOf: [{ type: 'string', maxLength: 3 }, { type: 'null' }] }, { type: ['string', 'null'], maxLength: 3 }],
    [{ anyOf: [{}, { type: 'null' }] }, {}],
    [
      { anyOf: [{ $ref: '#/components/schemas/Part' }, { type: 'null' }] },
      { oneOf: [{ $ref: '#/components/schemas/Part' }, { type: 'null' }] },
    ],
    [
      { type: 'integer', minimum: 0, maximum: 9_007_199_254_740_991 },
      { type: 'integer', format: 'int64', minimum: 0 },
    ],
    [
      { type: 'integer', minimum: 1, maximum: 200, default: 50 },
      { type: 'integer', format: 'int32', minimum: 1, maximum: 200, default: 50 },
    ],
    [{ type: 'boolean', const: true }, { type: 'boolean' }],
    [
      { type: 'string', const: 'x' },
      { type: 'string', enum: ['x'] },
    ],
    [{ type: 'string', pattern: '\\p{L}' }, { type: 'string' }],
    [
      { type: 'string', pattern: '^[a-z]+$' },
      { type: 'string', pattern: '^[a-z]+$' },
    ],
  ])('`toPortableSchema` translates %j to %j', (schema, expected) => {
    expect(toPortableSchema(schema, { Part: part })).toEqual(expected)
  })
})
