/**
 * Marks messages so that they can be counted without decoding. Each text begins with one byte that
 * no other part of any packet contains, followed by the message's number in this run. Searching for
 * one byte is the fastest search of the C library.
 */
export const marker = 0x7e // ~
export const serialDigits = 8
export const markedChars = 1 + serialDigits

/** Maximum number of messages of one run. Beyond it, the generator stops. */
export const serialsMax = 4_000_000

/** Number of successive runs whose message numbers differ. */
const serialRuns = Math.floor(10 ** serialDigits / serialsMax)

export function firstSerialOf(run: number): number {
  return (run % serialRuns) * serialsMax
}

/** Returns a text of exactly `chars` characters that contains the number. */
export function markText(serial: number, chars: number): string {
  const head = `~${String(serial).padStart(serialDigits, '0')} `
  return head + filler.slice(0, Math.max(0, chars - head.length))
}

const filler = 'the quick brown fox jumps over the lazy dog and sees what is on the other side of the hill; '.repeat(
  220,
)

/**
 * Returns the number after a marker at `at`. Throws on anything but digits, so that a foreign
 * marker cannot count.
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
