/**
 * Records the methods of every path. A wrong method on a known path is answered with 405 and the
 * allowed methods in `Allow` (RFC 9110, section 15.5.6). An OPTIONS request gets the same header. A
 * 404 would make a developer who writes a client believe that the address is wrong.
 */
import type { FastifyInstance } from 'fastify'

interface KnownPath {
  readonly segments: readonly string[]
  readonly methods: Set<string>
}

export class KnownPaths {
  readonly #paths = new Map<string, KnownPath>()

  /** Records every route that is added from now on. */
  watch(app: FastifyInstance): void {
    app.addHook('onRoute', ({ url, method }) => {
      // The routes for files match any address, even if no file exists there, so they are not
      // recorded.
      if (url.includes('*')) return
      const path = this.#paths.get(url) ?? { segments: url.split('/'), methods: new Set() }
      for (const one of [method].flat()) path.methods.add(one)
      this.#paths.set(url, path)
    })
  }

  /**
   * Returns the methods of this path as an `Allow` header, or undefined if no route has this path.
   */
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
