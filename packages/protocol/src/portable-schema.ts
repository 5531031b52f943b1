/**
 * Translates a JSON Schema into a form that client generators understand. The generators for Go,
 * Java, Python and TypeScript accept different subsets; this form compiles in all four: `{}` for
 * any value, `format` instead of bounds of 2^53, `null` as one of the types, one merged object
 * instead of a union of objects, and only patterns that every regular expression library reads.
 */
type JsonObject = { [key: string]: unknown }

const reference = '#/components/schemas/'
const int32Max = 2_147_483_647

/**
 * Translates one JSON schema into the portable form.
 *
 * @param parts - the named schemas that `schema` may refer to
 */
export function toPortableSchema(schema: JsonObject, parts: Readonly<Record<string, JsonObject>>): JsonObject {
  const translate = (one: unknown): unknown => toPortableSchema(one as JsonObject, parts)
  const choices = (schema.anyOf ?? schema.oneOf) as readonly JsonObject[] | undefined
  if (choices !== undefined) return choose(schema, choices, parts)

  const { pattern, const: constant, additionalProperties, minimum, maximum, ...rest } = schema
  const result: JsonObject = rest
  if (schema.type === 'integer') Object.assign(result, integerOf(minimum, maximum))
  if (typeof pattern === 'string' && schema.format === undefined && isPortablePattern(pattern)) result.pattern = pattern
  // Treat a boolean constant as a plain boolean: client generators would make an enumeration of it,
  // which does not compile.
  if (constant !== undefined && typeof constant !== 'boolean') result.enum = [constant]
  if (schema.items !== undefined) result.items = translate(schema.items)
  if (schema.properties !== undefined)
    result.properties = Object.fromEntries(
      Object.entries(schema.properties as JsonObject).map(([name, property]) => [name, translate(property)]),
    )
  // Allow unknown fields explicitly, because generated clients refuse them by default. For request
  // bodies, openapi.ts forbids them.
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

/**
 * Returns whether every regular expression library can read the pattern. All read character
 * classes, groups and counts; not all read what follows `(?` or `\\p`.
 */
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
  // If one alternative of the union accepts any value, the whole union does.
  if (resolved.some((choice) => Object.keys(choice).length === 0)) return rest
  const objects = resolved.flatMap((choice) => alternativesOf(choice, parts))
  if (objects.length > 1 && objects.every(({ type }) => type === 'object')) {
    const merged = mergeObjects(objects, parts)
    // Use a named alternative that already has all fields of the merged object, so that its name is
    // kept.
    const named = others.find((choice) => choice.$ref !== undefined && isCoveredBy(merged, choice, parts))
    return named === undefined || isNullable ? { ...rest, ...merged } : { ...rest, ...named }
  }
  // For a union of texts, such as "a UUID or `me`", use one string type, and name the alternatives
  // in the description.
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

/**
 * Returns the alternatives of a union, at any depth. For any other schema, returns the schema
 * itself.
 */
function alternativesOf(schema: JsonObject, parts: Readonly<Record<string, JsonObject>>): readonly JsonObject[] {
  const choices = (schema.anyOf ?? schema.oneOf) as readonly JsonObject[] | undefined
  if (choices === undefined) return [schema]
  return choices.flatMap((choice) => alternativesOf(resolve(choice, parts), parts))
}

/**
 * Returns whether this alternative of a union has the same properties and required fields as the
 * merged object.
 */
function isCoveredBy(merged: JsonObject, choice: JsonObject, parts: Readonly<Record<string, JsonObject>>): boolean {
  const own = mergeObjects(alternativesOf(resolve(choice, parts), parts), parts)
  const namesOf = ({ properties, required }: JsonObject): string =>
    JSON.stringify([Object.keys(properties as object).sort(), [...((required ?? []) as string[])].sort()])
  return namesOf(own) === namesOf(merged)
}

/**
 * Merges object schemas into one that allows the properties of all of them. A constant that
 * distinguishes the objects becomes a string, because later versions may add values.
 */
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
