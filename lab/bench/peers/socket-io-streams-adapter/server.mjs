/**
 * A Socket.IO chat server with several processes that exchange messages over a Redis stream
 * (`@socket.io/redis-streams-adapter`), used for comparison. Every process reads every message of
 * every room. After a lost connection to Redis, a process continues where it stopped, while the
 * stream still holds the messages.
 *
 * It uses the Redis client ioredis, which sends each command immediately, and not node-redis 6,
 * which sends only 16 kB of commands per turn of the event loop. With node-redis, a busy process
 * published only one in fifty of the messages that it acknowledged. It kept all others in memory,
 * and by default crashed when a command timed out.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const client = new Redis(process.env.REDIS_URL)
client.on('error', (error) => console.error(error.message))

// A failed publish to Redis loses the message. The load generator counts the loss.
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
