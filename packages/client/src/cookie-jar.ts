/**
 * Keeps the session cookie where no browser does (Node). Only the two names of the session are kept, so nothing another
 * program on the host sets is ever sent back.
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
    const lines = response.headers.getSetCookie()
    if (lines.length === 0) return
    const next: Record<string, string> = { ...this.#cookies }
    for (const line of lines) {
      const [pair = '', ...attributes] = line.split(';')
      const split = pair.indexOf('=')
      const name = pair.slice(0, split).trim()
      if (split <= 0 || !kept.has(name)) continue
      const value = pair.slice(split + 1).trim()
      const isOver = value === '' || attributes.some((attribute) => isExpiry(attribute.trim().toLowerCase()))
      if (isOver) delete next[name]
      else next[name] = value
    }
    this.#cookies = next
    this.#onChange(next)
  }
}

function isExpiry(attribute: string): boolean {
  if (attribute.startsWith('max-age=')) return Number(attribute.slice('max-age='.length)) <= 0
  return attribute.startsWith('expires=') && Date.parse(attribute.slice('expires='.length)) <= Date.now()
}
