/**
 * Keeps the session cookie where no browser does (Node). Only the two names of the session are kept, so nothing another
 * program on the host sets is ever sent back. Browsers never show `Set-Cookie`, so there the jar stays empty by itself:
 * no platform is guessed from the names of its globals.
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

  /** The `Cookie` header, or undefined when there is none to send. */
  get header(): string | undefined {
    const pairs = Object.entries(this.#cookies).map(([name, value]) => `${name}=${value}`)
    return pairs.length === 0 ? undefined : pairs.join('; ')
  }

  get cookies(): Readonly<Record<string, string>> {
    return this.#cookies
  }

  restore(cookies: Readonly<Record<string, string>>): void {
    this.#cookies = cookies
  }

  /** Takes the `Set-Cookie` headers of a response. */
  take(response: Response): void {
    const lines = setCookieLines(response.headers)
    if (lines.length === 0) return
    // Ages are told by the clock of the server: the device's may be years off.
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

/** True where the platform keeps cookies itself and lets no program set them (browsers). */
export function keepsCookies(): boolean {
  try {
    return new Request('http://localhost', { headers: { cookie: 'a=b' } }).headers.get('cookie') === null
  } catch {
    return false
  }
}

/** An older `fetch` joins the headers with commas, which dates contain, too. */
function setCookieLines(headers: Headers): readonly string[] {
  if (typeof headers.getSetCookie === 'function') return headers.getSetCookie()
  return headers.get('set-cookie')?.split(/,(?=\s*[^\s;,=]+=)/) ?? []
}

/** `Max-Age` wins over `Expires` (RFC 6265). */
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
