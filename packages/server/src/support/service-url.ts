/**
 * Validates the URLs of Postgres, Redis and mail servers once at the start. So URLs that a client
 * library would refuse later (a `%` that starts no escape, an impossible port, a database that is
 * not a number) already fail at the start, while the operator is watching.
 */

export interface ServiceUrlRules {
  readonly protocols: readonly string[]
  /** Pattern that the path of the URL must match, without the leading `/`. */
  readonly path: RegExp
  /** Name of the query parameter that may replace the host (`?host=/run/postgresql`). */
  readonly hostParameter?: string
  readonly allowsParameters: boolean
}

/**
 * Returns why the URL is invalid, as the second half of an error message after "; ". Returns
 * undefined if it is valid. The returned text never contains the URL, because a URL may contain a
 * password.
 */
export function findServiceUrlFault(text: string, rules: ServiceUrlRules): string | undefined {
  if (/[\s\u0000-\u001f\u007f]/.test(text)) return 'it contains a space or a control character'
  if (!URL.canParse(text)) return 'it is not a URL, or its port is not from 1 to 65535'
  const url = new URL(text)
  if (!rules.protocols.includes(url.protocol)) return 'its scheme is not allowed'
  if (!/^[a-z]+:\/\//i.test(text)) return 'there is no // after the scheme'
  for (const part of [url.username, url.password, url.hostname, url.pathname])
    if (!isDecodable(part)) return 'a literal % must be written %25'
  // At a / or # in a password, the parser ends the host too early and takes the rest of the
  // password as the path.
  if (/[@]/.test(url.pathname + url.hash)) return 'an @, /, ? or # in a password must be written %40, %2F, %3F or %23'
  const namesHost = rules.hostParameter !== undefined && (url.searchParams.get(rules.hostParameter) ?? '') !== ''
  if (url.hostname === '' && !namesHost) return 'it has no host'
  if (url.port === '0') return 'its port is not from 1 to 65535'
  if (url.username === '' && url.password !== '' && !rules.protocols.includes('redis:'))
    return 'it has a password but no user'
  if (url.hash !== '' || (!rules.allowsParameters && url.search !== '')) return 'nothing may follow ? or #'
  if (!rules.path.test(url.pathname.slice(1))) return 'the part after the host is not allowed'
  return undefined
}

function isDecodable(part: string): boolean {
  try {
    decodeURIComponent(part)
    return true
  } catch {
    return false
  }
}
