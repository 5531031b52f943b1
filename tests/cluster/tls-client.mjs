/**
 * A client of a cluster with TLS. It is a process of its own, because Node reads additional
 * certificate authorities only when it starts. Signs up two users, sends one message over each
 * transport, and prints as JSON what the receiver got.
 */
import { randomUUID } from 'node:crypto'
import { io } from 'socket.io-client'

const [url] = process.argv.slice(2)
const receiveWithinMs = 20_000

async function call(user, method, path, body) {
  const response = await fetch(new URL(path, url), {
    method,
    headers: { ...(user && { cookie: user.cookie }), ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return { body: await response.json(), headers: response.headers }
}

async function signUp() {
  const handle = `u${randomUUID().replaceAll('-', '').slice(0, 20)}`
  const { body, headers } = await call(undefined, 'POST', '/v1/users', {
    handle,
    password: 'a long password',
    name: handle,
  })
  const [setCookie] = headers.getSetCookie()
  return {
    id: body.user.id,
    setCookie,
    cookie: setCookie.split(';')[0],
    security: headers.get('strict-transport-security'),
  }
}

/**
 * Starts to listen with `listen`. Resolves when it listens, with a promise of the first text that
 * it receives.
 */
function receive(listen) {
  return new Promise((opened, failed) => {
    const text = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing was received')), receiveWithinMs)
      listen({
        opened: () => opened({ text }),
        failed: (problem) => (failed(problem), reject(problem)),
        changes: ({ changes }) => {
          clearTimeout(timer)
          resolve(changes[0].message.text)
        },
      })
    })
    text.catch(() => undefined)
  })
}

function bySocket(user, transport) {
  return receive(({ opened, failed, changes }) => {
    const socket = io(url, { transports: [transport], forceNew: true, extraHeaders: { cookie: user.cookie } })
    socket.on('connect_error', failed)
    socket.on('ready', opened)
    socket.on('changes', (payload) => {
      changes(payload)
      socket.close()
    })
  })
}

function byEventStream(user) {
  return receive(async ({ opened, failed, changes }) => {
    const abort = new AbortController()
    try {
      const response = await fetch(new URL('/v1/events', url), {
        headers: { cookie: user.cookie, accept: 'text/event-stream' },
        signal: abort.signal,
      })
      let text = ''
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        text += chunk
        if (/^event: ready$/m.test(text)) opened()
        const data = /^event: changes\n(?:id: .*\n)?data: (.*)\n\n/m.exec(text)?.[1]
        if (data === undefined) continue
        changes(JSON.parse(data))
        return abort.abort()
      }
    } catch (problem) {
      if (problem.name !== 'AbortError') failed(problem)
    }
  })
}

const writer = await signUp()
const reader = await signUp()
const { body } = await call(writer, 'POST', '/v1/conversations', { kind: 'direct', members: [reader.id] })
const conversation = body.conversation.id
const received = {}
for (const transport of ['websocket', 'polling', 'events']) {
  const { text } = await (transport === 'events' ? byEventStream(reader) : bySocket(reader, transport))
  await call(writer, 'POST', `/v1/conversations/${conversation}/messages`, {
    clientId: randomUUID(),
    text: `over ${transport}`,
  })
  received[transport] = await text
}
process.stdout.write(JSON.stringify({ setCookie: writer.setCookie, security: writer.security, received }))
