/**
 * Checks the origin of every request before anything else (auth/origin.ts), and sets the security
 * headers. Besides the server's own pages, only pages of ALLOWED_ORIGINS, with cookies, and of
 * EMBED_ORIGINS, without, may read responses (CORS). No other Origin is repeated in a response
 * header.
 */
import { ChorusError } from '@chorus/protocol'
import type { FastifyInstance } from 'fastify'
import { allowedHeaders, decideOrigin } from '../auth/origin.ts'
import type { OriginPolicy, OriginUse } from '../auth/origin.ts'
import type { Metrics } from '../support/metrics.ts'
import { ignoreCookies } from './callers.ts'

/**
 * Returns the Content-Security-Policy header. Pictures may only come from this server and
 * AVATAR_ORIGINS, because any other host would learn the IP address of every user who sees the
 * picture.
 */
const contentSecurityPolicyOf = (avatarOrigins: readonly string[]): string =>
  [
    "default-src 'self'",
    ["img-src 'self' data: blob:", ...avatarOrigins].join(' '),
    "style-src 'self' 'unsafe-inline'",
    "script-src 'self'",
    "connect-src 'self' ws: wss:",
    "object-src 'none'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "form-action 'self'",
  ].join('; ')

const securityHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), microphone=(), payment=(), usb=()',
}

function useOf(method: string, url: string): OriginUse {
  if (method !== 'GET' && method !== 'HEAD') return 'change'
  return url.startsWith('/v1/') || url === '/v1' ? 'read' : 'page'
}

export interface GuardPolicy extends OriginPolicy {
  readonly avatarOrigins: readonly string[]
}

export function addGuard(app: FastifyInstance, policy: GuardPolicy, metrics: Metrics): void {
  const headers = { ...securityHeaders, 'content-security-policy': contentSecurityPolicyOf(policy.avatarOrigins) }
  const isSecure = policy.publicUrl?.startsWith('https:') === true

  app.addHook('onRequest', async (request, reply) => {
    void reply.headers(headers)
    if (isSecure) void reply.header('strict-transport-security', 'max-age=31536000')
    const use = useOf(request.method, request.url)
    if (use !== 'page') void reply.header('cache-control', 'no-store')

    // A preflight request announces the method of a later request, so only its Origin is checked.
    const decision = decideOrigin(request.headers, use, policy)
    if (!decision.allowed) {
      metrics.originRefusals.inc()
      throw new ChorusError('forbidden', `unable to answer; ${decision.reason}`)
    }
    void reply.header('vary', 'Origin')
    const { origin } = request.headers
    if (decision.from === 'own' || origin === undefined) return
    void reply.header('access-control-allow-origin', origin).header('access-control-expose-headers', 'Retry-After')
    if (decision.from === 'allowed') void reply.header('access-control-allow-credentials', 'true')
    else ignoreCookies(request)
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return
    return reply
      .code(204)
      .header('access-control-allow-methods', 'GET, POST, PUT, PATCH, DELETE')
      .header('access-control-allow-headers', allowedHeaders[decision.from])
      .header('access-control-max-age', '600')
      .send()
  })
}
