/**
 * JSON as strictly as a server should read it: UTF-8 without faults and without a byte order mark, no key twice in an
 * object, no key that poisons prototypes, no nesting without end. What two readers could understand differently is
 * refused (N70, N71, N73, N75).
 */

/** Deepest nesting of a body: what a message's data may have, and the body around it. */
const depthMax = 32

const poisonous = new Set(['__proto__', 'constructor', 'prototype'])

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Why it was refused; completes "the body …". */
export class JsonFault extends Error {}

/** Undefined for an empty body. Throws {@link JsonFault}. */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return undefined
  let text: string
  try {
    text = decoder.decode(bytes)
  } catch {
    throw new JsonFault('is not UTF-8')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new JsonFault('is not JSON')
  }
  checkShape(text)
  return value
}

/** Walks over text that is known to be JSON, with the keys of every object that is open. */
function checkShape(text: string): void {
  const open: (Set<string> | undefined)[] = []
  let expectsKey = false
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"': {
        const end = endOfString(text, at)
        if (expectsKey) {
          checkKey(text.slice(at, end), open.at(-1))
          expectsKey = false
        }
        at = end - 1
        break
      }
      case '{':
      case '[':
        expectsKey = text[at] === '{'
        open.push(expectsKey ? new Set() : undefined)
        if (open.length > depthMax) throw new JsonFault(`is nested deeper than ${depthMax}`)
        break
      case '}':
      case ']':
        open.pop()
        expectsKey = false
        break
      case ',':
        expectsKey = open.at(-1) !== undefined
        break
      default:
        break
    }
  }
}

/** The index behind the closing quote. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

function checkKey(quoted: string, keys: Set<string> | undefined): void {
  const key = JSON.parse(quoted) as string
  if (poisonous.has(key)) throw new JsonFault(`contains the key ${key}`)
  if (keys?.has(key) === true) throw new JsonFault('contains a key twice')
  keys?.add(key)
}
