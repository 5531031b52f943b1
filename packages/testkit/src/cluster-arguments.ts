/**
 * Arguments of `npm run cluster`. For a wrong argument, the result is one error line that names the
 * expected value.
 */
import type { BalancerKind } from './balancer.ts'

export interface ClusterArguments {
  readonly servers: number
  readonly balancer: BalancerKind
  readonly redisCluster: boolean
  readonly subscribeAtReplica: boolean
  readonly tls: boolean
  readonly port: number | undefined
}

export const serversMax = 20
const usage = 'expected --servers N [--redis-cluster | --subscribe-at-replica] [--nginx] [--tls] [--port N]'

function readInteger(text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined || !/^\d{1,6}$/.test(text)) return undefined
  const value = Number(text)
  return value >= min && value <= max ? value : undefined
}

/** Returns the parsed arguments. For a wrong argument, returns the error line as a string. */
export function readClusterArguments(args: readonly string[]): ClusterArguments | string {
  let servers = 3
  let port: number | undefined
  const flags = new Set<string>()
  // Treat `--servers=3` like `--servers 3`.
  const rest = args.flatMap((arg) => (/^--\w[\w-]*=/.test(arg) ? arg.split(/=(.*)/s, 2) : [arg]))
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    switch (arg) {
      case '--servers': {
        const value = rest.shift()
        const count = readInteger(value, 1, serversMax)
        if (count === undefined) return refuse(arg, value, `a whole number from 1 to ${serversMax}`)
        servers = count
        break
      }
      case '--port': {
        const value = rest.shift()
        port = readInteger(value, 1, 65_535)
        if (port === undefined) return refuse(arg, value, 'a port from 1 to 65535')
        break
      }
      case '--redis-cluster':
      case '--subscribe-at-replica':
      case '--nginx':
      case '--tls':
        flags.add(arg)
        break
      default:
        return `unable to start a cluster; ${JSON.stringify(arg)} is not an argument: ${usage}`
    }
  }
  if (flags.has('--redis-cluster') && flags.has('--subscribe-at-replica'))
    return 'unable to start a cluster; a Redis Cluster starts without replicas: use either --redis-cluster or --subscribe-at-replica'
  return {
    servers,
    balancer: flags.has('--nginx') ? 'nginx' : 'haproxy',
    redisCluster: flags.has('--redis-cluster'),
    subscribeAtReplica: flags.has('--subscribe-at-replica'),
    tls: flags.has('--tls'),
    port,
  }
}

function refuse(name: string, value: string | undefined, expected: string): string {
  const found = value === undefined ? 'has no value' : `is ${JSON.stringify(value)}`
  return `unable to start a cluster; ${name} ${found}: expected ${expected}`
}
