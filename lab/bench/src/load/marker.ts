/**
 * Marks message texts so that messages can be counted without decoding their packets. Each text
 * begins with one byte that no other part of any packet contains, followed by the message's number
 * in this run. A search for a single byte is the fastest search of the C library.
 */
export const marker = 0x7e // ~
export const serialDigits = 8
export const markedChars = 1 + serialDigits

/** Maximum number of messages of one run. The load generator stops sending when it is reached. */
export const serialsMax = 4_000_000

/** Number of successive runs that get different ranges of message numbers. */
const serialRuns = Math.floor(10 ** serialDigits / serialsMax)

export function firstSerialOf(run: number): number {
  return (run % serialRuns) * serialsMax
}

/** Returns a message text of exactly `chars` characters that contains the message's number. */
export function markText(serial: number, chars: number): string {
  const head = `~${String(serial).padStart(serialDigits, '0')} `
  return head + filler.slice(0, Math.max(0, chars - head.length))
}

const filler = 'the quick brown fox jumps over the lazy dog and sees what is on the other side of the hill; '.repeat(
  220,
)

/**
 * Returns the message number that follows a marker at position `at`. Throws an error on anything
 * but digits, so that a marker byte from elsewhere is not counted as a message.
 */
export function readSerial(bytes: Uint8Array, at: number): number {
  let serial = 0
  for (let index = at + 1; index <= at + serialDigits; index++) {
    const digit = (bytes[index] ?? 0) - 0x30
    if (digit < 0 || digit > 9) throw new Error('unable to count messages; a marker is not followed by a number')
    serial = serial * 10 + digit
  }
  return serial
}
