/**
 * The peer of several processes over a Redis stream: `@socket.io/redis-streams-adapter`. Every process reads every message
 * of every room; a process that was cut off reads on where it was, as long as the stream still holds it.
 *
 * Its Redis client waits as long as it takes. By default it gives up on a command after 5 s, and the process dies of that:
 * messages are acknowledged before Redis answers, so the queue in front of Redis grows while they come faster than it goes.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'

const client = createClient({ url: process.env.REDIS_URL, commandOptions: { timeout: 0 } })
client.on('error', (error) => console.error(error.message))
await client.connect()

// A publish that failed all the same is a lost message, and the generator's account shows it.
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
