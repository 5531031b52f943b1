/**
 * The OpenAPI 3.1 document, generated from the same schemas that check the requests, so it cannot say anything else.
 */
import * as z from 'zod'
import { commands } from './commands/commands.ts'
import type { RouteDefinition } from './commands/define-command.ts'
import { errorCatalogue } from './errors.ts'
import { PROTOCOL_VERSION } from './version.ts'

type JsonObject = { [key: string]: unknown }

const pathField = /\{(\w+)\}/g

/** The fields of the input that stand in the path. */
export function pathFieldsOf(route: RouteDefinition): readonly string[] {
  return [...route.path.matchAll(pathField)].map((match) => match[1] as string)
}

function inlineSchema(schema: z.ZodType, io: 'input' | 'output', components: JsonObject): JsonObject {
  const {
    $schema: _dialect,
    $defs,
    ...rest
  } = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (jsonSchema.id !== undefined) delete jsonSchema.id
    },
  }) as JsonObject & { $defs?: JsonObject }
  const inlined = JSON.parse(JSON.stringify(rest).replaceAll('#/$defs/', '#/components/schemas/')) as JsonObject
  for (const [name, definition] of Object.entries($defs ?? {})) {
    components[name] ??= JSON.parse(JSON.stringify(definition).replaceAll('#/$defs/', '#/components/schemas/'))
  }
  return inlined
}

function buildOperation(
  command: (typeof commands)[keyof typeof commands],
  route: RouteDefinition,
  components: JsonObject,
): JsonObject {
  const input = inlineSchema(command.input, 'input', components)
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
  const bodySchema =
    route.bodyIs !== undefined
      ? { type: 'object' }
      : {
          type: 'object',
          properties: Object.fromEntries(rest.map((name) => [name, properties[name]])),
          required: rest.filter((name) => required.has(name)),
          additionalProperties: false,
        }
  const success: JsonObject =
    route.status === 204
      ? { description: 'Done' }
      : {
          description: 'Done',
          content: { 'application/json': { schema: inlineSchema(command.result, 'output', components) } },
        }
  return {
    operationId: command.name,
    summary: command.summary,
    ...(command.auth === 'none' && { security: [] }),
    ...(parameters.length > 0 && { parameters }),
    ...(!usesQuery &&
      rest.length > 0 && { requestBody: { required: true, content: { 'application/json': { schema: bodySchema } } } }),
    responses: {
      [String(route.status)]: success,
      ...(route.status === 201 && { '200': { ...success, description: 'It was there already' } }),
      default: { $ref: '#/components/responses/Problem' },
    },
  }
}

/** Builds the document; `serverUrl` is the public address. */
export function buildOpenApiDocument(serverUrl: string): JsonObject {
  const components: JsonObject = {}
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
    security: [{ session: [] }],
    paths,
    components: {
      securitySchemes: { session: { type: 'apiKey', in: 'cookie', name: 'chorus_session' } },
      responses: {
        Problem: {
          description: 'Refused; `code` says why and `retry` what to do next',
          content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
        },
      },
      schemas: {
        ...components,
        Problem: {
          type: 'object',
          required: ['type', 'title', 'status', 'detail', 'code', 'retry'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer' },
            detail: { type: 'string' },
            code: { type: 'string', enum: Object.keys(errorCatalogue) },
            retry: { type: 'string', enum: ['never', 'later'] },
          },
        },
      },
    },
  }
}
