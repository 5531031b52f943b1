/**
 * Finds a free loopback port, for programs that cannot choose and report a port themselves, or that
 * must restart on the same port. The port is below the range that the system uses for outgoing
 * connections, so no such connection can take the port while the program is down. On Linux, the
 * port stays reserved until this process ends: in other processes, this function neither returns
 * nor probes it.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'

const lowestPort = 15_000
const attemptsMax = 200

function highestPort(): number {
  try {
    const [low] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').trim().split(/\s+/)
    return Math.max(lowestPort + 1_000, Number(low) - 1)
  } catch {
    return 32_767
  }
}

export async function findFreePort(): Promise<number> {
  const highest = highestPort()
  for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
    const port = lowestPort + Math.floor(Math.random() * (highest - lowestPort))
    if ((await claim(port)) && (await isFree(port))) return port
  }
  throw new Error(`unable to find a free port; ${attemptsMax} from ${lowestPort} to ${highest} are taken`)
}

/**
 * Reserves the port for this process by a socket in the abstract namespace of Linux, which has no
 * file and disappears with the process. On other systems, reserves nothing and returns true.
 */
function claim(port: number): Promise<boolean> {
  if (process.platform !== 'linux') return Promise.resolve(true)
  return new Promise((resolve) => {
    const claimed = createServer()
    claimed.unref()
    claimed.once('error', () => resolve(false))
    claimed.listen(`\0chorus-port-${port}`, () => resolve(true))
  })
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
