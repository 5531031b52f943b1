/**
 * Runs a comparison server of Socket.IO and its Redis adapter under the same kinds of faults as
 * Chorus, with the same checker. The checker must find lost messages, or its verdicts prove
 * nothing.
 *
 * Rooms of users are spread over several servers, and every client sends messages and waits for
 * acknowledgements. Redis loses its subscribers' connections and is restarted. Clients reconnect
 * automatically, as socket.io-client does.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Databases, type Redis, startPostgres, startRedis } from '@chorus/testkit'
import { io, type Socket } from 'socket.io-client'
import { hashText, HistoryWriter, nowMicros } from '../history/index.ts'

export interface PeerOptions {
  readonly folder: string
  readonly seed: number
  readonly commit: string
  readonly faults: number
  readonly servers: number
  readonly clients: number
  /** Number of messages that all clients together send per second. */
  readonly rate: number
  readonly say: (line: string) => void
}

const roomCount = 6
const membersPerRoom = 5
const answerTimeoutMs = 5_000
const retryMs = 100
const betweenFaultsMs = 2_000
const restMs = 5_000
const cutEveryMs = 5
const publishMs = 30
const startTimeoutMs = 20_000
const serverPath = fileURLToPath(new URL('../../peers/socket-io-redis/server.mjs', import.meta.url))

interface Answer {
  readonly ok: boolean
  readonly seq?: number
  readonly duplicate?: boolean
}

interface MessageEvent {
  readonly room: string
  readonly seq: number
  readonly sender: string
  readonly text: string
}

interface Client {
  readonly name: string
  readonly user: string
  readonly rooms: readonly string[]
  readonly socket: Socket
}

interface Room {
  readonly id: string
  readonly members: readonly string[]
}

/** Runs the comparison server, and writes the history to the folder. */
export async function runSocketIoPeer(options: PeerOptions): Promise<void> {
  const writer = new HistoryWriter({ folder: options.folder, origin: 'peer' })
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()])
  const servers: ChildProcess[] = []
  const clients: Client[] = []
  try {
    const databaseUrl = await postgres.createDatabase()
    const users = Array.from({ length: options.clients }, (_, index) => `user-${index}`)
    const rooms = Array.from({ length: roomCount }, (_, room) => ({
      id: `room-${room}`,
      members: Array.from({ length: membersPerRoom }, (_none, place) => users[(room * 3 + place) % users.length] ?? ''),
    }))
    await makeTables(postgres, databaseUrl, rooms)
    writeBeginning(writer, options, rooms)
    for (let index = 0; index < options.servers; index++) {
      servers.push(await startPeerServer(databaseUrl, redis.url))
    }
    const ports = await Promise.all(servers.map(portOf))
    for (const [index, user] of users.entries()) {
      const own = rooms.filter(({ members }) => members.includes(user)).map(({ id }) => id)
      clients.push(await connectClient(writer, `peer-${index}`, user, own, ports[index % ports.length] ?? 0))
    }

    const sending = new AbortController()
    const senders = clients.map((client) =>
      keepSending(writer, client, (1_000 * options.clients) / options.rate, sending.signal),
    )
    await pause(betweenFaultsMs)
    for (let fault = 1; fault <= options.faults; fault++) {
      await breakRedis(writer, redis, fault)
      options.say(`fault ${fault} of ${options.faults} healed`)
      await pause(betweenFaultsMs)
    }
    sending.abort()
    await Promise.all(senders)
    await sendLastWords(writer, redis, clients, options.faults + 1)
    await pause(restMs)
    writer.write({ t: nowMicros(), op: 'phase', phase: 'quiet' })
    await writeEnd(writer, postgres, databaseUrl, rooms)
    writer.write({ t: nowMicros(), op: 'phase', phase: 'end' })
  } finally {
    for (const { socket } of clients) socket.disconnect()
    for (const server of servers) server.kill('SIGKILL')
    await redis.remove()
    await postgres.remove()
    writer.close()
  }
}

async function makeTables(databases: Databases, url: string, rooms: readonly Room[]): Promise<void> {
  await databases.query('create table rooms (id text primary key, seq bigint not null)', [], url)
  await databases.query(
    `create table messages (room text not null, seq bigint not null, sender text not null, client_id text not null,
       text text not null, primary key (room, seq), unique (sender, client_id))`,
    [],
    url,
  )
  // Each room's sequence numbers begin after one for each member, as if the log contained a join of
  // each member.
  for (const { id, members } of rooms) {
    await databases.query('insert into rooms values ($1, $2)', [id, members.length], url)
  }
}

function writeBeginning(writer: HistoryWriter, options: PeerOptions, rooms: readonly Room[]): void {
  const { seed, commit, faults, servers, clients, rate } = options
  writer.write({
    t: nowMicros(),
    op: 'run',
    name: 'Socket.IO with its Redis adapter',
    seed,
    commit,
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, Node ${process.versions.node}`,
    startedAt: new Date().toISOString(),
    settings: { faults, servers, clients, rate },
  })
  for (const { id, members } of rooms) {
    const operation = { t: nowMicros(), op: 'create' as const, id: writer.nextId() }
    writer.write({ ...operation, type: 'invoke', process: 'run', user: members[0] ?? '', members: members.slice(1) })
    writer.write({ ...operation, type: 'ok', conversation: id })
  }
}

async function startPeerServer(databaseUrl: string, redisUrl: string): Promise<ChildProcess> {
  return fork(serverPath, {
    env: { ...process.env, DATABASE_URL: databaseUrl, REDIS_URL: redisUrl },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}

async function portOf(server: ChildProcess): Promise<number> {
  const [message] = (await once(server, 'message', { signal: AbortSignal.timeout(startTimeoutMs) })) as [
    { readonly port: number },
  ]
  return message.port
}

async function connectClient(
  writer: HistoryWriter,
  name: string,
  user: string,
  rooms: readonly string[],
  port: number,
): Promise<Client> {
  const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true, auth: { user, rooms } })
  const session = `session of ${user}`
  writer.write({
    t: nowMicros(),
    op: 'observer',
    observer: name,
    stream: name,
    kind: 'socket-io',
    process: name,
    user,
    session,
  })
  socket.on('message', ({ room, seq, sender, text }: MessageEvent) => {
    writer.write({
      t: nowMicros(),
      op: 'deliver',
      observer: name,
      epoch: 'peer',
      conversation: room,
      seq,
      kind: 'c',
      actor: sender,
      target: seq,
      version: seq,
      hash: hashText(text),
    })
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('ready', resolve)
    setTimeout(() => reject(new Error(`unable to connect ${name}`)), startTimeoutMs).unref()
  })
  for (const room of rooms) {
    writer.write({
      t: nowMicros(),
      op: 'rebase',
      observer: name,
      conversation: room,
      seq: membersPerRoom,
      why: 'start',
    })
  }
  writer.write({ t: nowMicros(), op: 'stream', stream: name, state: 'attached' })
  return { name, user, rooms, socket }
}

/** Sends one message after another. Each message is retried until it is acknowledged. */
async function keepSending(writer: HistoryWriter, client: Client, everyMs: number, signal: AbortSignal): Promise<void> {
  const { rooms } = client
  const isOver = (): boolean => signal.aborted
  for (let count = 0; !isOver() && rooms.length > 0; count++) {
    await pause(everyMs * (0.5 + Math.random()))
    await sendUntilAnswered(writer, client, rooms[count % rooms.length] ?? '', isOver)
  }
}

async function sendUntilAnswered(
  writer: HistoryWriter,
  { name, user, socket }: Client,
  conversation: string,
  isOver: () => boolean,
): Promise<void> {
  const clientId = randomUUID()
  const text = `${clientId} of ${name}`
  for (;;) {
    const id = writer.nextId()
    const send = { op: 'send' as const, id }
    writer.write({
      ...send,
      t: nowMicros(),
      type: 'invoke',
      process: name,
      user,
      conversation,
      clientId,
      hash: hashText(text),
      order: 'outbox',
    })
    const answer = await ask(socket, { room: conversation, clientId, text })
    if (answer?.seq === undefined) writer.write({ ...send, t: nowMicros(), type: 'info', code: 'timeout' })
    else {
      const { seq, duplicate = false } = answer
      writer.write({ ...send, t: nowMicros(), type: 'ok', seq, ...(duplicate && { isDuplicate: true }) })
    }
    if (isOver() || answer?.seq !== undefined) return
    await pause(retryMs)
  }
}

/**
 * Sends a last message to each room while Redis repeatedly loses its subscribers. A subscriber
 * reconnects no earlier than 50 ms after a cut, so these messages reach no other server. This makes
 * the loss certain and not a matter of chance.
 */
async function sendLastWords(
  writer: HistoryWriter,
  redis: Redis,
  clients: readonly Client[],
  id: number,
): Promise<void> {
  const cut = (): Promise<unknown> => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  const fault = describeCut(id)
  writer.write({ ...fault, t: nowMicros(), phase: 'start' })
  const speakers = new Map(clients.flatMap((client) => client.rooms.map((room) => [room, client] as const)))
  for (const [room, speaker] of speakers) {
    const cutting = new AbortController()
    await cut()
    const keepCutting = (async () => {
      while (!cutting.signal.aborted) {
        await pause(cutEveryMs)
        await cut()
      }
    })()
    await sendUntilAnswered(writer, speaker, room, () => false)
    // The server publishes a message right before it acknowledges it. Waits until the publish has
    // taken place, while the subscribers are still cut off.
    await pause(publishMs)
    cutting.abort()
    await keepCutting
  }
  writer.write({ ...fault, t: nowMicros(), phase: 'heal' })
}

async function ask(socket: Socket, message: object): Promise<Answer | undefined> {
  try {
    return (await socket.timeout(answerTimeoutMs).emitWithAck('send', message)) as Answer
  } catch {
    return undefined
  }
}

function describeCut(id: number) {
  return {
    op: 'fault' as const,
    id,
    kind: 'F5',
    name: 'subscribers cut',
    targets: ['redis'],
    affects: ['redis' as const],
    boundMs: 2_000,
  }
}

/**
 * Injects one of two alternating faults: cuts the subscribers' connections, or kills Redis and
 * starts it empty.
 */
async function breakRedis(writer: HistoryWriter, redis: Redis, id: number): Promise<void> {
  const isCut = id % 2 === 1
  const fault = isCut ? describeCut(id) : { ...describeCut(id), kind: 'F4', name: 'Redis killed and started empty' }
  writer.write({ ...fault, t: nowMicros(), phase: 'start' })
  if (isCut) await redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  else {
    await redis.kill9()
    await redis.start({ isEmpty: true })
  }
  writer.write({ ...fault, t: nowMicros(), phase: 'heal' })
}

async function writeEnd(
  writer: HistoryWriter,
  databases: Databases,
  url: string,
  rooms: readonly Room[],
): Promise<void> {
  const t = nowMicros()
  for (const { id: conversation, members } of rooms) {
    for (const [index, member] of members.entries()) {
      const seq = index + 1
      const facts = {
        conversation,
        seq,
        kind: 'j' as const,
        actor: members[0] ?? '',
        target: seq,
        version: seq,
        hash: 0,
      }
      writer.write({ t, op: 'row', ...facts, clientId: '', member })
    }
    const stored = await databases.query<{ seq: string; sender: string; client_id: string; text: string }>(
      'select seq, sender, client_id, text from messages where room = $1 order by seq',
      [conversation],
      url,
    )
    for (const { seq: text, sender, client_id: clientId, text: body } of stored) {
      const seq = Number(text)
      const facts = { conversation, seq, kind: 'c' as const, actor: sender, target: seq, version: seq }
      writer.write({ t, op: 'row', ...facts, hash: hashText(body), clientId, member: '' })
    }
    const seq = Number(stored.at(-1)?.seq ?? members.length)
    writer.write({ t, op: 'conversation', conversation, seq, members: [...members] })
  }
}
