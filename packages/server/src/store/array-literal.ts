/**
 * Arrays as Postgres reads them from text. The driver's own way looks at every element for what it might be and escapes by
 * regular expression; the log knows what its columns hold, and sends thousands of elements a second.
 */

/** Of values that need no quotes and are never null: ids, numbers, hex. */
export function plainArray(values: readonly (string | number)[]): string {
  return `{${values.join(',')}}`
}

export function bigintArray(values: readonly (number | null)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`
}

export function textArray(values: readonly (string | null)[]): string {
  let literal = '{'
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as string | null
    if (index > 0) literal += ','
    literal += value === null ? 'NULL' : `"${escape(value)}"`
  }
  return `${literal}}`
}

/** Of bytes as hex. */
export function byteaArray(hexes: readonly string[]): string {
  return hexes.length === 0 ? '{}' : `{"\\\\x${hexes.join('","\\\\x')}"}`
}

function escape(text: string): string {
  return text.includes('"') || text.includes('\\') ? text.replaceAll(/["\\]/g, '\\$&') : text
}
