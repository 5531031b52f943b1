/**
 * Registry of all servers. It records whether each server reaches the database, and is stored in
 * Redis, so that servers can read it while the database is unreachable. Each server writes its own
 * entry and reads the others in one step. The script returns only ages, measured by the clock of
 * Redis, so clocks of different machines are never compared. If Redis loses the registry, the
 * servers do not see each other for a second.
 */
import type { Redis, RedisScript } from '../redis/redis.ts'

export const peerRegistryLimits = {
  /** Age at which an entry that was not refreshed is removed. */
  forgetAfterMs: 60_000,
  /** Maximum number of entries returned by one read. Further servers are ignored. */
  serversMax: 1_000,
} as const

const peerRegistryName = 'servers'

/**
 * Writes the entry of one server and returns the entries of all servers.
 *
 * - KEYS: 1 the registry (hash: boot → `<ms of this Redis> <1 healthy, 0 not>`)
 * - ARGV: 1 boot · 2 `1` or `0`, empty to leave · 3 life of an entry, ms · 4 maximum number of
 *   entries
 * - Returns `[boot, ageMs, healthy, boot, ageMs, healthy, …]`. An entry with a future time is
 *   removed: it was written by a Redis whose clock was ahead.
 * - Cost: O(servers).
 */
const report: RedisScript = {
  lua: `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) return {} end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', now) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local all = redis.call('HGETALL', KEYS[1])
local reply = {}
for i = 1, #all, 2 do
  local at, healthy = string.match(all[i + 1], '^(%d+) ([01])$')
  local age = at and now - tonumber(at) or -1
  if age < 0 or age > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], all[i])
  elseif #reply < 3 * tonumber(ARGV[4]) then
    reply[#reply + 1] = all[i]
    reply[#reply + 1] = age
    reply[#reply + 1] = tonumber(healthy)
  end
end
return reply`,
}

export interface OtherServer {
  readonly boot: string
  readonly hasDatabase: boolean
  /** Time since the server wrote this report. */
  readonly ageMs: number
}

export class PeerRegistry {
  readonly #redis: Redis
  readonly #boot: string

  constructor(redis: Redis, boot: string) {
    this.#redis = redis
    this.#boot = boot
  }

  /**
   * Reports this server's health and returns the reports of the other servers. Rejects when Redis
   * cannot be reached.
   */
  async report(hasDatabase: boolean): Promise<readonly OtherServer[]> {
    const reply = (await this.#run(hasDatabase ? '1' : '0')) as (string | number)[]
    const others: OtherServer[] = []
    for (let index = 0; index + 2 < reply.length; index += 3) {
      const [boot, ageMs, healthy] = reply.slice(index)
      if (boot !== this.#boot) others.push({ boot: String(boot), ageMs: Number(ageMs), hasDatabase: healthy === 1 })
    }
    return others
  }

  /** Removes this server's entry. Never rejects: the entry expires by itself. */
  async leave(): Promise<void> {
    await this.#run('').catch(() => undefined)
  }

  #run(word: '1' | '0' | ''): Promise<unknown> {
    const { forgetAfterMs, serversMax } = peerRegistryLimits
    return this.#redis.script(
      report,
      [this.#redis.keyOf(peerRegistryName)],
      [this.#boot, word, forgetAfterMs, serversMax],
    )
  }
}
