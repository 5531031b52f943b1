/**
 * Addresses of Postgres, Redis and mail servers, judged once at the start: whatever a client would trip over later (a `%` that
 * begins no escape, a port that cannot be, a database that is no number) is refused while a person watches.
 */

export interface ServiceUrlRules {
  readonly protocols: readonly string[]
  /** What may follow the host, without the leading `/`. */
  readonly path: RegExp
  /** May the host be missing because a parameter names it (`?host=/run/postgresql`)? */
  readonly hostParameter?: string
  readonly allowsParameters: boolean
}

/** Why the text is no such address, in words that complete "…; "; undefined: it is one. Never repeats the text. */
export function findServiceUrlFault(text: string, rules: ServiceUrlRules): string | undefined {
  if (/[\s\u0000-\u001f\u007f]/.test(text)) return 'it contains a space or a control character'
  if (!URL.canParse(text)) return 'it is no address, or its port is not from 1 to 65535'
  const url = new URL(text)
  if (!rules.protocols.includes(url.protocol)) return 'its scheme is another'
  if (!/^[a-z]+:\/\//i.test(text)) return 'there is no // behind the scheme'
  for (const part of [url.username, url.password, url.hostname, url.pathname])
    if (!isDecodable(part)) return 'a % that begins no escape has to be written %25'
  // A password with / or # in it ends the host early, and what follows it is taken for a path.
  if (/[@]/.test(url.pathname + url.hash)) return 'an @, /, ? or # of a password has to be written %40, %2F, %3F or %23'
  const namesHost = rules.hostParameter !== undefined && (url.searchParams.get(rules.hostParameter) ?? '') !== ''
  if (url.hostname === '' && !namesHost) return 'there is no host'
  if (url.port === '0') return 'its port is not from 1 to 65535'
  if (url.username === '' && url.password !== '' && !rules.protocols.includes('redis:'))
    return 'there is a password without a user'
  if (url.hash !== '' || (!rules.allowsParameters && url.search !== '')) return 'nothing may follow ? or #'
  if (!rules.path.test(url.pathname.slice(1))) return 'what follows the host is not expected'
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
