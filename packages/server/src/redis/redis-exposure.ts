/**
 * Checks that a Redis without a password cannot be reached by everyone: any program that reaches it
 * could forge messages between servers.
 */
import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'
import type { RedisClientType } from 'redis'
import type { Logger } from '../support/logger.ts'
import { redactUrl } from '../support/redact-url.ts'
import { StartError } from '../support/start-error.ts'

export interface RedisTarget {
  readonly url: string
  /** Name of the configuration variable that contains the URL, for error messages. */
  readonly variable: string
  /** True if the operator allows a public address without a password. */
  readonly allowInsecure: boolean
  readonly logger: Logger
}

const privateNetworks = new BlockList()
for (const [network, prefix] of [
  ['127.0.0.0', 8],
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
] as const)
  privateNetworks.addSubnet(network, prefix, 'ipv4')
privateNetworks.addAddress('::1', 'ipv6')
privateNetworks.addSubnet('fc00::', 7, 'ipv6')
privateNetworks.addSubnet('fe80::', 10, 'ipv6')

/**
 * Refuses a public Redis address without a password: every program that reaches it controls its
 * data.
 */
export async function refusePublicWithoutPassword({
  url,
  variable,
  allowInsecure,
  logger,
}: RedisTarget): Promise<void> {
  const { hostname, password } = new URL(url)
  if (password !== '') return
  const host = hostname.replace(/^\[|\]$/g, '')
  const addresses = isIP(host)
    ? [host]
    : await lookup(host, { all: true }).then(
        (found) => found.map(({ address }) => address),
        // The host does not exist, or not yet. The attempt to connect will report that.
        () => [],
      )
  const open = addresses.find((address) => !privateNetworks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'))
  if (open === undefined) return
  const line = `${variable} is ${redactUrl(url)}; ${open} is a public address, and there is no password`
  if (!allowInsecure)
    throw new StartError(`${line}: set one (redis://:password@host), or REDIS_INSECURE=allow if the network is closed`)
  logger.warn(`${line}; allowed by REDIS_INSECURE`)
}

/** Logs a warning if Redis accepts connections from all addresses without a password. */
export async function warnWhenOpenToAll(
  client: RedisClientType,
  { url, variable, logger }: RedisTarget,
): Promise<void> {
  if (new URL(url).password !== '') return
  try {
    const answer = (await client.sendCommand(['CONFIG', 'GET', 'bind', 'protected-mode'])) as unknown
    const text = JSON.stringify(answer instanceof Map ? [...answer] : answer)
    if (/"protected-mode"[^a-z]*"no"/.test(text) && /[*]|0[.]0[.]0[.]0|"bind"[^a-z0-9:*.]*""/.test(text))
      logger.warn(
        `${variable} is ${redactUrl(url)}; that Redis listens on every address without a password: anyone who can reach it can read and change the hints of the chat; set requirepass`,
      )
  } catch {
    // The account may lack permission to read the configuration of Redis. That is not an error.
  }
}
