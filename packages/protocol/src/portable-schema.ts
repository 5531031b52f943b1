/**
 * A JSON Schema as generators of clients understand it. Those of Go, Java, Python and TypeScript differ in what they take;
 * this is what all four compile: `{}` for any value, `format` instead of bounds of 2^53, null as one more type, one object
 * instead of a union by a constant field, patterns that every regular expression library reads.
 */
type JsonObject = { [key: string]: unknown }

const reference = '#/components/schemas/'
const int32Max = 2_147_483_647

/** @param parts - the named schemas that `schema` may refer to */
export function toPortableSchema(schema: JsonObject, parts: Readonly<Record<string, JsonObject>>): JsonObject {
  const translate = (one: unknown): unknown => toPortableSchema(one as JsonObject, parts)
  const choices = (schema.anyOf ?? schema.oneOf) as readonly JsonObject[] | undefined
  if (choices !== undefined) return choose(schema, choices, parts)

  const { pattern, const: constant, additionalProperties, minimum, maximum, ...rest } = schema
  const result: JsonObject = rest
  if (schema.type === 'integer') Object.assign(result, integerOf(minimum, maximum))
  if (typeof pattern === 'string' && schema.format === undefined && isPortablePattern(pattern)) result.pattern = pattern
  // A boolean of one value is a boolean: generators make an enumeration of it that does not compile.
  if (constant !== undefined && typeof constant !== 'boolean') result.enum = [constant]
  if (schema.items !== undefined) result.items = translate(schema.items)
  if (schema.properties !== undefined)
    result.properties = Object.fromEntries(
      Object.entries(schema.properties as JsonObject).map(([name, property]) => [name, translate(property)]),
    )
  // Open in so many words: generated readers refuse unknown fields where nothing is said. Request bodies are closed where
  // they are put together.
  if (typeof additionalProperties === 'object' && Object.keys(additionalProperties as object).length > 0)
    result.additionalProperties = translate(additionalProperties)
  else if (schema.type === 'object') result.additionalProperties = true
  return result
}

function integerOf(minimum: unknown, maximum: unknown): JsonObject {
  const isSmall = typeof maximum === 'number' && maximum <= int32Max
  return {
    format: isSmall ? 'int32' : 'int64',
    ...(typeof minimum === 'number' && minimum > Number.MIN_SAFE_INTEGER && { minimum }),
    ...(isSmall && { maximum }),
  }
}

/** Every library of regular expressions reads character classes, groups and counts; not all read what is behind `(?` or `\\p`. */
function isPortablePattern(pattern: string): boolean {
  return !/\(\?[^:]|\\[pPuU]|["'`]/.test(pattern)
}

function choose(
  { anyOf: _any, oneOf: _one, ...rest }: JsonObject,
  choices: readonly JsonObject[],
  parts: Readonly<Record<string, JsonObject>>,
): JsonObject {
  const others = choices.filter(({ type }) => type !== 'null')
  const isNullable = others.length < choices.length
  const resolved = others.map((choice) => resolve(choice, parts))
  // Any value at all, null too.
  if (resolved.some((choice) => Object.keys(choice).length === 0)) return rest
  const objects = resolved.flatMap((choice) => alternativesOf(choice, parts))
  if (objects.length > 1 && objects.every(({ type }) => type === 'object')) {
    const merged = mergeObjects(objects, parts)
    // A named union that holds all of it already keeps its name.
    const named = others.find((choice) => choice.$ref !== undefined && isCoveredBy(merged, choice, parts))
    return named === undefined || isNullable ? { ...rest, ...merged } : { ...rest, ...named }
  }
  // "A UUID or `me`": one type of text, whose forms the description names.
  if (others.length > 1 && resolved.every(({ type }) => type === 'string'))
    return { ...rest, type: isNullable ? ['string', 'null'] : 'string', description: describeTexts(resolved) }
  const translated = others.map((choice) => toPortableSchema(choice, parts))
  const [only] = translated
  if (!isNullable) return translated.length === 1 ? { ...only, ...rest } : { ...rest, oneOf: translated }
  const [one] = resolved
  if (others.length === 1 && typeof one?.type === 'string' && one.type !== 'object' && one.enum === undefined)
    return { ...toPortableSchema(one, parts), ...rest, type: [one.type, 'null'] }
  return { ...rest, oneOf: [...translated, { type: 'null' }] }
}

function describeTexts(texts: readonly JsonObject[]): string {
  const forms = texts.map(({ const: constant, format, description }) => {
    if (typeof constant === 'string') return `\`${constant}\``
    if (typeof description === 'string') return description.replace(/\.$/, '')
    return typeof format === 'string' ? format : 'text'
  })
  return `${forms.join(', or ')}.`
}

function resolve(schema: JsonObject, parts: Readonly<Record<string, JsonObject>>): JsonObject {
  const { $ref } = schema
  return typeof $ref === 'string' ? (parts[$ref.slice(reference.length)] ?? schema) : schema
}

/** The schemas that a union chooses from, at any depth; of anything else the schema itself. */
function alternativesOf(schema: JsonObject, parts: Readonly<Record<string, JsonObject>>): readonly JsonObject[] {
  const choices = (schema.anyOf ?? schema.oneOf) as readonly JsonObject[] | undefined
  if (choices === undefined) return [schema]
  return choices.flatMap((choice) => alternativesOf(resolve(choice, parts), parts))
}

/** Does this choice alone name every property, and require no more? */
function isCoveredBy(merged: JsonObject, choice: JsonObject, parts: Readonly<Record<string, JsonObject>>): boolean {
  const own = mergeObjects(alternativesOf(resolve(choice, parts), parts), parts)
  const namesOf = ({ properties, required }: JsonObject): string =>
    JSON.stringify([Object.keys(properties as object).sort(), [...((required ?? []) as string[])].sort()])
  return namesOf(own) === namesOf(merged)
}

/** One object that holds what any of these may hold. A constant that tells them apart is text: others may come. */
function mergeObjects(objects: readonly JsonObject[], parts: Readonly<Record<string, JsonObject>>): JsonObject {
  const properties: JsonObject = {}
  const constants = new Map<string, string[]>()
  for (const object of objects) {
    for (const [name, property] of Object.entries((object.properties ?? {}) as Record<string, JsonObject>)) {
      properties[name] ??= toPortableSchema(property, parts)
      if (typeof property.const === 'string') constants.set(name, [...(constants.get(name) ?? []), property.const])
    }
  }
  for (const [name, values] of constants)
    properties[name] = { type: 'string', description: `One of: ${values.join(', ')}; later versions add others.` }
  const required = objects
    .map((object) => (object.required ?? []) as readonly string[])
    .reduce((common, names) => common.filter((name) => names.includes(name)))
  return { type: 'object', properties, ...(required.length > 0 && { required }), additionalProperties: true }
}
