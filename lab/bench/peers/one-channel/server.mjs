/**
 * The design of most tutorials: every process subscribes to one Redis channel, publishes each message there, and emits what
 * comes by that channel to the sockets of the room it names. Nothing is stored.
 *
 * Its Redis client waits as long as it takes. By default it gives up on a command after 5 s, and the process dies of that:
 * messages are acknowledged before Redis answers, so the queue in front of Redis grows while they come faster than it goes.
 */
import { createServer } from 'node:http'
import { createClient } from 'redis'
import { Server } from 'socket.io'

const publisher = createClient({ url: process.env.REDIS_URL, commandOptions: { timeout: 0 } })
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', (error) => console.error(error.message))
await Promise.all([publisher.connect(), subscriber.connect()])

// A publish that failed all the same is a lost message, and the generator's account shows it.
process.on('unhandledRejection', (error) => console.error(error.message))

const httpServer = createServer()
const io = new Server(httpServer)

await subscriber.subscribe('messages', (text) => {
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
