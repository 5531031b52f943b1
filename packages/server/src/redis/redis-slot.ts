/**
 * Computes the hash slot of a key in a Redis Cluster. Source: the cluster specification of Redis
 * ("Keys distribution model").
 */

/** Returns the hash slot of a key, 0 to 16 383. A key with a hash tag is hashed by its tag only. */
export function slotOfKey(key: string): number {
  const open = key.indexOf('{')
  const close = open === -1 ? -1 : key.indexOf('}', open + 1)
  return crc16(close > open + 1 ? key.slice(open + 1, close) : key) % 16_384
}

/** Returns the checksum CRC-16/XMODEM of a text. */
function crc16(text: string): number {
  let crc = 0
  for (const byte of Buffer.from(text)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021
  }
  return crc & 0xffff
}
