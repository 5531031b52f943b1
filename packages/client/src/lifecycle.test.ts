/**
 * Tests for start, stop and a change of user: which work of the client continues and which must
 * end. Time and network are simulated.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ChatClient, ChatClientOptions, SessionState } from './model/api.ts'
import { createChatClient } from './chat-client.ts'
import { storeMaxMs } from './session/session.ts'
import { systemClock } from './support/clock.ts'
import { createMemoryStore } from './store/store-memory.ts'
import { eventually } from './testing/eventually.ts'
import { FakeServer } from './testing/fake-server.ts'
import { ManualClock, settle } from './testing/manual-clock.ts'

const account = { user: { id: 'u-1', handle: 'ada', name: 'Ada', avatar: null, bot: false } }

interface Line {
  readonly requests: string[]
  readonly fetch: typeof fetch
}

/**
 * Creates a simulated network: it records the requests, and responds to them with the given
 * function.
 */
function createLine(answer: (url: string, signal: AbortSignal | undefined) => Promise<Response>): Line {
  const requests: string[] = []
  return {
    requests,
    fetch: (input, init) => {
      requests.push(input as string)
      return answer(input as string, init?.signal ?? undefined)
    },
  }
}

/**
 * Returns an async callback that rejects, typed as a synchronous one: applications often pass such
 * callbacks.
 */
const rejecting = (message: string) => (): never => Promise.reject(new Error(message)) as never

const away = (): Promise<Response> => Promise.reject(new TypeError('fetch failed'))
const silent = (_url: string, signal: AbortSignal | undefined): Promise<Response> =>
  new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(new Error('aborted'))))

function createOffline(line: Line, options: Partial<ChatClientOptions> = {}) {
  const clock = new ManualClock()
  const errors: unknown[] = []
  const client = createChatClient({
    url: 'http://chat.example',
    clock,
    fetch: line.fetch,
    transports: ['sse'],
    onError: (error) => errors.push(error),
    ...options,
  })
  return { client, clock, errors }
}

/** Asserts that no timer is left and that no request is sent later. */
async function assertQuiet(clock: ManualClock, line: Line): Promise<void> {
  await settle()
  expect(clock.timers).toBe(0)
  const before = line.requests.length
  await clock.advance(600_000)
  expect(line.requests.length).toBe(before)
}

describe('stopping the client', () => {
  it('`stop` ends the retries of the session check while the server is unreachable', async () => {
    const line = createLine(away)
    const { client, clock } = createOffline(line)
    const started = client.start()
    await clock.advance(1_000)
    await started
    await clock.advance(20_000)
    expect(line.requests.length).toBeGreaterThan(3)
    await client.stop()
    await assertQuiet(clock, line)
  })

  it('`stop` aborts an unanswered request and rejects its callers', async () => {
    const line = createLine(silent)
    const { client, clock } = createOffline(line)
    const started = client.start()
    await settle()
    expect(line.requests).toHaveLength(1)
    await client.stop()
    await started
    await assertQuiet(clock, line)
  })

  it('`stop` ends the connection attempts for a user from the store', async () => {
    for (const answer of [away, silent]) {
      const line = createLine(answer)
      const store = createMemoryStore()
      await store.writeAccount(account)
      const { client, clock } = createOffline(line, { store })
      await client.start()
      client.conversation('c').messages.view.subscribe(() => undefined)
      client.users.observe('u-2').subscribe(() => undefined)
      client.presence.observe('u-2').subscribe(() => undefined)
      await clock.advance(15_000)
      expect(line.requests.length).toBeGreaterThan(0)
      const stopped = client.stop()
      expect(client.session.get()).toEqual({ status: 'unknown' })
      await stopped
      await assertQuiet(clock, line)
    }
  })

  it('the client runs only one retry loop after `start`, `stop` and `start`', async () => {
    const count = async (run: (client: ChatClient) => unknown): Promise<number> => {
      const line = createLine(away)
      const { client, clock } = createOffline(line)
      run(client)
      await clock.advance(120_000)
      const requests = line.requests.length
      await client.stop()
      await assertQuiet(clock, line)
      return requests
    }
    const once = await count((client) => client.start())
    const strict = await count((client) => {
      void client.start()
      void client.stop()
      void client.start()
    })
    expect(once).toBeGreaterThan(3)
    expect(strict - once).toBeLessThanOrEqual(1)
  })

  it('a late response does not restart a stopped client', async () => {
    let answer: (response: Response) => void = () => undefined
    const line = createLine(
      () =>
        new Promise((resolve) => {
          answer = resolve
        }),
    )
    const late = (): void => answer(Response.json({ user: account.user, session: {} }))
    for (const act of ['start', 'signIn'] as const) {
      const { client, clock, errors } = createOffline(line)
      const acting =
        act === 'start' ? client.start() : client.signIn({ handle: 'ada', password: 'correct horse' }).catch(String)
      await settle()
      const stopped = client.stop()
      late()
      await stopped
      expect(await acting).toEqual(act === 'start' ? undefined : expect.stringContaining('stopped'))
      expect(client.session.get()).toEqual({ status: 'unknown' })
      expect(client.connection.get()).toEqual({ state: 'idle' })
      await assertQuiet(clock, line)
      expect(errors).toEqual([])
    }
  })

  it('`stop` ends even when the store never answers', async () => {
    const never = (): Promise<never> => new Promise(() => undefined)
    const store = createMemoryStore()
    await store.writeAccount(account)
    const { client, clock, errors } = createOffline(createLine(away), {
      store: { ...store, close: never, commitReplica: never },
    })
    await client.start()
    const stopped = client.stop()
    await clock.advance(storeMaxMs)
    await stopped
    expect(String(errors.at(-1))).toContain('the store does not respond')
  })
})

describe('an `onError` callback that throws', () => {
  it('an error thrown by `onError` is logged and does not stop the client', async () => {
    const written: string[] = []
    const writing = vi.spyOn(console, 'error').mockImplementation((error) => void written.push(String(error)))
    try {
      const store = createMemoryStore()
      await store.writeAccount(account)
      const { client } = createOffline(createLine(away), {
        store,
        onError: rejecting('of onError'),
      })
      client.session.subscribe(() => {
        throw new Error('of a listener')
      })
      await client.start()
      await settle()
      await client.stop()
    } finally {
      writing.mockRestore()
    }
    expect(written).toContain('Error: of onError')
  })
})

describe('a change of the signed-in user', () => {
  let server: FakeServer
  const open: ChatClient[] = []
  beforeEach(async () => {
    server = new FakeServer()
    await server.start()
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.stop()))
    await server.stop()
  })

  async function signIn(handle: string, options: Partial<ChatClientOptions> = {}) {
    const errors: unknown[] = []
    const client = createChatClient({
      url: server.url,
      clock: { ...systemClock, random: () => 0.05 },
      onError: (error) => errors.push(error),
      ...options,
    })
    open.push(client)
    await client.start()
    await client.signIn({ handle, password: 'correct horse' })
    await eventually(() => expect(client.connection.get().state).toBe('ready'))
    return { client, errors }
  }

  /** Records what the client shows at each change of the session. */
  function watch(client: ChatClient, id: string) {
    const states: { session: SessionState['status']; texts: number; name: unknown }[] = []
    const look = (): void => {
      const handle = client.conversation(id)
      states.push({
        session: client.session.get().status,
        texts: handle.messages.view.get().items.length,
        name: handle.summary.get()?.name,
      })
    }
    client.session.subscribe(look)
    return states
  }

  it('the client hides all data of the first user when another signs in', async () => {
    const ada = server.addUser('ada')
    server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada])
    server.send(tea, ada, 'secret')
    const { client, errors } = await signIn('ada')
    await eventually(() => expect(client.conversation(tea.id).summary.get()?.name).toBe('Tea'))
    const states = watch(client, tea.id)
    await client.signIn({ handle: 'bob', password: 'correct horse' })
    await settle()
    expect(states[0]).toEqual({ session: 'unknown', texts: 0, name: undefined })
    expect(states.every(({ texts, name }) => texts === 0 && name === undefined)).toBe(true)
    expect(client.session.get()).toMatchObject({ user: { handle: 'bob' } })
    expect(errors).toEqual([])
  })

  it('an offline tab switches to the user who signs in in another tab', async () => {
    const ada = server.addUser('ada')
    const bob = server.addUser('bob')
    const tea = server.addConversation('group', 'Tea', [ada])
    const { client, errors } = await signIn('ada')
    const states = watch(client, tea.id)
    const [token] = [...server.sessions.keys()]
    server.cut()
    server.sessions.set(token!, bob.id)
    await eventually(() => expect(client.session.get()).toMatchObject({ user: { handle: 'bob' } }))
    await eventually(() => expect(client.connection.get().state).toBe('ready'))
    expect(states.map(({ session }) => session)).toContain('unknown')
    expect(client.conversations.get()).toEqual([])
    expect(errors).toEqual([])
  })

  it('a late response for the first user does not overwrite the second user', async () => {
    server.addUser('ada')
    server.addUser('bob')
    let release: () => void = () => undefined
    const held: typeof fetch = async (input, init) => {
      if (!(input as string).endsWith('/v1/users/me')) return fetch(input, init)
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return Response.json({ user: { id: 'x', handle: 'ada', name: 'Countess', avatar: null, bot: false } })
    }
    const store = createMemoryStore()
    const { client } = await signIn('ada', { fetch: held, store })
    const updating = client.updateProfile({ name: 'Countess' })
    await settle()
    await client.signIn({ handle: 'bob', password: 'correct horse' })
    release()
    await updating
    expect(client.session.get()).toMatchObject({ user: { handle: 'bob' } })
    expect((await store.readAccount())?.user.handle).toBe('bob')
  })

  it('before `start`, conversations are empty and commands are refused', async () => {
    const client = createChatClient({ url: server.url })
    open.push(client)
    const handle = client.conversation('c')
    expect(handle.messages.view.get()).toMatchObject({ items: [], isLoaded: false })
    expect([handle.summary.get(), handle.unread.get(), handle.members.list.get()]).toEqual([undefined, 0, undefined])
    expect(client.conversation('c').live.observe('location').get()).toBe(handle.live.observe('location').get())
    for (const refused of [handle.messages.send({ text: 'x' }), handle.markRead(), handle.members.load()]) {
      await expect(refused).rejects.toMatchObject({ code: 'unauthenticated' })
    }
    client.users.observe('u-2').subscribe(() => undefined)
    await settle()
    expect(server.requests).toEqual([])
  })

  it('errors of a callback go to `onError`, and other listeners still run', async () => {
    const ada = server.addUser('ada')
    const tea = server.addConversation('group', 'Tea', [ada])
    const { client, errors } = await signIn('ada')
    const told: string[] = []
    client.onChange(rejecting('async callback'))
    client.onChange(() => told.push('change'))
    client.unread.subscribe(() => undefined)
    client.conversations.subscribe(() => {
      throw new Error('listener')
    })
    client.conversations.subscribe(rejecting('async listener'))
    client.conversations.subscribe(() => told.push('list'))
    server.send(tea, ada, 'x')
    await eventually(() => expect(told).toEqual(expect.arrayContaining(['change', 'list'])))
    await eventually(() =>
      expect(errors.map((error) => (error as Error).message)).toEqual(
        expect.arrayContaining(['async callback', 'listener', 'async listener']),
      ),
    )
  })
})
