/**
 * Delivery over real connections, to the right users only. A removed member receives nothing after
 * the removal's place in the log, on any transport. A revoked session ends on every transport. Live
 * values, presence and read markers reach only the users that may see them.
 */
import { randomUUID } from 'node:crypto'
import { EngineClient, HttpUser, SocketUser, SseClient, waitForFact } from '@chorus/testkit'
import type { ServerProcess } from '@chorus/testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startQuickServer } from '../quick-server.ts'

let server: ServerProcess

beforeAll(async () => {
  server = await startQuickServer({ env: { LIMIT_SENDS: '0', LIMIT_REQUESTS: '0', LIMIT_SIGN_INS_ADDRESS: '0' } })
})

afterAll(async () => {
  await server.remove()
})

const signUp = () => HttpUser.signUp(() => server.url)

interface Changes {
  readonly conversation: string
  readonly changes: readonly { readonly seq: number; readonly type: string; readonly user?: string }[]
}

/**
 * Opens one connection per transport for a user. Each entry of the result returns the events that
 * this connection has received.
 */
async function listenEverywhere(user: HttpUser) {
  const websocket = await SocketUser.connect(server.url, { cookie: user.cookie, transports: ['websocket'] })
  const polling = await SocketUser.connect(server.url, { cookie: user.cookie, transports: ['polling'] })
  const raw = await EngineClient.connect(server.url, { cookie: user.cookie })
  const sse = await SseClient.open(server.url, { cookie: user.cookie })
  await sse.waitFor(({ name }) => name === 'ready', 'ready')
  const wires = {
    websocket: () => websocket.events,
    polling: () => polling.events,
    'raw frames': () =>
      raw.packets
        .filter((packet) => packet.startsWith('42'))
        .map((packet) => {
          const [name, payload] = JSON.parse(packet.slice(2)) as [string, unknown]
          return { name, payload }
        }),
    sse: () => sse.events.map(({ name, data }) => ({ name, payload: data })),
  }
  return {
    wires: Object.entries(wires),
    close: () => {
      websocket.close()
      polling.close()
      raw.close()
      sse.close()
    },
  }
}

describe('a text that was deleted or edited', () => {
  it('[ERASE1] deleted or edited text is absent from every resume, sync and page', async () => {
    const [owner, member] = await Promise.all([signUp(), signUp()])
    const group = await owner.createConversation('group', [member.id])
    const watching = await SocketUser.connect(server.url, { cookie: owner.cookie })
    const { body } = await member.expect<{ cursor: string }>(200, 'GET', '/v1/sync')
    const { cursor } = body
    const message = async (text: string): Promise<number> => (await owner.send(group, text)).seq
    const deleted = await message('a secret to delete')
    const edited = await message('a secret to edit')
    const show = async (): Promise<Record<string, string>> => {
      const shown: Record<string, string> = {}
      for (const transport of ['websocket', 'polling'] as const) {
        const user = await SocketUser.connect(server.url, { cookie: member.cookie, cursor, transports: [transport] })
        shown[transport] = JSON.stringify(user.events)
        user.close()
      }
      const sse = await SseClient.open(server.url, { cookie: member.cookie, cursor })
      await sse.waitFor(({ name }) => name === 'ready', 'ready')
      shown['sse'] = JSON.stringify(sse.events)
      sse.close()
      shown['sync'] = JSON.stringify((await member.expect(200, 'GET', `/v1/sync?cursor=${cursor}`)).body)
      shown['log'] = JSON.stringify((await member.expect(200, 'GET', `/v1/conversations/${group}/changes`)).body)
      return shown
    }
    try {
      for (const [road, text] of Object.entries(await show())) expect(text, road).toContain('a secret')
      await owner.expect(200, 'DELETE', `/v1/conversations/${group}/messages/${deleted}`)
      await owner.expect(200, 'PATCH', `/v1/conversations/${group}/messages/${edited}`, { text: 'harmless' })
      for (const [road, text] of Object.entries(await show())) {
        expect(text, road).not.toContain('a secret')
        expect(text, road).toContain('harmless')
      }
    } finally {
      watching.close()
    }
  })
})

describe('the removal of a member during a flood of changes', () => {
  it('[ACL1] [ACL3] removing a member ends delivery on every transport, and hides the history', async () => {
    const [owner, removed, other] = await Promise.all([signUp(), signUp(), signUp()])
    const group = await owner.createConversation('group', [removed.id, other.id], 'those who stay')
    const barrierGroup = await owner.createConversation('direct', [removed.id])
    const listeners = await listenEverywhere(removed)

    // Messages, edits and live values are sent continuously during the removal.
    let isRunning = true
    const edited = await owner.send(group, 'edited again and again')
    const streams = [0, 1, 2].map(async (writer) => {
      const sender = writer === 0 ? owner : other
      for (let count = 0; isRunning; count += 1) {
        if (writer === 2) {
          await owner.expect(200, 'PATCH', `/v1/conversations/${group}/messages/${edited.seq}`, {
            text: `edit ${count}`,
          })
          await other.expect(200, 'PUT', `/v1/conversations/${group}/live/typing`, { value: count, ttlMs: 10_000 })
        } else await sender.send(group, `secret ${writer} ${count}`)
      }
    })
    await waitForFact(
      () => listeners.wires.every(([, events]) => events().filter((e) => e.name === 'changes').length > 10),
      {
        what: 'the stream on every wire',
      },
    )
    await owner.expect(204, 'DELETE', `/v1/conversations/${group}/members/${removed.id}`)
    const { body: log } = await owner.expect<{ changes: Changes['changes']; seq: number }>(
      200,
      'GET',
      `/v1/conversations/${group}/changes?after=0&limit=1`,
    )
    // Wait until at least twenty changes have followed the removal, and only then send the barrier:
    // a last message that every connection must receive.
    await waitForFact(
      async () => {
        const { body } = await owner.expect<{ seq: number }>(200, 'GET', `/v1/conversations/${group}/changes?limit=1`)
        return body.seq > log.seq + 20
      },
      { what: 'changes above the removal' },
    )
    const barrier = await owner.send(barrierGroup, 'barrier')
    isRunning = false
    await Promise.all(streams)

    let removalSeq = 0
    for (let after = 0; removalSeq === 0; ) {
      const { body } = await owner.expect<{ changes: Changes['changes']; more: boolean }>(
        200,
        'GET',
        `/v1/conversations/${group}/changes?after=${after}&limit=200`,
      )
      removalSeq = body.changes.find(({ type, user }) => type === 'member.left' && user === removed.id)?.seq ?? 0
      after = body.changes.at(-1)!.seq
      if (!body.more) break
    }
    expect(removalSeq).toBeGreaterThan(0)

    for (const [wire, events] of listeners.wires) {
      await waitForFact(
        () =>
          events().some(
            ({ name, payload }) =>
              name === 'changes' &&
              (payload as Changes).conversation === barrierGroup &&
              (payload as Changes).changes.some(({ seq }) => seq === barrier.seq),
          ),
        { what: `the barrier over ${wire}` },
      )
      const delivered = events().flatMap(({ name, payload }) =>
        name === 'changes' && (payload as Changes).conversation === group ? (payload as Changes).changes : [],
      )
      const seqs = delivered.map(({ seq }) => seq)
      expect(Math.max(...seqs), wire).toBe(removalSeq)
      expect(seqs, wire).toEqual([...new Set(seqs)].sort((a, b) => a - b))
      const removalAt = events().findIndex(
        ({ name, payload }) =>
          name === 'changes' &&
          (payload as Changes).changes.some((c) => c.seq === removalSeq && c.type === 'member.left'),
      )
      const liveAfter = events()
        .slice(removalAt)
        .filter(({ name, payload }) => name === 'live' && JSON.stringify(payload).includes(group))
      expect(liveAfter, wire).toEqual([])
    }
    listeners.close()

    for (const path of ['', '/messages', `/messages/${edited.seq}`, '/changes', '/members', '/live']) {
      await removed.expect(404, 'GET', `/v1/conversations/${group}${path}`)
    }
    const { body: page } = await removed.expect<{ conversations: { conversation: string }[] }>(200, 'GET', '/v1/sync')
    expect(page.conversations.map(({ conversation }) => conversation)).not.toContain(group)
  })

  it('[ACL1] [RES1] a member removed while offline gets only the removal and `left` at the resume', async () => {
    const [owner, removed] = await Promise.all([signUp(), signUp()])
    const group = await owner.createConversation('group', [removed.id], 'a group')
    const { body } = await removed.expect<{ cursor: string }>(200, 'GET', '/v1/sync')
    await owner.send(group, 'before the removal, while away')
    await owner.expect(204, 'DELETE', `/v1/conversations/${group}/members/${removed.id}`)
    const { body: log } = await owner.expect<{ seq: number }>(200, 'GET', `/v1/conversations/${group}/changes`)
    await owner.send(group, 'after the removal')

    interface Entry {
      readonly conversation: string
      readonly changes: readonly { readonly seq: number }[]
      readonly left?: boolean
    }
    const { body: page } = await removed.expect<{ conversations: Entry[] }>(
      200,
      'GET',
      `/v1/sync?cursor=${body.cursor}`,
    )
    const entry = page.conversations.find(({ conversation }) => conversation === group)!
    expect(entry.left).toBe(true)
    expect(entry.changes.map(({ seq }) => seq)).toEqual([log.seq])

    for (const transports of [['websocket'], ['polling']] as const) {
      const socket = await SocketUser.connect(server.url, {
        cookie: removed.cookie,
        cursor: body.cursor,
        transports: [...transports],
      })
      expect(socket.changesOf(group).map(({ seq }) => seq)).toEqual([log.seq])
      expect(socket.named<Entry>('conversation').find(({ conversation }) => conversation === group)?.left).toBe(true)
      socket.close()
    }
    const stream = await SseClient.open(server.url, { cookie: removed.cookie, cursor: body.cursor })
    await stream.waitFor(({ name }) => name === 'ready', 'ready')
    const seqs = stream.named('changes').flatMap(({ data }) => (data as Changes).changes.map(({ seq }) => seq))
    expect(seqs).toEqual([log.seq])
    stream.close()
  })

  it('[ACL4] a new member gets the conversation as `limited`, with all its history', async () => {
    const [owner, member] = await Promise.all([signUp(), signUp()])
    const group = await owner.createConversation('group', [], 'a group with a past')
    const first = await owner.send(group, 'long ago')
    const socket = await SocketUser.connect(server.url, { cookie: member.cookie })
    await owner.expect(200, 'PUT', `/v1/conversations/${group}/members/${member.id}`, {})
    const added = await socket.waitFor(
      ({ name, payload }) => name === 'conversation' && (payload as { conversation: string }).conversation === group,
      'the conversation',
    )
    expect(added.payload).toMatchObject({ limited: true })
    const { seq } = await owner.send(group, 'live')
    await socket.waitForSeq(group, seq)
    const { body } = await member.expect<{ messages: { seq: number }[] }>(
      200,
      'GET',
      `/v1/conversations/${group}/messages`,
    )
    expect(body.messages.map((message) => message.seq)).toContain(first.seq)
    socket.close()
  })
})

describe('a revoked session', () => {
  it('[ACL2] a revoked session loses all its connections within a second', async () => {
    const person = await signUp()
    const device = await HttpUser.signIn(() => server.url, person.handle, person.password)
    const { body } = await device.expect<{ session: { id: string } }>(200, 'GET', '/v1/session')
    const own = await SocketUser.connect(server.url, { cookie: person.cookie })
    const websocket = await SocketUser.connect(server.url, { cookie: device.cookie, transports: ['websocket'] })
    const polling = await SocketUser.connect(server.url, { cookie: device.cookie, transports: ['polling'] })
    const stream = await SseClient.open(server.url, { cookie: device.cookie })
    await stream.waitFor(({ name }) => name === 'ready', 'ready')
    let streamEnded = false
    void stream.ended.then(() => {
      streamEnded = true
    })

    await person.expect(204, 'DELETE', `/v1/sessions/${body.session.id}`)
    await waitForFact(() => websocket.disconnections.length > 0 && polling.disconnections.length > 0 && streamEnded, {
      what: 'the end of every connection of the session',
      timeoutMs: 1_000,
      everyMs: 5,
    })
    for (const closing of [
      websocket.named('closing')[0],
      polling.named('closing')[0],
      stream.named('closing')[0]?.data,
    ]) {
      expect(closing).toMatchObject({ code: 'revoked', retry: 'never' })
    }
    await device.expect(401, 'GET', '/v1/conversations')
    await expect(SocketUser.connect(server.url, { cookie: device.cookie })).rejects.toThrow(/sign in/)
    expect((await SseClient.open(server.url, { cookie: device.cookie })).status).toBe(401)
    expect(own.disconnections).toEqual([])
    own.close()
  })

  it('[ACL2] signing out closes the socket and invalidates the session cookie', async () => {
    const person = await signUp()
    const { cookie } = person
    const socket = await SocketUser.connect(server.url, { cookie })
    await person.expect(204, 'DELETE', '/v1/session')
    await waitForFact(() => socket.disconnections.length > 0, { what: 'the end', timeoutMs: 1_000, everyMs: 5 })
    person.cookie = cookie
    await person.expect(401, 'GET', '/v1/session')
  })
})

interface Live {
  readonly conversation: string
  readonly key: string
  readonly user: string
  readonly value: unknown
}

describe('live values', () => {
  it('[LIVE1] live values reach only members, expire, and only the newest is kept', async () => {
    const [ada, bob, eve] = await Promise.all([signUp(), signUp(), signUp()])
    const conversation = await ada.createConversation('direct', [bob.id])
    const [adaSocket, bobSocket, eveSocket] = await Promise.all(
      [ada, bob, eve].map((user) => SocketUser.connect(server.url, { cookie: user.cookie })),
    )
    const stream = await SseClient.open(server.url, { cookie: bob.cookie })
    await stream.waitFor(({ name }) => name === 'ready', 'ready')
    for (let count = 0; count < 50; count += 1) {
      const answer = await adaSocket!.command('live', {
        conversation,
        key: 'location',
        value: { count },
        ttlMs: 60_000,
      })
      expect(answer.ok).toBe(true)
    }
    const isLast = (values: unknown) => JSON.stringify(values).includes('"count":49')
    await bobSocket!.waitFor(({ name, payload }) => name === 'live' && isLast(payload), 'the newest value')
    await stream.waitFor(({ name, data }) => name === 'live' && isLast(data), 'the newest value')
    const { body } = await bob.expect<{ values: Live[] }>(200, 'GET', `/v1/conversations/${conversation}/live`)
    expect(body.values).toMatchObject([{ conversation, key: 'location', user: ada.id, value: { count: 49 } }])

    await ada.expect(200, 'PUT', `/v1/conversations/${conversation}/live/typing`, { value: true, ttlMs: 200 })
    await bobSocket!.waitFor(
      ({ name, payload }) => name === 'live' && JSON.stringify(payload).includes('"typing"'),
      'typing',
    )
    await waitForFact(async () => {
      const answer = await bob.expect<{ values: Live[] }>(200, 'GET', `/v1/conversations/${conversation}/live`)
      return answer.body.values.every(({ key }) => key !== 'typing')
    })
    // a live value always belongs to its sender. The live value of a non-member is refused.
    const refused = await eveSocket!.command('live', { conversation, key: 'typing', value: true, ttlMs: 1_000 })
    expect(refused.error?.code).toBe('not-found')
    expect(eveSocket!.named('live')).toEqual([])
    for (const socket of [adaSocket!, bobSocket!, eveSocket!]) socket.close()
    stream.close()
  })
})

describe('presence and status', () => {
  it('[PRES1] [PRES2] presence of a user reaches only watchers who share a conversation', async () => {
    const [ada, bob, eve] = await Promise.all([signUp(), signUp(), signUp()])
    await ada.createConversation('direct', [bob.id])
    const adaSocket = await SocketUser.connect(server.url, { cookie: ada.cookie })
    const eveSocket = await SocketUser.connect(server.url, { cookie: eve.cookie })
    const statusOf = (socket: SocketUser) =>
      socket
        .named<{ user: string; status: string }[]>('presence')
        .flat()
        .filter(({ user }) => user === bob.id)
        .at(-1)?.status

    const watched = await adaSocket.command('watch', { users: [bob.id] })
    expect(watched.presence).toMatchObject([{ user: bob.id, status: 'offline' }])
    const stranger = await eveSocket.command('watch', { users: [bob.id] })
    expect(stranger.presence).toMatchObject([{ user: bob.id, status: 'unknown', lastSeen: null }])

    const bobSocket = await SocketUser.connect(server.url, { cookie: bob.cookie })
    await waitForFact(() => statusOf(adaSocket) === 'online', { what: 'online' })
    await bobSocket.command('status', { status: 'away' })
    await waitForFact(() => statusOf(adaSocket) === 'away', { what: 'away' })
    bobSocket.close()
    await waitForFact(() => statusOf(adaSocket) === 'offline', { what: 'offline' })
    expect(eveSocket.named('presence')).toEqual([])
    adaSocket.close()
    eveSocket.close()
  })

  it('[PRES1] a user cannot set the presence or the read marker of another user', async () => {
    const [ada, bob] = await Promise.all([signUp(), signUp()])
    const conversation = await ada.createConversation('direct', [bob.id])
    const { seq } = await bob.send(conversation, 'hello')
    for (const body of [
      { seq, user: bob.id },
      { seq, userId: bob.id },
    ]) {
      await ada.expect(400, 'PUT', `/v1/conversations/${conversation}/read`, body)
    }
    await ada.expect(400, 'PUT', '/v1/status', { status: 'away', user: bob.id })
    await ada.expect(400, 'PUT', `/v1/conversations/${conversation}/live/typing`, {
      value: 1,
      ttlMs: 1_000,
      user: bob.id,
    })
  })
})

describe('read markers and unread counts', () => {
  it("[OFF1] a read marker reaches the user's other devices, and never moves back", async () => {
    const [ada, bob] = await Promise.all([signUp(), signUp()])
    const device = await HttpUser.signIn(() => server.url, bob.handle, bob.password)
    const conversation = await ada.createConversation('direct', [bob.id])
    const socket = await SocketUser.connect(server.url, { cookie: device.cookie })
    await bob.send(conversation, 'mine does not count')
    for (let count = 0; count < 3; count += 1) await ada.send(conversation, `unread ${count}`)
    const { body } = await bob.expect<{ conversation: { unread: number; seq: number; readSeq: number } }>(
      200,
      'GET',
      `/v1/conversations/${conversation}`,
    )
    expect(body.conversation.unread).toBe(3)
    const top = body.conversation.seq
    const { body: read } = await bob.expect<{ readSeq: number }>(200, 'PUT', `/v1/conversations/${conversation}/read`, {
      seq: top,
    })
    expect(read.readSeq).toBe(top)
    await socket.waitFor(
      ({ name, payload }) =>
        name === 'conversation' &&
        (payload as { conversation: string; readSeq: number; unread: number }).readSeq === top &&
        (payload as { unread: number }).unread === 0,
      'the marker on the other device',
    )
    const { body: back } = await bob.expect<{ readSeq: number }>(200, 'PUT', `/v1/conversations/${conversation}/read`, {
      seq: 1,
    })
    expect(back.readSeq).toBe(top)
    socket.close()
  })

  it('[OFF1] messages missed while offline count as unread, and are in the log', async () => {
    const [ada, bob] = await Promise.all([signUp(), signUp()])
    const conversation = await ada.createConversation('direct', [bob.id])
    const texts = Array.from({ length: 120 }, (_, index) => `while away ${index}`)
    await Promise.all(texts.map((text) => ada.send(conversation, text, randomUUID())))
    const { body } = await bob.expect<{ conversations: { id: string; unread: number }[] }>(
      200,
      'GET',
      '/v1/conversations',
    )
    expect(body.conversations.find(({ id }) => id === conversation)?.unread).toBe(120)
    const seen: string[] = []
    for (let after = 0, more = true; more; ) {
      const { body: page } = await bob.expect<{ messages: { seq: number; text: string }[]; hasAfter: boolean }>(
        200,
        'GET',
        `/v1/conversations/${conversation}/messages?after=${after}`,
      )
      seen.push(...page.messages.map(({ text }) => text))
      after = page.messages.at(-1)!.seq
      more = page.hasAfter
    }
    expect(seen.sort()).toEqual([...texts].sort())
  })
})
