/**
 * The newest live values in Redis, a hash per conversation that ends a minute after the last change. While Redis is away
 * nothing is kept and nothing is queued: live values then work among the connections of one server.
 */
import { type Id, limits, type LiveValue, liveValueSchema } from '@chorus/protocol'
import type { Redis } from '../support/redis.ts'
import { holdingBounds } from './live-holdings.ts'
import type { LiveStore, SharedValue } from './live-store.ts'
import { keepLiveValues, readLiveValues } from './scripts.ts'

export const liveStoreBounds = {
  /** Values kept of one conversation; beyond it the setter's own give way, else those that end first. */
  valuesPerConversationMax: 2_000,
  /** Values kept of one user in one conversation; beyond it the one set longest ago gives way. */
  valuesPerUserMax: holdingBounds.perConversationMax,
  /** Values written by one script. */
  valuesPerScript: 100,
  /** Scripts under way; beyond it values are not kept. */
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
    const { valuesPerScript, valuesPerConversationMax, valuesPerUserMax, underWayMax } = liveStoreBounds
    const keys = [this.#keyOf(conversation), `${this.#keyOf(conversation)}:own`]
    for (let from = 0; from < values.length; from += valuesPerScript) {
      if (this.#underWay >= underWayMax) return
      this.#underWay++
      const args = values.slice(from, from + valuesPerScript).flatMap(({ value, order, origin, lifeMs }) => [
        `${value.key} ${value.user}`,
        order,
        origin,
        // What is over stays, so that an earlier value that comes late does not bring it back.
        value.value === null ? limits.liveTtlMaxMs : Math.max(1, Math.ceil(lifeMs)),
        JSON.stringify([value.at, value.expiresAt, value.value]),
      ])
      this.#redis
        .script(keepLiveValues, keys, [valuesPerConversationMax, limits.liveTtlMaxMs, valuesPerUserMax, ...args])
        // The next value comes by itself.
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

/** Whoever reaches Redis can write there: what is no value is skipped. */
function parseValue(conversation: Id, key: string, user: string, json: string): LiveValue | undefined {
  try {
    const [at, expiresAt, value] = JSON.parse(json) as unknown[]
    return liveValueSchema.safeParse({ conversation, key, user, value, at, expiresAt }).data
  } catch {
    return undefined
  }
}
