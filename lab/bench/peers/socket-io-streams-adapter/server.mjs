/**
 * The peer with several processes over a Redis stream: `@socket.io/redis-streams-adapter`. Every
 * process reads every message of every room. A process that was cut off continues where it stopped,
 * while the stream still holds the messages.
 *
 * Its Redis client is ioredis, which writes its commands at once. node-redis 6 writes 16 kB per
 * turn of the event loop. With it, a busy process published a fiftieth of the messages that it
 * acknowledged and kept the rest in memory. By default it then crashed on a command's timeout.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const client = new Redis(process.env.REDIS_URL)
client.on('error', (error) => console.error(error.message))

// A failed publish is a lost message. The generator counts it as lost.
process.on('unhandledRejection', (error) => console.error(error.message))

const httpServer = createServer()
const io = new Server(httpServer, { adapter: createAdapter(client) })

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
