/**
 * Sends the requests of a client: over HTTP, or over the live connection while there is one.
 *
 * Guarantee: a request is aborted when the lifetime it belongs to ends (sign-out or stop). Later
 * requests of that lifetime are refused at once. `wire/retry-once.ts` defines retries and the order
 * of requests.
 */
import type { Clock } from '../support/clock.ts'
import type { Lifetime } from '../support/lifetime.ts'
import { type HttpApi, type HttpLine, toHttpRequest } from '../wire/http-api.ts'
import { createRequestQueue, retryOnce } from '../wire/retry-once.ts'
import type { SendRequest } from '../wire/send-request.ts'
import type { Connection } from './connection.ts'
import { callForAck } from './transport-sse.ts'

export interface Requests {
  /**
   * Returns an HTTP API whose requests are aborted when the lifetime ends (a sign-in, or the time
   * from start to stop).
   */
  readonly api: (life: Lifetime) => HttpApi
  /**
   * Returns a function that sends commands of which only the newest counts, such as a new text or
   * read marker. A newer command for the same path replaces an older one that is still waiting for
   * a retry.
   */
  readonly sender: (life: Lifetime) => SendRequest
}

export function createRequests(
  http: HttpLine,
  connection: Connection,
  timers: Pick<Clock, 'after' | 'random'>,
): Requests {
  const enqueue = createRequestQueue(timers)
  return {
    api: (life) => ({
      call: async (name, request) => {
        const send = () => http.call(name, request, life.signal)
        const { method, path } = toHttpRequest(name, request)
        // Reads (GET) and requests that create something new each time (POST) may run in any order.
        return method === 'GET' || method === 'POST' ? retryOnce(send, life.waits) : enqueue(path, false, send)
      },
    }),
    sender: (life) => {
      const line: HttpApi = { call: (name, request) => http.call(name, request, life.signal) }
      return async (name, request) =>
        enqueue(toHttpRequest(name, request).path, true, async () => {
          life.assert(name)
          return connection.isUsable ? connection.request(name, request) : callForAck(line, name, request)
        })
    },
  }
}
