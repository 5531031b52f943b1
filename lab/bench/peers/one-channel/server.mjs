/**
 * A chat server with the design of most tutorials, used for comparison. Every process subscribes to
 * one Redis channel and publishes each message there. Each process sends every message of the
 * channel to its own clients in the message's room. The server stores nothing.
 *
 * It uses the Redis client ioredis, which sends each command immediately, and not node-redis 6,
 * which sends only 16 kB of commands per turn of the event loop. With node-redis, a busy process
 * published only one in fifty of the messages that it acknowledged. It kept all others in memory,
 * and by default crashed when a command timed out.
 */
import { createServer } from 'node:http'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const publisher = new Redis(process.env.REDIS_URL)
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', (error) => console.error(error.message))

// A failed publish to Redis loses the message. The load generator counts the loss.
process.on('unhandledRejection', (error) => console.error(error.message))

const httpServer = createServer()
const io = new Server(httpServer)

await subscriber.subscribe('messages')
subscriber.on('message', (_channel, text) => {
  const message = JSON.parse(text)
  io.to(message.to).emit('message', message)
})

io.on('connection', (socket) => {
  const { user, rooms } = socket.handshake.auth
  socket.join(rooms)
  socket.on('send', ({ to, text }, acknowledge) => {
    void publisher.publish('messages', JSON.stringify({ from: user, to, text, at: new Date().toISOString() }))
    acknowledge({ ok: true })
  })
  socket.emit('ready')
})

httpServer.listen(0, '127.0.0.1', () => process.send({ port: httpServer.address().port }))
process.once('disconnect', () => process.exit(0))
