/**
 * Main process of `npm run cluster`. Starts a cluster, prints a line for each part and then
 * `ready`, and reports when a part dies (it is not restarted; the other parts continue). Leaves no
 * process or folder behind, however it ends: by a signal, by the death of its parent, or by
 * SIGKILL, after which the reaper cleans up.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { startCluster } from './cluster.ts'
import type { Cluster, ClusterPart } from './cluster.ts'
import { readClusterArguments } from './cluster-arguments.ts'
import type { ClusterArguments } from './cluster-arguments.ts'

const parentCheckEveryMs = 250
/**
 * Delay before the death of a part is reported. A terminal sends Ctrl-C to every part at once, so
 * some parts end before this process has handled the signal.
 */
const sayDeathAfterMs = 250
/** Time limit to remove the parts; remaining parts are killed at exit. */
const removeWithinMs = 8_000
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

let cluster: Cluster | undefined
const state = { isEnding: false }

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function end(code: number): Promise<void> {
  if (state.isEnding) return
  state.isEnding = true
  // Parts that are still starting now are ended at exit.
  const timer = setTimeout(() => process.exit(code), removeWithinMs)
  await cluster?.remove().catch(() => undefined)
  clearTimeout(timer)
  process.exit(code)
}

function watch({ name, pid, exited }: ClusterPart): void {
  void exited.then(async ({ code, signal }) => {
    await pause(sayDeathAfterMs)
    if (!state.isEnding) say(`${name} died (pid ${pid}, ${signal ?? `status ${code}`})`)
  })
}

/**
 * Returns the caller's variables for the servers, without the variables that define the cluster.
 */
function callerEnv(): Record<string, string> {
  const own = /^(DATABASE_URL|REDIS_(SUBSCRIBE_)?URL|DATA_DIR|HOST|PORT|METRICS_PORT|SERVER_NAME|PUBLIC_URL|npm_.*)$/
  const entries = Object.entries(process.env).filter(([name]) => !own.test(name))
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? '']))
}

const order = ['balancer', 'server', 'redis', 'replica', 'postgres']
const rankOf = ({ name }: ClusterPart): number => order.indexOf(name.split(' ')[0] ?? '')

async function run({ servers, balancer, redisCluster, port }: ClusterArguments): Promise<void> {
  const parts: ClusterPart[] = []
  cluster = await startCluster({
    servers,
    balancer,
    redisCluster,
    ...(port !== undefined && { port }),
    env: callerEnv(),
    onPart: (part) => parts.push(part),
  })
  parts.sort((a, b) => rankOf(a) - rankOf(b) || a.name.localeCompare(b.name, 'en', { numeric: true }))
  for (const part of parts) say(`${part.name} ${part.url} (pid ${part.pid})`)
  say('ready')
  for (const part of parts) watch(part)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(exitCodes[signal]))
process.stdout.on('error', () => void end(0)) // The reader of the output has closed it.
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent) void end(exitCodes.SIGTERM)
}, parentCheckEveryMs)

const asked = readClusterArguments(process.argv.slice(2))
if (typeof asked === 'string') {
  process.stderr.write(`${asked}\n`)
  process.exit(2)
}
try {
  await run(asked)
} catch (error) {
  if (!state.isEnding) process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  await end(1)
}
