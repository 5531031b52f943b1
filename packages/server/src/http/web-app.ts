/**
 * Serves the web application. Hashed files under /assets are cached forever; the page itself is
 * revalidated on every load. All page addresses get the same page, because the application has its
 * own router. If the application was not built, a plain page explains how to build it.
 */
import { existsSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fastifyStatic } from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/**
 * Folder of the built web application: `dist/web` of this package, whether this module runs from
 * `src` or from `dist`.
 */
export const defaultWebFolder = fileURLToPath(new URL('../../dist/web/', import.meta.url))

const missingPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Chorus</title>
<h1>Chorus is running</h1>
<p>The web application has not been built. Run <code>npm run build</code> and start the server again.</p>
<p>The API is at <a href="/v1/openapi.json">/v1/openapi.json</a>.</p>
</html>
`

/** Matches addresses that are never a page of the web application. */
const notPages = /^\/(?:v1|socket\.io|assets|livez|readyz|metrics)(?:\/|$|\?)/

/** Returns true if a browser requests a page of the web application. */
export function asksForPage(request: FastifyRequest): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  if (notPages.test(request.url)) return false
  const path = request.url.split('?', 1)[0] ?? ''
  const lastPart = path.slice(path.lastIndexOf('/') + 1)
  return !lastPart.includes('.') && (request.headers.accept ?? '').includes('text/html')
}

export interface WebApp {
  /**
   * Sends the page of the web application. Only for requests for which {@link asksForPage} is true.
   */
  readonly sendPage: (reply: FastifyReply) => FastifyReply
}

export async function addWebApp(app: FastifyInstance, folder: string): Promise<WebApp> {
  if (!existsSync(join(folder, 'index.html'))) {
    const sendPage = (reply: FastifyReply): FastifyReply =>
      reply.code(200).type('text/html; charset=utf-8').header('cache-control', 'no-cache').send(missingPage)
    app.get('/', (_request, reply) => sendPage(reply))
    return { sendPage }
  }
  const assets = join(folder, 'assets') + sep
  await app.register(fastifyStatic, {
    root: folder,
    preCompressed: true,
    dotfiles: 'ignore',
    // Source maps are not public.
    allowedPath: (path) => !path.endsWith('.map'),
    cacheControl: false,
    setHeaders: (reply, path) => {
      void reply.header('cache-control', path.startsWith(assets) ? 'public, max-age=31536000, immutable' : 'no-cache')
    },
  })
  return { sendPage: (reply) => reply.code(200).sendFile('index.html') }
}
