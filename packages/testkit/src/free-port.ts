/** A free loopback port, for parts that cannot pick one themselves and say which. */
import { createServer } from 'node:net'

export function findFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('unable to find a free port; no address'))
        else resolve(address.port)
      })
    })
  })
}
