/**
 * The peer with several processes that the Socket.IO documentation builds with
 * `@socket.io/redis-adapter`. It sends a message to a room, through Redis pub/sub to the other
 * processes, and acknowledges it at once. Nothing is stored, so a message that Redis loses is lost.
 *
 * Its Redis client is ioredis, which writes its commands at once. node-redis 6 writes 16 kB per
 * turn of the event loop. With it, a busy process published a fiftieth of the messages that it
 * acknowledged and kept the rest in memory. By default it then crashed on a command's timeout.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const publisher = new Redis(process.env.REDIS_URL)
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', (error) => console.error(error.message))

// A failed publish is a lost message. The generator counts it as lost.
process.on('unhandledRejection', (error) => console.error(error.message))

const httpServer = createServer()
const io = new Server(httpServer, { adapter: createAdapter(publisher, subscriber) })

io.on('connection', (socket) => {
  const { user, rooms } = socket.handshake.auth
  socket.join(rooms)
  socket.on('send', ({ to, text }, acknowledge) => {
    io.to(to).emit('message', { from: user, to, text, at: new Date().toISOString() })
    acknowledge({ ok: true })
  })
  socket.emit('ready')
})

httpServer.listen(0, '127.0.0.1', () => process.send({ port: httpServer.address().port }))
process.once('disconnect', () => process.exit(0))
