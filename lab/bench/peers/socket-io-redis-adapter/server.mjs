/**
 * The chat server with several processes that the Socket.IO documentation builds with
 * `@socket.io/redis-adapter`, used for comparison. It sends a message to a room, through Redis
 * pub/sub to the other processes, and acknowledges it immediately. It stores nothing, so a message
 * that Redis loses is lost.
 *
 * It uses the Redis client ioredis, which sends each command immediately, and not node-redis 6,
 * which sends only 16 kB of commands per turn of the event loop. With node-redis, a busy process
 * published only one in fifty of the messages that it acknowledged. It kept all others in memory,
 * and by default crashed when a command timed out.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const publisher = new Redis(process.env.REDIS_URL)
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', (error) => console.error(error.message))

// A failed publish to Redis loses the message. The load generator counts the loss.
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
