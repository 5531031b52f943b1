/**
 * The peer of several processes over a Redis stream: `@socket.io/redis-streams-adapter`. Every process reads every message
 * of every room; a process that was cut off reads on where it was, as long as the stream still holds it.
 *
 * Its Redis client is ioredis, which writes what it is given at once. node-redis 6 writes 16 kB a turn of the event loop: a busy
 * process then published a fiftieth of what it acknowledged, kept the rest in memory, and by default died of a command's timeout.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-streams-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const client = new Redis(process.env.REDIS_URL)
client.on('error', (error) => console.error(error.message))

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
