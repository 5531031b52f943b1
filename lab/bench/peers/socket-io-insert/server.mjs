/**
 * A Socket.IO chat server that stores messages, used for comparison. It works like the server in
 * `socket-io-memory`, but inserts each message into Postgres before it sends and acknowledges the
 * message. Most developers build this first when messages must survive a restart.
 */
import { createServer } from 'node:http'
import pg from 'pg'
import { Server } from 'socket.io'

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL })
await pool.query(`create table if not exists messages (
  id bigserial primary key, room text not null, sender text not null, body text not null,
  created_at timestamptz not null default now())`)
await pool.query('create index if not exists messages_room on messages (room, id)')

const httpServer = createServer()
const io = new Server(httpServer)

io.on('connection', (socket) => {
  const { user, rooms } = socket.handshake.auth
  socket.join(rooms)
  socket.on('send', async ({ to, text }, acknowledge) => {
    try {
      const { rows } = await pool.query(
        'insert into messages (room, sender, body) values ($1, $2, $3) returning id, created_at',
        [to, user, text],
      )
      const [{ id, created_at: at }] = rows
      io.to(to).emit('message', { id, from: user, to, text, at })
      acknowledge({ ok: true, id })
    } catch (error) {
      acknowledge({ ok: false, error: error.message })
    }
  })
  socket.emit('ready')
})

httpServer.listen(0, '127.0.0.1', () => process.send({ port: httpServer.address().port }))
process.once('disconnect', () => process.exit(0))
