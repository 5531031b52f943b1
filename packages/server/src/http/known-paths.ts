/**
 * The methods that an address answers. A wrong method on a known path is 405 with `Allow` (RFC 9110, section 15.5.6), and
 * OPTIONS says the same without a refusal: a 404 would tell a foreign client that it has the address wrong.
 */
import type { FastifyInstance } from 'fastify'

interface KnownPath {
  readonly segments: readonly string[]
  readonly methods: Set<string>
}

export class KnownPaths {
  readonly #paths = new Map<string, KnownPath>()

  /** Notes every route that is added from now on. */
  watch(app: FastifyInstance): void {
    app.addHook('onRoute', ({ url, method }) => {
      // A route of files answers for addresses that do not exist.
      if (url.includes('*')) return
      const path = this.#paths.get(url) ?? { segments: url.split('/'), methods: new Set() }
      for (const one of [method].flat()) path.methods.add(one)
      this.#paths.set(url, path)
    })
  }

  /** The methods of this path, as `Allow` names them; undefined when nothing is there. */
  allowOf(url: string): string | undefined {
    const segments = (url.split('?', 1)[0] ?? '').split('/')
    const methods = new Set<string>()
    for (const path of this.#paths.values())
      if (matches(path.segments, segments)) for (const method of path.methods) methods.add(method)
    return methods.size === 0 ? undefined : [...methods, 'OPTIONS'].sort().join(', ')
  }
}

function matches(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.length !== segments.length) return false
  return pattern.every((part, index) => (part.startsWith(':') ? segments[index] !== '' : part === segments[index]))
}
