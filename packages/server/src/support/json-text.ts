/**
 * JSON as strictly as a server should read it, over every road: no key twice in an object, no key that poisons prototypes,
 * no nesting without end, no number that is stored as another one. What two readers could understand differently is
 * refused (N70, N71, N73).
 *
 * The text is walked before it is parsed. `JSON.parse` needs up to 10 ms for 128 kB that consist of small values; the walk
 * stops at a bound on them, which no request of the protocol comes near.
 */

const jsonBounds = {
  /** Deepest nesting of a body: what a message's data may have, and the body around it. */
  depthMax: 32,
  /** Commas and opening brackets; `data` has at most 8 192 bytes. */
  valuesMax: 10_000,
} as const

const poisonous = new Set(['__proto__', 'constructor', 'prototype'])

/** Why it was refused; completes "the body …" or "the packet …". */
export class JsonFault extends Error {}

/** Throws {@link JsonFault}. */
export function parseJsonText(text: string): unknown {
  checkBounds(text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new JsonFault('is not JSON')
  }
  checkKeys(text)
  return value
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const minus = 0x2d
const digit0 = 0x30
const digit9 = 0x39
const openingBracket = 0x5b
const closingBracket = 0x5d
const openingBrace = 0x7b
const closingBrace = 0x7d

const isDigit = (code: number): boolean => code >= digit0 && code <= digit9

/** Walks over text that may not be JSON at all. */
function checkBounds(text: string): void {
  let depth = 0
  let values = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      at = endOfString(text, at) - 1
    } else if (code === comma) {
      values++
    } else if (code === openingBracket || code === openingBrace) {
      values++
      if (++depth > jsonBounds.depthMax) throw new JsonFault(`is nested deeper than ${jsonBounds.depthMax}`)
    } else if (code === closingBracket || code === closingBrace) {
      depth--
    } else if (isDigit(code) || code === minus) {
      const end = endOfNumber(text, at)
      if (!isKept(text.slice(at, end)))
        throw new JsonFault('contains a number that cannot be kept; send it as a string')
      at = end - 1
    }
    if (values > jsonBounds.valuesMax) throw new JsonFault(`contains more than ${jsonBounds.valuesMax} values`)
  }
}

/** The index behind the closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let from = start + 1; ; ) {
    const end = text.indexOf('"', from)
    if (end === -1) return text.length
    let before = end - 1
    while (text.charCodeAt(before) === backslash) before--
    if ((end - before) % 2 === 1) return end + 1
    from = end + 1
  }
}

function endOfNumber(text: string, start: number): number {
  let at = start + 1
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (!isDigit(code) && code !== 0x2e && code !== 0x65 && code !== 0x45 && code !== 0x2b && code !== minus) break
  }
  return at
}

/** Every number of so many characters without an exponent is one that a double tells from its neighbours. */
const plainMaxChars = 15

/**
 * Numbers are stored as IEEE 754 doubles. A fraction is the nearest double, as every JSON library reads it. A number that is
 * too large for that to be exact would silently become another integer: it is refused, whatever its form, and so is one that
 * becomes 0 or has no end. `text` may be no number at all; then `JSON.parse` refuses it.
 */
function isKept(text: string): boolean {
  const isPlain = !/e/i.test(text)
  if (isPlain && text.length <= plainMaxChars) return true
  const value = Number(text)
  if (Number.isNaN(value)) return true
  if (!Number.isFinite(value)) return false
  if (value === 0) return !/[1-9]/.test(text.split(/e/i, 1)[0] as string)
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER || decimalOf(text) === decimalOf(String(value))
}

/** One spelling of a decimal number: its significant digits, and the power of ten of the last one. */
function decimalOf(text: string): string {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const digits = `${whole}${fraction}`
  const significant = digits.replace(/0+$/, '')
  return `${significant.replace(/^(-?)0+/, '$1')}e${Number(exponent) - fraction.length + digits.length - significant.length}`
}

/** Walks over text that is known to be JSON, with the keys of every object that is open. */
function checkKeys(text: string): void {
  const open: (Set<string> | undefined)[] = []
  let expectsKey = false
  for (let at = 0; at < text.length; at++) {
    switch (text.charCodeAt(at)) {
      case quote: {
        const end = endOfString(text, at)
        if (expectsKey) {
          checkKey(text.slice(at, end), open.at(-1))
          expectsKey = false
        }
        at = end - 1
        break
      }
      case openingBrace:
        expectsKey = true
        open.push(new Set())
        break
      case openingBracket:
        expectsKey = false
        open.push(undefined)
        break
      case closingBrace:
      case closingBracket:
        open.pop()
        expectsKey = false
        break
      case comma:
        expectsKey = open.at(-1) !== undefined
        break
      default:
        break
    }
  }
}

function checkKey(quoted: string, keys: Set<string> | undefined): void {
  const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1)
  if (poisonous.has(key)) throw new JsonFault(`contains the key ${key}`)
  if (keys?.has(key) === true) throw new JsonFault('contains a key twice')
  keys?.add(key)
}
