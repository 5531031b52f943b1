/**
 * A simulated correct chat without servers, for tests of the checker. Each operation writes the
 * events that the chaos test would have recorded. A test takes this history and damages it in one
 * way. The simulated clock moves only when an operation happens.
 */
import { type ChangeKind, hashText, type HistoryEvent, type PageItem } from '../../history/index.ts'

interface ModelRow {
  readonly seq: number
  readonly kind: ChangeKind
  readonly actor: string
  readonly target: number
  readonly clientId: string
  readonly member: string
  version: number
  hash: number
}

interface ModelLog {
  readonly rows: ModelRow[]
  readonly members: Set<string>
}

interface ModelStream {
  readonly user: string
  isAttached: boolean
  /** Sequence number (seq) of the last delivered change, by conversation. */
  readonly positions: Map<string, number>
}

const epoch = 'epoch-1'
const millisecond = 1_000

export class ModelChat {
  readonly events: HistoryEvent[] = []
  t = 1_000_000_000
  readonly #logs = new Map<string, ModelLog>()
  readonly #streams = new Map<string, ModelStream>()
  #lastId = 0
  #lastClientId = 0
  #lastFault = 0

  pass(ms: number): void {
    this.t += ms * millisecond
  }

  /**
   * Connects a client that uses the client library with its own store. Its process, stream,
   * observer and connection have the same name.
   */
  attach(stream: string, user: string, session = `session of ${user}`): void {
    const known = this.#streams.get(stream)
    if (known === undefined) {
      this.#write({ op: 'observer', observer: stream, stream, kind: 'sdk', process: stream, user, session })
      this.#streams.set(stream, { user, isAttached: true, positions: new Map() })
    } else known.isAttached = true
    this.#write({ op: 'stream', stream, state: 'attached' })
    this.#write({ op: 'connection', connection: stream, process: stream, user, session, state: 'open' })
    this.#write({ op: 'connection', connection: stream, process: stream, user, session, state: 'ready', server: 's1' })
    this.pass(1)
    if (known !== undefined) this.#catchUp(stream, known)
  }

  detach(stream: string): void {
    const state = this.#streams.get(stream)
    if (state === undefined || !state.isAttached) return
    state.isAttached = false
    const session = `session of ${state.user}`
    this.#write({ op: 'stream', stream, state: 'detached', isClean: true })
    this.#write({ op: 'connection', connection: stream, process: stream, user: state.user, session, state: 'closed' })
  }

  create(conversation: string, user: string, members: readonly string[]): void {
    const id = this.#nextId()
    this.#write({ op: 'create', type: 'invoke', id, process: `api of ${user}`, user, members: [...members] })
    this.#logs.set(conversation, { rows: [], members: new Set([user, ...members]) })
    this.#append(conversation, 'n', user, {})
    for (const member of [user, ...members]) this.#append(conversation, 'j', user, { member })
    this.pass(2)
    this.#write({ op: 'create', type: 'ok', id, conversation })
    this.#deliverAll(conversation)
    this.pass(6_000)
  }

  /**
   * Sends a message of the user from `process`, usually the process of the user's client. Returns
   * the message's sequence number.
   */
  send(conversation: string, process: string, user: string, times = 1): number {
    this.#lastClientId += 1
    const clientId = `client-id-${this.#lastClientId}`
    const hash = hashText(`text ${clientId}`)
    let seq = 0
    // If `times` is above 1, all attempts except the last one get no response.
    for (let attempt = 1; attempt <= times; attempt++) {
      const id = this.#nextId()
      const order = times === 1 ? ('outbox' as const) : ('none' as const)
      this.#write({ op: 'send', type: 'invoke', id, process, user, conversation, clientId, hash, order })
      this.pass(2)
      if (attempt < times) {
        this.#write({ op: 'send', type: 'info', id, code: 'timeout' })
        continue
      }
      seq = this.#append(conversation, 'c', user, { clientId, hash })
      this.#write({ op: 'send', type: 'ok', id, seq })
    }
    this.pass(3)
    this.#deliverAll(conversation)
    return seq
  }

  /**
   * Records that the server refused a message of a client that does not use the Chorus client
   * library.
   */
  refuse(conversation: string, process: string, user: string, code = 'unavailable'): string {
    this.#lastClientId += 1
    const clientId = `client-id-${this.#lastClientId}`
    const id = this.#nextId()
    const hash = hashText(`text ${clientId}`)
    this.#write({ op: 'send', type: 'invoke', id, process, user, conversation, clientId, hash, order: 'none' })
    this.pass(2)
    this.#write({ op: 'send', type: 'fail', id, code })
    return clientId
  }

  edit(conversation: string, user: string, target: number): number {
    const id = this.#nextId()
    const hash = hashText(`edit ${id} of ${target}`)
    this.#write({ op: 'edit', type: 'invoke', id, process: `api of ${user}`, user, conversation, target, hash })
    this.pass(2)
    const seq = this.#append(conversation, 'e', user, { target })
    const row = this.#row(conversation, target)
    row.version = seq
    row.hash = hash
    this.#write({ op: 'edit', type: 'ok', id, seq })
    this.#deliverAll(conversation)
    return seq
  }

  delete(conversation: string, user: string, target: number): void {
    const id = this.#nextId()
    this.#write({ op: 'delete', type: 'invoke', id, process: `api of ${user}`, user, conversation, target })
    this.pass(2)
    const seq = this.#append(conversation, 'd', user, { target })
    const row = this.#row(conversation, target)
    row.version = seq
    row.hash = 0
    this.#write({ op: 'delete', type: 'ok', id, seq })
    this.#deliverAll(conversation)
  }

  remove(conversation: string, by: string, member: string): number {
    const id = this.#nextId()
    this.#write({ op: 'member-remove', type: 'invoke', id, process: `api of ${by}`, user: by, conversation, member })
    this.pass(2)
    const seq = this.#append(conversation, 'l', by, { member })
    this.#deliverAll(conversation)
    this.#log(conversation).members.delete(member)
    this.#write({ op: 'member-remove', type: 'ok', id, seq })
    this.pass(1)
    return seq
  }

  add(conversation: string, by: string, member: string): number {
    const id = this.#nextId()
    this.#write({ op: 'member-add', type: 'invoke', id, process: `api of ${by}`, user: by, conversation, member })
    this.pass(2)
    this.#log(conversation).members.add(member)
    const seq = this.#append(conversation, 'j', by, { member })
    this.#write({ op: 'member-add', type: 'ok', id, seq })
    // The new member's clients receive changes from the join on.
    for (const [stream, state] of this.#streams) {
      if (state.user !== member) continue
      state.positions.set(conversation, seq)
      this.#write({ op: 'rebase', observer: stream, conversation, seq, why: 'joined' })
    }
    this.#deliverAll(conversation)
    return seq
  }

  page(
    conversation: string,
    process: string,
    user: string,
    { final, limit = 20 }: { readonly final?: 'client' | 'fresh'; readonly limit?: number } = {},
  ): void {
    const id = this.#nextId()
    this.#write({ op: 'page', type: 'invoke', id, process, user, conversation, ...(final !== undefined && { final }) })
    this.pass(1)
    const { rows } = this.#log(conversation)
    const messages = rows.filter(({ kind }) => kind === 'c')
    const items: PageItem[] = messages
      .slice(-limit)
      .map(({ seq, version, actor, hash }) => ({ seq, version, sender: actor, hash }))
    const page = { top: rows.length, hasBefore: messages.length > limit, hasAfter: false, items }
    this.#write({ op: 'page', type: 'ok', id, page })
  }

  revoke(user: string, session = `session of ${user}`): void {
    const id = this.#nextId()
    this.#write({ op: 'revoke', type: 'invoke', id, process: `api of ${user}`, user, session })
    this.pass(2)
    this.#write({ op: 'revoke', type: 'ok', id })
  }

  /** Adds a fault to the history, with its begin and its end. No other event lies between the two. */
  fault(kind: string, affects: 'redis' | 'server' | 'client' = 'redis', lastsMs = 1_000): void {
    this.#lastFault += 1
    const fault = {
      op: 'fault',
      id: this.#lastFault,
      kind,
      name: `${kind} of ${affects}`,
      targets: [],
      boundMs: 2_000,
    } as const
    this.#write({ ...fault, affects: [affects], phase: 'start' })
    this.pass(lastsMs)
    this.#write({ ...fault, affects: [affects], phase: 'heal' })
    this.pass(10_000)
  }

  tell(connection: string, user: string, status: 'online' | 'offline' | 'unknown'): void {
    this.#write({ op: 'presence', connection, user, status })
  }

  members(conversation: string): readonly string[] {
    return [...this.#log(conversation).members]
  }

  top(conversation: string): number {
    return this.#log(conversation).rows.length
  }

  /**
   * Ends the run: waits until all is quiet, then lets connected clients read everything, and
   * records the rows of the log.
   */
  finish(): readonly HistoryEvent[] {
    this.pass(10_000)
    this.#write({ op: 'phase', phase: 'quiet' })
    this.pass(100)
    for (const [stream, { user, isAttached }] of this.#streams) {
      if (!isAttached) continue
      for (const [conversation, { members }] of this.#logs) {
        if (members.has(user)) this.page(conversation, stream, user, { final: 'client', limit: 1_000 })
      }
    }
    for (const [conversation, { rows, members }] of this.#logs) {
      for (const row of rows) this.#write({ op: 'row', conversation, ...row })
      this.#write({ op: 'conversation', conversation, seq: rows.length, members: [...members] })
    }
    for (const server of ['s1', 's2']) this.#write({ op: 'server', server, what: 'scanned', lines: 10 })
    return this.events
  }

  #catchUp(stream: string, state: ModelStream): void {
    for (const [conversation, { members, rows }] of this.#logs) {
      if (!members.has(state.user)) continue
      const position = state.positions.get(conversation) ?? 0
      for (const row of rows.slice(position)) this.#deliver(stream, conversation, row)
      state.positions.set(conversation, rows.length)
    }
  }

  #deliverAll(conversation: string): void {
    for (const [stream, state] of this.#streams) {
      if (!state.isAttached || !this.#log(conversation).members.has(state.user)) continue
      const position = state.positions.get(conversation) ?? 0
      const { rows } = this.#log(conversation)
      for (const row of rows.slice(position)) this.#deliver(stream, conversation, row)
      state.positions.set(conversation, rows.length)
    }
    this.pass(1)
  }

  #deliver(
    observer: string,
    conversation: string,
    { seq, kind, actor, target, version, hash, member }: ModelRow,
  ): void {
    const isAboutMessage = kind === 'c' || kind === 'e' || kind === 'd'
    const message = isAboutMessage ? this.#row(conversation, target) : undefined
    this.#write({
      op: 'deliver',
      observer,
      epoch,
      conversation,
      seq,
      kind,
      actor,
      target,
      version: message?.version ?? version,
      hash: message?.hash ?? (member === '' ? hash : hashText(member)),
    })
  }

  #append(
    conversation: string,
    kind: ChangeKind,
    actor: string,
    more: { readonly target?: number; readonly clientId?: string; readonly hash?: number; readonly member?: string },
  ): number {
    const { rows } = this.#log(conversation)
    const seq = rows.length + 1
    const { target = seq, clientId = '', hash = 0, member = '' } = more
    rows.push({ seq, kind, actor, target, clientId, member, version: seq, hash })
    return seq
  }

  #row(conversation: string, seq: number): ModelRow {
    const row = this.#log(conversation).rows[seq - 1]
    if (row === undefined) throw new Error(`no seq ${seq} in ${conversation}`)
    return row
  }

  #log(conversation: string): ModelLog {
    const log = this.#logs.get(conversation)
    if (log === undefined) throw new Error(`no conversation ${conversation}`)
    return log
  }

  #nextId(): number {
    this.#lastId += 1
    return this.#lastId
  }

  #write(event: HistoryEvent extends infer Event ? (Event extends unknown ? Omit<Event, 't'> : never) : never): void {
    this.events.push({ t: this.t, ...event })
  }
}
