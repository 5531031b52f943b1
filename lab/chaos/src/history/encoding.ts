/**
 * Converts the events of a chaos run to lines of a history file, and back.
 *
 * Frequent events (deliveries, rows, sent messages, acknowledgements, pages) are JSON arrays that
 * begin with a letter. Other events are plain JSON objects. Times are relative to the file's first
 * line. Repeated names are written as numbers, and a separate line defines each number before its
 * first use. A delivery takes about 55 bytes, a sent message with its acknowledgement about 130. So
 * a run of 100 000 messages with 12 receivers each takes about 80 MB.
 */
import type { ChangeKind, HistoryEvent, InvokeEvent, OperationName, PageItem } from './events.ts'

export const formatVersion = 1

/** Content of the first line of every history file. */
export interface FileHeader {
  readonly chorusHistory: number
  /** Name of the workload process that wrote the file. */
  readonly origin: string
  readonly pid: number
  /** Time from which all other times in this file are counted. */
  readonly t0: number
}

/**
 * Error for a line that the encoder cannot have written. Its reader adds the file and the line
 * number to the message.
 */
export class UnreadableLine extends Error {}

const operations: readonly OperationName[] = [
  'send',
  'edit',
  'delete',
  'react',
  'unreact',
  'read-marker',
  'page',
  'create',
  'member-add',
  'member-remove',
  'revoke',
]
const orders = ['outbox', 'connection', 'none'] as const

/**
 * Encodes events as lines. Each file needs an encoder of its own, because names are numbered per
 * file.
 */
export class LineEncoder {
  readonly #t0: number
  readonly #names = new Map<string, number>()
  #definitions = ''

  constructor(t0: number) {
    this.#t0 = t0
  }

  /**
   * Returns the event's line with its newline. Lines that define names come before it, for names
   * that occur in the file for the first time.
   */
  encode(event: HistoryEvent): string {
    const line = this.#toLine(event)
    const text = this.#definitions + line + '\n'
    this.#definitions = ''
    return text
  }

  #name(name: string): number {
    const known = this.#names.get(name)
    if (known !== undefined) return known
    const number = this.#names.size
    this.#names.set(name, number)
    this.#definitions += `["n",${JSON.stringify(name)}]\n`
    return number
  }

  #toLine(event: HistoryEvent): string {
    const t = event.t - this.#t0
    switch (event.op) {
      case 'deliver': {
        const { seq, target, version } = event
        return `["d",${t},${this.#name(event.observer)},${this.#name(event.epoch)},${this.#name(event.conversation)},${seq},"${event.kind}",${this.#name(event.actor)},${target - seq},${version - seq},${event.hash}]`
      }
      case 'row': {
        const { seq, target, version } = event
        return `["r",${t},${this.#name(event.conversation)},${seq},"${event.kind}",${this.#name(event.actor)},${target - seq},${version - seq},${event.hash},${JSON.stringify(event.clientId)},${this.#name(event.member)}]`
      }
      case 'send':
        if (event.type !== 'invoke') break
        return JSON.stringify([
          's',
          t,
          event.id,
          this.#name(event.process),
          this.#name(event.user),
          this.#name(event.conversation),
          event.clientId,
          event.hash,
          orders.indexOf(event.order),
          ...(event.connection === undefined ? [] : [this.#name(event.connection)]),
        ])
      default:
    }
    if ('type' in event && event.type === 'ok') {
      if (event.page !== undefined) {
        const { top, hasBefore, hasAfter, items } = event.page
        const flat: number[] = []
        for (const { seq, version, sender, hash } of items) flat.push(seq, version - seq, this.#name(sender), hash)
        return JSON.stringify(['p', t, event.id, top, (hasBefore ? 1 : 0) + (hasAfter ? 2 : 0), flat])
      }
      if (event.conversation === undefined) {
        return `["k",${t},${event.id},${operations.indexOf(event.op)},${event.seq ?? 0},${event.isDuplicate === true ? 1 : 0}]`
      }
    }
    return JSON.stringify({ ...event, t })
  }
}

/** Decodes the lines of one file, in order. */
export class LineDecoder {
  readonly #header: FileHeader
  readonly #idOffset: number
  readonly #names: string[] = []

  /** @param idOffset - Number that is added to operation ids, which count from 1 in each file */
  constructor(header: FileHeader, idOffset: number) {
    this.#header = header
    this.#idOffset = idOffset
  }

  /**
   * Decodes a line. Returns undefined for a line that defines a name. Throws an error for a line
   * that the encoder cannot have written.
   */
  decode(line: string): HistoryEvent | undefined {
    const parsed: unknown = JSON.parse(line)
    if (Array.isArray(parsed)) return this.#decodeTuple(parsed as readonly unknown[])
    if (typeof parsed !== 'object' || parsed === null || !('op' in parsed) || !('t' in parsed)) {
      throw new UnreadableLine('is neither an event nor a name')
    }
    const event = parsed as HistoryEvent
    const t = event.t + this.#header.t0
    if ('type' in event) return { ...event, t, id: event.id + this.#idOffset }
    return { ...event, t }
  }

  #nameOf(number: number): string {
    const name = this.#names[number]
    if (name === undefined) throw new UnreadableLine(`uses name ${number}, which was not defined before it`)
    return name
  }

  #decodeTuple(tuple: readonly unknown[]): HistoryEvent | undefined {
    // Checks only the letter at the start of the line. The other values are not checked, because in
    // a damaged file the letter is usually wrong, too.
    const number = (index: number) => tuple[index] as number
    const t = number(1) + this.#header.t0
    switch (tuple[0]) {
      case 'n':
        this.#names.push(tuple[1] as string)
        return undefined
      case 'd': {
        const seq = number(5)
        return {
          op: 'deliver',
          t,
          observer: this.#nameOf(number(2)),
          epoch: this.#nameOf(number(3)),
          conversation: this.#nameOf(number(4)),
          seq,
          kind: tuple[6] as ChangeKind,
          actor: this.#nameOf(number(7)),
          target: seq + number(8),
          version: seq + number(9),
          hash: number(10),
        }
      }
      case 'r': {
        const seq = number(3)
        return {
          op: 'row',
          t,
          conversation: this.#nameOf(number(2)),
          seq,
          kind: tuple[4] as ChangeKind,
          actor: this.#nameOf(number(5)),
          target: seq + number(6),
          version: seq + number(7),
          hash: number(8),
          clientId: tuple[9] as string,
          member: this.#nameOf(number(10)),
        }
      }
      case 's':
        return this.#decodeSend(tuple, t)
      case 'k': {
        const seq = number(4)
        return {
          op: operations[number(3)] ?? 'send',
          type: 'ok',
          t,
          id: number(2) + this.#idOffset,
          ...(seq !== 0 && { seq }),
          ...(number(5) === 1 && { isDuplicate: true }),
        }
      }
      case 'p': {
        const items = this.#decodeItems(tuple[5] as readonly number[])
        const flags = number(4)
        return {
          op: 'page',
          type: 'ok',
          t,
          id: number(2) + this.#idOffset,
          page: { top: number(3), hasBefore: (flags & 1) !== 0, hasAfter: (flags & 2) !== 0, items },
        }
      }
      default:
        throw new UnreadableLine(`begins with ${JSON.stringify(tuple[0])}, which is no kind of line`)
    }
  }

  #decodeSend(tuple: readonly unknown[], t: number): InvokeEvent {
    const number = (index: number) => tuple[index] as number
    const connection = tuple[9] === undefined ? undefined : this.#nameOf(number(9))
    return {
      op: 'send',
      type: 'invoke',
      t,
      id: number(2) + this.#idOffset,
      process: this.#nameOf(number(3)),
      user: this.#nameOf(number(4)),
      conversation: this.#nameOf(number(5)),
      clientId: tuple[6] as string,
      hash: number(7),
      order: orders[number(8)] ?? 'none',
      ...(connection !== undefined && { connection }),
    }
  }

  /** Decodes the messages of a page, four numbers each. */
  #decodeItems(flat: readonly number[]): PageItem[] {
    const items: PageItem[] = []
    for (let index = 0; index + 3 < flat.length; index += 4) {
      const seq = flat[index] ?? 0
      items.push({
        seq,
        version: seq + (flat[index + 1] ?? 0),
        sender: this.#nameOf(flat[index + 2] ?? -1),
        hash: flat[index + 3] ?? 0,
      })
    }
    return items
  }
}
