/**
 * A 53-bit hash (cyrb53, public domain) that tells texts of a run apart in a tenth of a microsecond per character. Not
 * for secrets: nobody in a run wants a collision, and of 1 000 000 different texts none collide with probability
 * 0.99994. The empty text, which is what a deleted message has, is 0.
 */
export function hashText(text: string): number {
  if (text === '') return 0
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index)
    high = Math.imul(high ^ code, 2654435761)
    low = Math.imul(low ^ code, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return 4294967296 * (2097151 & low) + (high >>> 0)
}
