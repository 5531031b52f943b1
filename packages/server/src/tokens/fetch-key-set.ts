/**
 * Loads a JWK set. Its size, its time and its number of keys are bounded, and redirects are not
 * followed. An operator set the address, so it may be http and private.
 *
 * Uses node:http because `fetch` refuses about eighty ports that browsers must not use.
 */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { readBody } from '../support/read-body.ts'

export const keySetBounds = {
  bytesMax: 65_536,
  timeoutMs: 3_000,
  /** Maximum number of keys to read. Further ones are ignored. */
  keysMax: 100,
} as const

/** A key of a set, not yet checked. */
export interface NamedJwk {
  readonly kid: string
  readonly jwk: { readonly [member: string]: unknown }
}

/** Printable ASCII without blanks, as for registered public keys. */
const kidPattern = /^[!-~]{1,128}$/

/** Returns the named keys of the set. Rejects with the reason if it cannot be loaded. */
export async function fetchKeySet(url: string, signal?: AbortSignal): Promise<readonly NamedJwk[]> {
  const timeout = AbortSignal.timeout(keySetBounds.timeoutMs)
  try {
    return readKeySet(await get(new URL(url), signal === undefined ? timeout : AbortSignal.any([timeout, signal])))
  } catch (error) {
    if (timeout.aborted) throw new Error(`no complete answer within ${keySetBounds.timeoutMs} ms`, { cause: error })
    throw error
  }
}

export function readKeySet(text: string): readonly NamedJwk[] {
  const { keys } = (JSON.parse(text) ?? {}) as { readonly keys?: unknown }
  if (!Array.isArray(keys)) throw new Error('the answer is not a JWK set')
  return keys.slice(0, keySetBounds.keysMax).flatMap((jwk: unknown) => {
    if (typeof jwk !== 'object' || jwk === null) return []
    const { kid } = jwk as { readonly kid?: unknown }
    return typeof kid === 'string' && kidPattern.test(kid) ? [{ kid, jwk: jwk as NamedJwk['jwk'] }] : []
  })
}

function get(url: URL, signal: AbortSignal): Promise<string> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest
  const headers = { accept: 'application/jwk-set+json, application/json', 'accept-encoding': 'identity' }
  return new Promise((resolve, reject) => {
    const request = send(url, { agent: false, headers, signal }, (response) => {
      readBody(response, keySetBounds.bytesMax).then(resolve, reject)
      const { statusCode: status = 0 } = response
      if (status === 200) return
      const isRedirect = status >= 300 && status < 400
      response.destroy(new Error(isRedirect ? 'redirects are not followed' : `the answer has status ${status}`))
    })
    request.on('error', reject)
    request.end()
  })
}
