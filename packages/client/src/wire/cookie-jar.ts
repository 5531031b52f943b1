/**
 * Keeps the session cookie on platforms without a browser (Node). Keeps only the two cookie names
 * of the session, so that cookies of other programs on the host are never sent back. Browsers never
 * expose `Set-Cookie`, so there the jar stays empty without any platform detection.
 */

const kept = new Set(['chorus_session', '__Host-chorus_session'])

export class CookieJar {
  #cookies: Readonly<Record<string, string>>
  readonly #onChange: (cookies: Readonly<Record<string, string>>) => void

  constructor(
    cookies: Readonly<Record<string, string>>,
    onChange: (cookies: Readonly<Record<string, string>>) => void,
  ) {
    this.#cookies = cookies
    this.#onChange = onChange
  }

  /** The value of the `Cookie` header, or undefined when there are no cookies. */
  get header(): string | undefined {
    const pairs = Object.entries(this.#cookies).map(([name, value]) => `${name}=${value}`)
    return pairs.length === 0 ? undefined : pairs.join('; ')
  }

  /** The `Cookie` header as an object of headers, which is empty when there are no cookies. */
  get headers(): Readonly<Record<string, string>> {
    const cookie = this.header
    return cookie === undefined ? {} : { cookie }
  }

  get cookies(): Readonly<Record<string, string>> {
    return this.#cookies
  }

  restore(cookies: Readonly<Record<string, string>>): void {
    this.#cookies = cookies
  }

  /** Stores the cookies from the `Set-Cookie` headers of a response. */
  store(response: Response): void {
    const lines = setCookieLines(response.headers)
    if (lines.length === 0) return
    // Compute the expiry with the server's clock, because the device's clock may be wrong by years.
    const sentAtMs = Date.parse(response.headers.get('date') ?? '')
    const nowMs = Number.isNaN(sentAtMs) ? Date.now() : sentAtMs
    const next: Record<string, string> = { ...this.#cookies }
    for (const line of lines) {
      const [pair = '', ...attributes] = line.split(';')
      const split = pair.indexOf('=')
      const name = pair.slice(0, split).trim()
      if (split <= 0 || !kept.has(name)) continue
      const value = pair.slice(split + 1).trim()
      if (value === '' || isOver(attributes, nowMs)) delete next[name]
      else next[name] = value
    }
    this.#cookies = next
    this.#onChange(next)
  }
}

/**
 * Returns whether the platform manages cookies itself and does not let programs set them, as
 * browsers do.
 */
export function keepsCookies(): boolean {
  try {
    return new Request('http://localhost', { headers: { cookie: 'a=b' } }).headers.get('cookie') === null
  } catch {
    return false
  }
}

/**
 * Splits the `Set-Cookie` headers. An older `fetch` joins them with commas, which dates also
 * contain.
 */
function setCookieLines(headers: Headers): readonly string[] {
  if (typeof headers.getSetCookie === 'function') return headers.getSetCookie()
  return headers.get('set-cookie')?.split(/,(?=\s*[^\s;,=]+=)/) ?? []
}

/** Returns whether the cookie has expired. `Max-Age` wins over `Expires` (RFC 6265). */
function isOver(attributes: readonly string[], nowMs: number): boolean {
  const fields = new Map(
    attributes.map((attribute): [string, string] => {
      const [name = '', ...value] = attribute.split('=')
      return [name.trim().toLowerCase(), value.join('=').trim()]
    }),
  )
  const maxAge = Number(fields.get('max-age') ?? Number.NaN)
  if (Number.isInteger(maxAge)) return maxAge <= 0
  return Date.parse(fields.get('expires') ?? '') <= nowMs
}
