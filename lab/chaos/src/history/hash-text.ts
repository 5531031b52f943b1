/**
 * Returns a 53-bit hash of a text (cyrb53, public domain), which distinguishes the texts of a run.
 * It takes a tenth of a microsecond per character. It is not cryptographic, because no client of a
 * run tries to cause collisions. For 1 000 000 different texts, the probability of no collision is
 * 0.99994. The empty text of a deleted message has hash 0.
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
