/**
 * The session cookie. @fastify/session reads and sets it; Postgres decides whether its session is
 * valid (auth/session-store.ts). A client that is not signed in gets no cookie. The cookie
 * changes only at sign-in, always to a new id, and never through use.
 */
import { fastifyCookie } from '@fastify/cookie'
import { fastifySession } from '@fastify/session'
import { v7 as uuidv7 } from 'uuid'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Authenticator } from '../auth/authenticator.ts'
import { ServerSessionStore } from '../auth/session-store.ts'
import { readUserAgent } from '../auth/user-agent.ts'
import type { CookieJar } from '../commands/command.ts'
import type { Parts } from '../commands/parts.ts'
import { insertSession, revokeSessionByToken, sessionLifetimeDays } from '../accounts/sessions.ts'

export async function addSessions(
  app: FastifyInstance,
  authenticator: Authenticator,
  parts: Parts,
  publicUrl: string | undefined,
): Promise<void> {
  const secure = publicUrl?.startsWith('https:') === true
  if (secure) {
    // TLS ends at the proxy if PUBLIC_URL begins with https. Without this hook, the plugin would
    // see plain HTTP and set no Secure cookie.
    app.addHook('onRequest', async (request) => void Object.defineProperty(request, 'protocol', { value: 'https' }))
  }
  await app.register(fastifyCookie)
  // This hook must run after the cookie plugin and before the session plugin, because the session
  // plugin clears a cookie that is spelled differently from its own.
  app.addHook('onRequest', async (request) => {
    const signed = authenticator.readSigned(request.headers.cookie)
    if (signed === undefined) delete request.cookies[authenticator.cookieName]
    else request.cookies[authenticator.cookieName] = signed
  })
  await app.register(fastifySession, {
    secret: authenticator.signer,
    cookieName: authenticator.cookieName,
    cookie: { path: '/', httpOnly: true, sameSite: 'lax', secure, maxAge: sessionLifetimeDays * 24 * 60 * 60 * 1_000 },
    saveUninitialized: false,
    rolling: false,
    store: new ServerSessionStore({
      recognise: (token) => authenticator.recognise(token),
      insert: (session) => insertSession(parts.database, session),
      revoke: async (tokenHash) => {
        const sessionId = await revokeSessionByToken(parts.database, tokenHash)
        if (sessionId !== undefined) parts.announceRevoked([sessionId])
        authenticator.forget(tokenHash)
      },
    }),
  })
  // The session plugin only sets `Expires`. A device with a wrong clock may take that date for long
  // past, so this hook adds `Max-Age`. Hooks run in order, so the cookie is set by now.
  app.addHook('onSend', async (_request, reply) => {
    const lines = [reply.getHeader('set-cookie') ?? []].flat().map(String)
    if (lines.length === 0) return
    reply.removeHeader('set-cookie')
    for (const line of lines) {
      // A cleared cookie already carries `Max-Age=0`.
      const isSet = line.startsWith(`${authenticator.cookieName}=`) && !/;\s*max-age=/i.test(line)
      reply.header('set-cookie', isSet ? `${line}; Max-Age=${sessionLifetimeDays * 24 * 60 * 60}` : line)
    }
  })
}

export function createCookieJar(request: FastifyRequest, reply: FastifyReply, authenticator: Authenticator): CookieJar {
  return {
    signIn: async (userId) => {
      // Always creates a new id. An attacker may have planted the id of this request, and must not
      // know the id of the signed-in session. The old session is revoked.
      await request.session.regenerate()
      const actor = { userId, sessionId: uuidv7() }
      request.session.actor = actor
      request.session.userAgent = readUserAgent(request.headers['user-agent'])
      await request.session.save()
      // Remove the old cookie from the request. Otherwise the session plugin would also send a
      // header that clears it, and some clients obey only the first of two Set-Cookie headers.
      delete request.cookies[authenticator.cookieName]
      return actor
    },
    signOut: async () => {
      void reply.clearCookie(authenticator.cookieName, {
        path: '/',
        httpOnly: true,
        sameSite: 'lax',
        secure: authenticator.cookieName.startsWith('__Host-'),
      })
    },
  }
}
