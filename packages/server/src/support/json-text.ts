/**
 * Strict JSON parser for every transport. Refuses duplicate keys in an object, keys that could
 * change JavaScript prototypes (such as `__proto__`), deep nesting, and numbers that would be
 * stored as a different number. So two programs never read different values from an accepted text.
 *
 * The text is scanned before it is parsed: `JSON.parse` needs up to 10 ms for 128 kB of small
 * values, while the scan stops at a maximum number of values, far above that of any valid request.
 */

const jsonLimits = {
  /**
   * Maximum nesting depth of a request body: the depth allowed in a message's `data`, plus that of
   * the body around it.
   */
  depthMax: 32,
  /**
   * Maximum number of commas and opening brackets in a text. For comparison: a message's `data` has
   * at most 8 192 bytes.
   */
  valuesMax: 10_000,
} as const

const poisonous = new Set(['__proto__', 'constructor', 'prototype'])

/**
 * Reason why a text was refused. Its message completes a sentence that begins with "the body …" or
 * "the packet …".
 */
export class JsonFault extends Error {}

/** Parses JSON text. Throws {@link JsonFault}. */
export function parseJsonText(text: string): unknown {
  checkLimits(text)
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

/**
 * Checks the depth, the number of values, and the numbers of a text. The text may not even be JSON.
 */
function checkLimits(text: string): void {
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
      if (++depth > jsonLimits.depthMax) throw new JsonFault(`is nested deeper than ${jsonLimits.depthMax}`)
    } else if (code === closingBracket || code === closingBrace) {
      depth--
    } else if (isDigit(code) || code === minus) {
      const end = endOfNumber(text, at)
      if (!isKept(text.slice(at, end)))
        throw new JsonFault('contains a number that cannot be kept; send it as a string')
      at = end - 1
    }
    if (values > jsonLimits.valuesMax) throw new JsonFault(`contains more than ${jsonLimits.valuesMax} values`)
  }
}

/**
 * Returns the index after the closing quote of a string, or the end of the text if there is none.
 */
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

/**
 * Maximum length of numbers without an exponent that are accepted without a check. With so few
 * digits, different numbers are always different doubles.
 */
const plainMaxChars = 15

/**
 * Returns whether a number keeps its value when it is stored as an IEEE 754 double.
 *
 * A fraction is rounded to the nearest double, as in every JSON library. An integer too large to be
 * exact would silently become another integer, so it is refused in any notation. A number that
 * would become 0 or infinite is refused, too. If `text` is not a number at all, `JSON.parse`
 * refuses it later.
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

/**
 * Returns the same text for equal decimal numbers: the significant digits, and the power of ten of
 * the last digit.
 */
function decimalOf(text: string): string {
  const [mantissa = '', exponent = '0'] = text.toLowerCase().split('e')
  const [whole = '', fraction = ''] = mantissa.split('.')
  const digits = `${whole}${fraction}`
  const significant = digits.replace(/0+$/, '')
  return `${significant.replace(/^(-?)0+/, '$1')}e${Number(exponent) - fraction.length + digits.length - significant.length}`
}

/** Checks the keys of a valid JSON text. Keeps the keys of every object that is not yet closed. */
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
