/**
 * Main process of `npm run cluster`. Starts a cluster, prints a line for each part and then
 * `ready`, and reports when a part dies (the other parts continue). Commands on its standard input
 * add, kill and start servers. Leaves no process or folder behind, whether it ends by a signal,
 * because its parent died, or by SIGKILL. After SIGKILL, the reaper process (reaper.mjs) removes
 * them.
 */
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { startCluster } from './cluster.ts'
import type { Cluster, ClusterPart } from './cluster.ts'
import { readClusterArguments, serversMax } from './cluster-arguments.ts'
import type { ClusterArguments } from './cluster-arguments.ts'
import { clusterCommandsHint, readClusterCommand } from './cluster-commands.ts'

const parentCheckEveryMs = 250
/**
 * Delay before the death of a part is reported. A terminal sends Ctrl-C to every part at once, so
 * some parts end before this process has handled the signal. Their end must not be reported.
 */
const sayDeathAfterMs = 250
/**
 * Maximum time for removing the parts at the end. Parts that remain after it are killed at exit.
 */
const removeWithinMs = 8_000
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

let cluster: Cluster | undefined
const state = { isEnding: false }
/** Names of the cluster parts that have ended, such as `server 1`. */
const dead = new Set<string>()
/** Pids of balancer processes that a new process has replaced. Their end is not reported. */
const replaced = new Set<number>()

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

async function end(code: number): Promise<void> {
  if (state.isEnding) return
  state.isEnding = true
  // Exit after a time limit even if the removal hangs. Parts that are still running then are killed
  // at exit.
  const timer = setTimeout(() => process.exit(code), removeWithinMs)
  await cluster?.remove().catch(() => undefined)
  clearTimeout(timer)
  process.exit(code)
}

function watch({ name, pid, exited }: ClusterPart): void {
  // A metrics part has no process of its own, because the server's process serves the metrics.
  if (name.startsWith('metrics ')) return
  dead.delete(name)
  void exited.then(async ({ code, signal }) => {
    if (replaced.has(pid)) return
    dead.add(name)
    await pause(sayDeathAfterMs)
    if (!state.isEnding) say(`${name} died (pid ${pid}, ${signal ?? `status ${code}`})`)
  })
}

/**
 * Returns the environment variables of the caller that are passed to the servers. Leaves out the
 * variables that the cluster sets itself.
 */
function callerEnv(): Record<string, string> {
  const own = /^(DATABASE_URL|REDIS_(SUBSCRIBE_)?URL|DATA_DIR|HOST|PORT|METRICS_PORT|SERVER_NAME|PUBLIC_URL|npm_.*)$/
  const entries = Object.entries(process.env).filter(([name]) => !own.test(name))
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? '']))
}

const order = ['balancer', 'server', 'metrics', 'redis', 'replica', 'postgres']
const rankOf = ({ name }: ClusterPart): number => order.indexOf(name.split(' ')[0] ?? '')

const sayPart = ({ name, url, pid }: ClusterPart): void => say(`${name} ${url} (pid ${pid})`)

async function run({ port, ...options }: ClusterArguments): Promise<void> {
  const parts: ClusterPart[] = []
  let isReady = false
  cluster = await startCluster({
    ...options,
    hosts: true,
    ...(port !== undefined && { port }),
    env: { WELCOME_CHANNEL: 'general', ...callerEnv() },
    onPart: (part) => {
      if (!isReady) return parts.push(part)
      sayPart(part)
      return watch(part)
    },
  })
  parts.sort((a, b) => rankOf(a) - rankOf(b) || a.name.localeCompare(b.name, 'en', { numeric: true }))
  for (const part of parts) sayPart(part)
  if (cluster.caFile !== undefined) say(`certificate ${cluster.caFile}`)
  say('ready')
  isReady = true
  for (const part of parts) watch(part)
  if (process.stdin.isTTY) say(clusterCommandsHint)
  for await (const line of createInterface({ input: process.stdin })) await runCommand(cluster, line).catch(sayProblem)
}

async function runCommand(running: Cluster, line: string): Promise<void> {
  const command = readClusterCommand(line)
  if (typeof command === 'string') return say(command)
  switch (command.kind) {
    case 'nothing':
      return
    case 'add': {
      if (running.servers.length >= serversMax) return say(`unable to add a server; there are ${serversMax} already`)
      const { balancer } = running
      const { pid } = balancer
      replaced.add(pid)
      await running.add().catch((error: unknown) => {
        replaced.delete(pid)
        throw error
      })
      return announce('balancer', balancer)
    }
    case 'kill':
    case 'start': {
      const server = running.servers[command.server - 1]
      const count = running.servers.length
      if (server === undefined) return say(`unable to ${command.kind} server ${command.server}; there are ${count}`)
      if (command.kind === 'kill') return server.kill9()
      const name = `server ${command.server}`
      if (!dead.has(name)) return say(`unable to start server ${command.server}; it is running`)
      await server.start()
      return announce(name, server)
    }
  }
}

function announce(name: string, { url, pid, exited }: Omit<ClusterPart, 'name'>): void {
  const part = { name, url, pid, exited }
  sayPart(part)
  watch(part)
}

function sayProblem(error: unknown): void {
  if (!state.isEnding) say(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(exitCodes[signal]))
process.stdout.on('error', () => void end(0)) // End when the reader of the output closes the pipe.
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
