/**
 * Stores the newest live values in Redis, in one hash per conversation. A hash expires a minute
 * after its last change. While Redis is unavailable, nothing is stored or queued. Live values then
 * reach only the connections of their own server.
 */
import { type Id, limits, type LiveValue, liveValueSchema } from '@chorus/protocol'
import type { Redis } from '../redis/redis.ts'
import { holdingLimits } from './live-holdings.ts'
import type { LiveStore, SharedValue } from './live-store.ts'
import { keepLiveValues, readLiveValues } from './scripts.ts'

export const liveStoreLimits = {
  /**
   * Maximum number of stored values of one conversation. Beyond it, Redis first evicts values of
   * the user who sets a value, then the values that expire next.
   */
  valuesPerConversationMax: 2_000,
  /**
   * Maximum number of stored values of one user in one conversation. Beyond it, the user's oldest
   * value is evicted.
   */
  valuesPerUserMax: holdingLimits.perConversationMax,
  /** Maximum number of values written by one script. */
  valuesPerScript: 100,
  /** Maximum number of scripts that run at the same time. Beyond it, values are not stored. */
  underWayMax: 200,
} as const

export class RedisLiveStore implements LiveStore {
  readonly #redis: Redis
  #underWay = 0

  constructor(redis: Redis) {
    this.#redis = redis
  }

  keep(conversation: Id, values: readonly SharedValue[]): void {
    if (this.#redis.problem() !== undefined) return
    const { valuesPerScript, valuesPerConversationMax, valuesPerUserMax, underWayMax } = liveStoreLimits
    const keys = [this.#keyOf(conversation), `${this.#keyOf(conversation)}:own`]
    for (let from = 0; from < values.length; from += valuesPerScript) {
      if (this.#underWay >= underWayMax) return
      this.#underWay++
      const args = values.slice(from, from + valuesPerScript).flatMap(({ value, order, origin, lifeMs }) => [
        `${value.key} ${value.user}`,
        order,
        origin,
        // Keeps an ended value for a while, so that an older value that arrives late does not
        // reappear.
        value.value === null ? limits.liveTtlMaxMs : Math.max(1, Math.ceil(lifeMs)),
        JSON.stringify([value.at, value.expiresAt, value.value]),
      ])
      this.#redis
        .script(keepLiveValues, keys, [valuesPerConversationMax, limits.liveTtlMaxMs, valuesPerUserMax, ...args])
        // A failed write is not retried, because a live value is soon replaced by the next one.
        .catch(() => undefined)
        .finally(() => {
          this.#underWay--
        })
    }
  }

  async read(conversation: Id): Promise<readonly SharedValue[]> {
    if (this.#redis.problem() !== undefined) return []
    try {
      const reply = (await this.#redis.script(readLiveValues, [this.#keyOf(conversation)], [])) as readonly (
        | string
        | number
      )[]
      const found: SharedValue[] = []
      for (let index = 0; index + 4 < reply.length; index += 5) {
        const [field = '', order, origin = '', lifeMs, json = ''] = reply.slice(index, index + 5)
        const [key = '', user = ''] = String(field).split(' ')
        const value = parseValue(conversation, key, user, String(json))
        if (value !== undefined)
          found.push({ value, order: Number(order), origin: String(origin), lifeMs: Number(lifeMs) })
      }
      return found
    } catch {
      return []
    }
  }

  #keyOf(conversation: Id): string {
    return this.#redis.keyOf(`live:{${conversation}}`)
  }
}

/**
 * Parses a stored value. Returns undefined for invalid data, because any client of Redis can write
 * to this hash.
 */
function parseValue(conversation: Id, key: string, user: string, json: string): LiveValue | undefined {
  try {
    const [at, expiresAt, value] = JSON.parse(json) as unknown[]
    return liveValueSchema.safeParse({ conversation, key, user, value, at, expiresAt }).data
  } catch {
    return undefined
  }
}
