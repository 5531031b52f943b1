/**
 * Socket.IO's event packets, read and answered without its decoder and emitter, which take a packet through two ticks, four
 * events and a dozen objects. `2<id>["name",payload]` is what nearly all traffic is; anything else (another namespace,
 * attachments, broken JSON) is undefined here and goes the ordinary way, which knows what to do with it.
 */
export interface EventPacket {
  /** What the answer is to name; undefined when none is expected. */
  readonly id: number | undefined
  readonly name: string
  readonly payload: unknown
}

const digit0 = 0x30
const digit9 = 0x39
const event = 0x32
const openingBracket = 0x5b
/** Digits of an id; longer ones are left to Socket.IO. */
const idMaxDigits = 15

export function readEventPacket(data: unknown): EventPacket | undefined {
  if (typeof data !== 'string' || data.charCodeAt(0) !== event) return undefined
  let at = 1
  let id = 0
  for (; at <= idMaxDigits; at++) {
    const code = data.charCodeAt(at)
    if (!(code >= digit0 && code <= digit9)) break
    id = id * 10 + code - digit0
  }
  if (data.charCodeAt(at) !== openingBracket) return undefined
  const parts = parse(data.slice(at))
  if (!Array.isArray(parts)) return undefined
  const [name, payload] = parts as unknown[]
  return typeof name === 'string' ? { id: at === 1 ? undefined : id, name, payload } : undefined
}

/** The packet that answers event `id`, as Engine.IO carries it. */
export function answerPacket(id: number, body: object): string {
  return `3${id}[${JSON.stringify(body)}]`
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
