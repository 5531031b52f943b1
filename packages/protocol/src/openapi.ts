/**
 * Builds the OpenAPI 3.1 document from the same schemas that check the requests, so the two cannot
 * differ.
 *
 * Client generators in many languages read the document, and they support only a part of JSON
 * Schema; portable-schema.ts translates the schemas into the part that all generators support.
 * Schemas of request bodies forbid unknown fields, because the server refuses them. Schemas of
 * responses allow unknown fields, so that a client of today accepts a field added tomorrow.
 */
import * as z from 'zod'
import { commands } from './commands/commands.ts'
import type { RouteDefinition } from './commands/define-command.ts'
import { errorCatalogue } from './errors.ts'
import { toPortableSchema } from './portable-schema.ts'
import { PROTOCOL_VERSION } from './version.ts'

type JsonObject = { [key: string]: unknown }

const pathField = /\{(\w+)\}/g

/** Returns the input fields that appear in the path. */
export function pathFieldsOf(route: RouteDefinition): readonly string[] {
  return [...route.path.matchAll(pathField)].map((match) => match[1] as string)
}

/** A JSON schema, together with the named schemas that it refers to. */
interface Described {
  readonly schema: JsonObject
  readonly parts: Readonly<Record<string, JsonObject>>
}

function describe(schema: z.ZodType, io: 'input' | 'output'): Described {
  const {
    $schema: _dialect,
    $defs = {},
    ...rest
  } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (jsonSchema.id !== undefined) delete jsonSchema.id
    },
  }) as JsonObject & { $defs?: Record<string, JsonObject> }
  const toComponents = (part: JsonObject): JsonObject =>
    JSON.parse(JSON.stringify(part).replaceAll('#/$defs/', '#/components/schemas/')) as JsonObject
  return {
    schema: toComponents(rest),
    parts: Object.fromEntries(Object.entries($defs).map(([name, part]) => [name, toComponents(part)])),
  }
}

/** Collects the named schemas of the OpenAPI document. */
class Components {
  readonly #schemas: Record<string, JsonObject> = {}

  /**
   * Returns `schema` in portable form. Adds the named schemas that it refers to (`parts`) to the
   * document.
   */
  add({ schema, parts }: Described): JsonObject {
    for (const [name, part] of Object.entries(parts)) this.#schemas[name] ??= toPortableSchema(part, parts)
    return toPortableSchema(schema, parts)
  }

  /**
   * Gives the schema a name and returns a reference to it, because client generators invent names
   * for unnamed schemas.
   */
  name(name: string, schema: JsonObject): JsonObject {
    if (schema.$ref !== undefined) return schema
    this.#schemas[name] ??= schema
    return { $ref: `#/components/schemas/${name}` }
  }

  get schemas(): Readonly<Record<string, JsonObject>> {
    return this.#schemas
  }
}

function pascalCase(name: string): string {
  return name.replace(/(?:^|-)(\w)/g, (_dash, letter: string) => letter.toUpperCase())
}

function buildOperation(
  command: (typeof commands)[keyof typeof commands],
  route: RouteDefinition,
  components: Components,
): JsonObject {
  const input = components.add(describe(command.input, 'input'))
  const properties = (input.properties ?? {}) as Record<string, JsonObject>
  const required = new Set((input.required ?? []) as string[])
  const inPath = new Set(pathFieldsOf(route))
  const rest = Object.keys(properties).filter((field) => !inPath.has(field))
  const usesQuery = route.method === 'GET' || route.method === 'DELETE'

  const parameters: JsonObject[] = [...inPath].map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: properties[name],
  }))
  if (usesQuery) {
    for (const name of rest) {
      const isList = properties[name]?.type === 'array'
      parameters.push({
        name,
        in: 'query',
        required: required.has(name),
        schema: properties[name],
        ...(isList && { style: 'form', explode: false }),
      })
    }
  }
  const requiredInBody = rest.filter((name) => required.has(name))
  const bodySchema = (): JsonObject =>
    route.bodyIs !== undefined
      ? { type: 'object', additionalProperties: true }
      : components.name(`${pascalCase(command.name)}Body`, {
          type: 'object',
          properties: Object.fromEntries(rest.map((name) => [name, properties[name]])),
          ...(requiredInBody.length > 0 && { required: requiredInBody }),
          additionalProperties: false,
        })
  const success = (description: string): JsonObject => {
    if (route.status === 204) return { description }
    const result = components.add(describe(command.result, 'output'))
    const schema = components.name(`${pascalCase(command.name)}Result`, result)
    return { description, content: { 'application/json': { schema } } }
  }
  return {
    operationId: command.name,
    summary: command.summary,
    ...securityOf(command),
    ...(parameters.length > 0 && { parameters }),
    ...(!usesQuery &&
      rest.length > 0 && {
        requestBody: {
          required: requiredInBody.length > 0,
          content: { 'application/json': { schema: bodySchema() } },
        },
      }),
    responses: {
      [String(route.status)]: success('Done'),
      ...(route.status === 201 && { '200': success('It already existed') }),
      default: { $ref: '#/components/responses/Problem' },
    },
  }
}

/** Returns the credentials of a command, if they differ from those of the whole document. */
function securityOf({ auth, ownSession }: (typeof commands)[keyof typeof commands]): JsonObject {
  if (auth === 'none') return { security: [] }
  if (auth === 'key') return { security: [{ apiKey: [] }] }
  return ownSession === true ? { security: [{ session: [] }] } : {}
}

/** Builds the OpenAPI document. `serverUrl` is the public address of the server. */
export function buildOpenApiDocument(serverUrl: string): JsonObject {
  const components = new Components()
  const paths: Record<string, JsonObject> = {}
  for (const command of Object.values(commands)) {
    if (command.route === undefined) continue
    const path = (paths[command.route.path] ??= {})
    path[command.route.method.toLowerCase()] = buildOperation(command, command.route, components)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Chorus',
      version: `${PROTOCOL_VERSION}.0.0`,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: serverUrl }],
    security: [{ session: [] }, { apiKey: [] }, { userToken: [] }],
    paths,
    components: {
      securitySchemes: {
        session: { type: 'apiKey', in: 'cookie', name: 'chorus_session' },
        apiKey: {
          type: 'http',
          scheme: 'bearer',
          description: 'Secret of an API key. The header `Chorus-As` names the user as whom the key acts.',
        },
        userToken: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'A token that an API key signed for a user. `Chorus-Device` names the session.',
        },
      },
      responses: {
        Problem: {
          description: 'Error; `code` names the reason, `retry` tells whether to retry',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
      schemas: {
        ...components.schemas,
        Problem: {
          type: 'object',
          additionalProperties: true,
          required: ['type', 'title', 'status', 'detail', 'code', 'retry'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer', format: 'int32' },
            detail: { type: 'string' },
            code: { type: 'string', description: `One of: ${Object.keys(errorCatalogue).join(', ')}.` },
            retry: { type: 'string', description: 'One of: never, later.' },
            current: { description: 'State that the request did not know; set only for `stale`.' },
          },
        },
      },
    },
  }
}
