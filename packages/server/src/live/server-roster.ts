/**
 * What each server says of its own database, kept where it can still be read when that database cannot: in Redis. Each
 * server writes its line and reads the others' in one step. Only ages leave the script, measured by that Redis's own
 * clock, so no clock is compared with another. Redis may lose it all: then nobody knows of anybody for a second.
 */
import type { Redis, RedisScript } from '../support/redis.ts'

export const rosterBounds = {
  /** A line that was not written again for this long is forgotten. */
  forgetAfterMs: 60_000,
  /** Lines read at once; more servers than that are not looked at. */
  serversMax: 1_000,
} as const

const rosterName = 'servers'

/**
 * Writes one server's line and tells all of them.
 *
 * - KEYS: 1 the roster (hash: boot → `<ms of this Redis> <1 healthy, 0 not>`)
 * - ARGV: 1 boot · 2 `1` or `0`, empty to leave · 3 life of a line, ms · 4 most lines
 * - Returns `[boot, ageMs, healthy, boot, ageMs, healthy, …]`. A line from the future was written by a Redis whose clock was
 *   ahead, and is dropped.
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
  /** How long ago it said so. */
  readonly ageMs: number
}

export class ServerRoster {
  readonly #redis: Redis
  readonly #boot: string

  constructor(redis: Redis, boot: string) {
    this.#redis = redis
    this.#boot = boot
  }

  /** Says how this server is, and tells what the others said. Rejects when Redis cannot be asked. */
  async report(hasDatabase: boolean): Promise<readonly OtherServer[]> {
    const reply = (await this.#run(hasDatabase ? '1' : '0')) as (string | number)[]
    const others: OtherServer[] = []
    for (let index = 0; index + 2 < reply.length; index += 3) {
      const [boot, ageMs, healthy] = reply.slice(index)
      if (boot !== this.#boot) others.push({ boot: String(boot), ageMs: Number(ageMs), hasDatabase: healthy === 1 })
    }
    return others
  }

  /** This server is not there any more. Never rejects: its line is forgotten by itself. */
  async leave(): Promise<void> {
    await this.#run('').catch(() => undefined)
  }

  #run(word: '1' | '0' | ''): Promise<unknown> {
    const { forgetAfterMs, serversMax } = rosterBounds
    return this.#redis.script(report, [this.#redis.keyOf(rosterName)], [this.#boot, word, forgetAfterMs, serversMax])
  }
}
