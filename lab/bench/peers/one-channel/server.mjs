/**
 * A peer with the design of most tutorials. Every process subscribes to one Redis channel and
 * publishes each message there. It emits every message from the channel to the sockets of the
 * message's room. Nothing is stored.
 *
 * Its Redis client is ioredis, which writes its commands at once. node-redis 6 writes 16 kB per
 * turn of the event loop. With it, a busy process published a fiftieth of the messages that it
 * acknowledged and kept the rest in memory. By default it then crashed on a command's timeout.
 */
import { createServer } from 'node:http'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const publisher = new Redis(process.env.REDIS_URL)
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', (error) => console.error(error.message))

// A failed publish is a lost message. The generator counts it as lost.
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
