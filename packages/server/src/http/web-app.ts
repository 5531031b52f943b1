/**
 * Serves the web application: hashed files under /assets for ever, the page itself never from a stale cache, and the same
 * page for every address that the application's own router knows. Without a build there is one plain page that says so.
 */
import { existsSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fastifyStatic } from '@fastify/static'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

/** From source or built, apps/web/dist of this repository. */
export const defaultWebFolder = fileURLToPath(new URL('../../../../apps/web/dist/', import.meta.url))

const missingPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Chorus</title>
<h1>Chorus is running</h1>
<p>The web application has not been built. Run <code>npm run build</code> and start the server again.</p>
<p>The API is at <a href="/v1/openapi.json">/v1/openapi.json</a>.</p>
</html>
`

/** Addresses that are never a page of the application. */
const notPages = /^\/(?:v1|socket\.io|assets|livez|readyz|metrics)(?:\/|$|\?)/

/** Does somebody with a browser ask for a page? */
export function asksForPage(request: FastifyRequest): boolean {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  if (notPages.test(request.url)) return false
  const path = request.url.split('?', 1)[0] ?? ''
  const lastPart = path.slice(path.lastIndexOf('/') + 1)
  return !lastPart.includes('.') && (request.headers.accept ?? '').includes('text/html')
}

export interface WebApp {
  /** The page, for a request that {@link asksForPage}. */
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
    // Source maps are nobody's business (N102).
    allowedPath: (path) => !path.endsWith('.map'),
    cacheControl: false,
    setHeaders: (reply, path) => {
      void reply.header('cache-control', path.startsWith(assets) ? 'public, max-age=31536000, immutable' : 'no-cache')
    },
  })
  return { sendPage: (reply) => reply.code(200).sendFile('index.html') }
}
