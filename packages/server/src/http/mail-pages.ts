/**
 * The pages behind the links in mails: two small pages without scripts. Opening a page changes
 * nothing, because mail scanners open every link; only the button on the page does. For
 * "unsubscribe", mail programs send a POST without opening the page (RFC 8058).
 */
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Limits } from '../auth/limits.ts'
import { hashOfToken, readUnsubscribe } from '../jobs/mail-links.ts'
import { confirmEmail, switchDigestOff } from '../jobs/mail.ts'
import type { Database } from '../database/database.ts'
import { limitKeyOf } from '../support/address.ts'

export interface MailPagesOptions {
  readonly database: Database
  readonly limits: Limits
  readonly addressOf: (request: IncomingMessage) => string
  /** Key that signs unsubscribe tokens. */
  readonly key: string
}

/** Maximum size of a request body: a form with one field, or nothing. */
const bodyMaxBytes = 4_096

interface Link {
  readonly path: string
  readonly question: string
  readonly button: string
  readonly done: string
  readonly failed: string
  /**
   * Confirms or unsubscribes, as the link says. Returns false if the link is invalid or was used.
   */
  readonly follow: (token: string) => Promise<boolean>
}

export function addMailPages(app: FastifyInstance, { database, limits, addressOf, key }: MailPagesOptions): void {
  const links: readonly Link[] = [
    {
      path: '/mail/confirm',
      question: 'Get mail at this address about missed messages?',
      button: 'Confirm',
      done: 'Your address is confirmed.',
      failed: 'This link was used already, or is too old. Request another one in the settings.',
      follow: (token) => confirmEmail(database, hashOfToken(token)),
    },
    {
      path: '/mail/unsubscribe',
      question: 'Stop mail about missed messages?',
      button: 'Unsubscribe',
      done: 'You will get no more digests.',
      failed: 'This link is not valid.',
      follow: async (token) => {
        const user = readUnsubscribe(token, key)
        if (user !== undefined) await switchDigestOff(database, user)
        return user !== undefined
      },
    },
  ]
  void app.register(async (scope) => {
    // The request body is ignored, because the token is in the address.
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: bodyMaxBytes }, async () => null)
    for (const { path, question, button, done, failed, follow } of links) {
      scope.get(path, { exposeHeadRoute: false }, (_request, reply) =>
        sendPage(reply, 200, question, `<form method="post"><button>${button}</button></form>`),
      )
      scope.post<{ Querystring: { token?: unknown } }>(path, async (request, reply) => {
        limits.takeRequest(limitKeyOf(addressOf(request.raw)))
        const { token } = request.query
        const isFollowed = typeof token === 'string' && token.length <= 200 && (await follow(token))
        return isFollowed ? sendPage(reply, 200, done) : sendPage(reply, 404, failed)
      })
    }
  })
}

function sendPage(reply: FastifyReply, status: number, line: string, more = ''): FastifyReply {
  return (
    reply
      .code(status)
      .type('text/html; charset=utf-8')
      .header('cache-control', 'no-store')
      // Other sites must not get the token in the address, so they get no referrer. This site still
      // gets one, because browsers would otherwise send the form with `Origin: null`.
      .header('referrer-policy', 'same-origin')
      .send(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>Chorus</title>
<p>${line}</p>
${more}
</html>
`)
  )
}
