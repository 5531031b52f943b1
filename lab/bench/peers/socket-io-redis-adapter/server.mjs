/**
 * The peer of several processes: what the Socket.IO documentation builds with `@socket.io/redis-adapter`. A message goes to
 * a room, by way of Redis pub/sub to the other processes, and is acknowledged at once. Nothing is stored, and what Redis
 * loses is lost.
 *
 * Its Redis client is ioredis, which writes what it is given at once. node-redis 6 writes 16 kB a turn of the event loop: a busy
 * process then published a fiftieth of what it acknowledged, kept the rest in memory, and by default died of a command's timeout.
 */
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'

const publisher = new Redis(process.env.REDIS_URL)
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', (error) => console.error(error.message))

// A publish that failed all the same is a lost message, and the generator's account shows it.
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
