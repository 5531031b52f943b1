/**
 * A careful chat server with Socket.IO and its Redis adapter, in which messages must survive. The
 * chaos test must find that it loses messages.
 *
 * The server stores each message in Postgres before it acknowledges it, once per sender and client
 * id. The message gets a number from its room's counter, which is locked for the transaction. Then
 * the server sends the message to the room through the adapter. Clients read the history from
 * Postgres. No part of the server notices a message that the adapter loses.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import pg from 'pg'
import { createClient } from 'redis'
import { Server } from 'socket.io'

// The Redis adapter does not handle errors of its publishes. Without this handler, a lost
// connection to Redis would end the process.
process.on('unhandledRejection', () => undefined)

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 })
pool.on('error', () => undefined)
const publish = createClient({ url: process.env.REDIS_URL })
const subscribe = publish.duplicate()
// The documentation of the Redis client requires a handler for errors.
publish.on('error', () => undefined)
subscribe.on('error', () => undefined)
await Promise.all([publish.connect(), subscribe.connect()])

const httpServer = createServer()
const io = new Server(httpServer, { adapter: createAdapter(publish, subscribe) })

io.on('connection', (socket) => {
  const { user, rooms } = socket.handshake.auth
  socket.join(rooms)
  socket.on('send', async ({ room, clientId, text }, acknowledge) => {
    const client = await pool.connect().catch(() => undefined)
    if (client === undefined) {
      acknowledge({ ok: false })
      return
    }
    try {
      await client.query('begin')
      const counter = await client.query('update rooms set seq = seq + 1 where id = $1 returning seq', [room])
      const seq = Number(counter.rows[0].seq)
      const stored = await client.query(
        `insert into messages (room, seq, sender, client_id, text) values ($1, $2, $3, $4, $5)
         on conflict (sender, client_id) do nothing returning seq`,
        [room, seq, user, clientId, text],
      )
      if (stored.rowCount === 0) {
        await client.query('rollback')
        const first = await client.query('select seq from messages where sender = $1 and client_id = $2', [
          user,
          clientId,
        ])
        acknowledge({ ok: true, seq: Number(first.rows[0].seq), duplicate: true })
        return
      }
      await client.query('commit')
      io.to(room).emit('message', { room, seq, sender: user, text })
      acknowledge({ ok: true, seq })
    } catch {
      await client.query('rollback').catch(() => undefined)
      acknowledge({ ok: false })
    } finally {
      client.release()
    }
  })
  socket.emit('ready')
})

httpServer.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => process.send?.({ port: httpServer.address().port }))
process.once('disconnect', () => process.exit(0))
