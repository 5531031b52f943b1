/**
 * Attacks on a server without commands: clients that connect and leave in loops, malformed bytes,
 * responses that are never read, and requests without a session. Two members chat during each
 * attack and must not notice it.
 */
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { attackerAddress, EngineClient, floodHttp, hasPostgres, openAttacker, waitForFact } from '@chorus/testkit'
import { afterAll, beforeAll, it } from 'vitest'
import { AttackedServer } from './attacked-server.ts'

const floodMs = 1_000
let attacked: AttackedServer

beforeAll(async () => {
  attacked = await AttackedServer.start(hasPostgres() ? 'postgres' : 'embedded')
})

afterAll(async () => {
  await attacked.stop()
})

/** Repeats an action in `loops` parallel loops for the duration of an attack. */
async function repeat(loops: number, action: () => Promise<void>): Promise<void> {
  const endMs = performance.now() + floodMs
  const loop = async (): Promise<void> => {
    while (performance.now() < endMs) await action()
  }
  await Promise.all(Array.from({ length: loops }, loop))
}

it('[LIM1] the server withstands thirty clients that connect and leave in a loop', async () => {
  const cookie = attacked.attacker.takeCookie()
  await attacked.withstand(() =>
    repeat(30, async () => {
      const client = await openAttacker(attacked.server.url, cookie)
      client?.close()
    }),
  )
})

it('[LIM1] the server withstands a client that rejoins the namespace in a loop', async () => {
  const cookie = attacked.attacker.takeCookie()
  await attacked.withstand(async () => {
    const endMs = performance.now() + floodMs
    while (performance.now() < endMs) {
      const client = await openAttacker(attacked.server.url, cookie)
      while (client !== undefined && performance.now() < endMs && !client.isClosed) {
        for (let n = 0; n < 20; n++) {
          client.send('41')
          client.send('40')
        }
        await pause(10)
      }
      client?.close()
    }
  })
})

it('[LIM1] the server withstands clients that open event streams and polls in a loop', async () => {
  const cookie = attacked.attacker.takeCookie()
  const paths = ['/v1/events', '/socket.io/?EIO=4&transport=polling']
  let made = 0
  await attacked.withstand(() =>
    repeat(20, async () => {
      const stop = new AbortController()
      const url = new URL(paths[made++ % paths.length]!, attacked.server.url)
      await fetch(url, { headers: { cookie }, signal: stop.signal }).catch(() => undefined)
      stop.abort()
    }),
  )
})

it('[LIM1] [SLOW1] the server closes a client that requests pages and never reads them', async () => {
  const cookie = attacked.attacker.takeCookie()
  await attacked.withstand(async () => {
    // Earlier tests of this file have used up the account's budget for new connections, so retry.
    const client = await waitForFact(() => openAttacker(attacked.server.url, cookie), { what: 'a connection' })
    client.pause()
    let id = 0
    const asking = setInterval(() => {
      for (let n = 0; n < 4; n++) client.send(`42${id++}["sync",{"limit":200}]`)
    }, 50)
    // Every two seconds the client reads for 5 ms. This keeps its heartbeats alive, so the server
    // must notice by itself that the client is too slow.
    const glancing = setInterval(() => {
      client.resume()
      setTimeout(() => client.pause(), 5)
    }, 2_000)
    try {
      await waitForFact(() => client.isClosed || client.ws.readyState !== client.ws.OPEN, {
        what: 'the end of the connection',
        timeoutMs: 20_000,
      })
    } finally {
      clearInterval(asking)
      clearInterval(glancing)
      client.close()
    }
  })
})

it('[LIM1] the server withstands rapid creation of groups with 100 members', async () => {
  const cookie = attacked.attacker.takeCookie()
  let made = 0
  await attacked.withstand(() =>
    floodHttp({
      url: attacked.server.url,
      headers: { cookie },
      method: 'POST',
      next: () => ({
        path: '/v1/conversations',
        body: { kind: 'group', name: `group ${made++}`, members: attacked.attacker.world.users.slice(0, 100) },
      }),
      forMs: 4 * floodMs,
    }),
  )
})

it('[LIM1] the server withstands binary packets, deeply nested data and long lists', async () => {
  const cookie = attacked.attacker.takeCookie()
  const [conversation] = attacked.attacker.world.conversations
  const deep = (text: string) => `${'['.repeat(50_000)}${text}${']'.repeat(50_000)}`
  const wide = `[${'0,'.repeat(60_000)}0]`
  const keys = `{${Array.from({ length: 9_000 }, (_, n) => `"k${n}":1`).join(',')}}`
  await attacked.withstand(() =>
    repeat(2, async () => {
      const client = await openAttacker(attacked.server.url, cookie)
      if (client === undefined) return
      for (let n = 0; n < 10 && !client.isClosed; n++) {
        const send = (data: string) =>
          client.send(`42${n}["send",{"conversation":"${conversation}","text":"x","data":${data}}]`)
        send(deep('1'))
        send(wide)
        send(keys)
        client.send(`451-["send",{"conversation":"${conversation}","text":"x","data":{"_placeholder":true,"num":0}}]`)
        client.send(Buffer.alloc(120_000, 1))
        await pause(20)
      }
      client.close()
    }),
  )
})

it('[LIM1] the server withstands a flood of requests without a session to all public paths', async () => {
  const paths = ['/v1/openapi.json', '/', '/livez', '/readyz', '/v1/me', '/nowhere', '/v1/events', '/socket.io/?EIO=4']
  let made = 0
  await attacked.withstand(() =>
    floodHttp({
      url: attacked.server.url,
      headers: {},
      method: 'GET',
      next: () => ({ path: paths[made++ % paths.length]!, body: undefined }),
      forMs: 2 * floodMs,
    }),
  )
})

it('[LIM1] [SLOW1] the server withstands clients without a session that never read responses', async () => {
  const { port } = attacked.server
  await attacked.withstand(async () => {
    const sockets = Array.from({ length: 100 }, () =>
      connect({ port, host: '127.0.0.1', localAddress: attackerAddress }).on('error', () => undefined),
    )
    for (const socket of sockets) {
      socket.pause()
      for (let n = 0; n < 20; n++) socket.write('GET /v1/openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n')
    }
    await pause(floodMs)
    for (const socket of sockets) socket.destroy()
  })
})

it('[LIM1] the server withstands half-open handshakes and requests that never end', async () => {
  const { port, url } = attacked.server
  await attacked.withstand(async () => {
    const clients = Array.from({ length: 50 }, () => EngineClient.open(url))
    const sockets = Array.from({ length: 100 }, () =>
      connect({ port, host: '127.0.0.1', localAddress: attackerAddress }).on('error', () => undefined),
    )
    for (const socket of sockets) {
      socket.write('POST /v1/session HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n')
      socket.write('content-length: 100000\r\n\r\n{"handle":"')
    }
    await pause(floodMs)
    for (const socket of sockets) socket.destroy()
    for (const client of clients) client.close()
  })
})
