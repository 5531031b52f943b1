/**
 * Hands one mail to the mail server. There are three outcomes: `accepted`; `not-accepted`, so a
 * retry is safe; and `unknown`, when the connection was lost while the body of the mail was being
 * sent. The SMTP client reads the first byte of the body only after the mail server asked for it.
 * So if the body was not read, the mail was certainly not accepted.
 */
import { Readable } from 'node:stream'
import { toOneLine } from '@chorus/protocol'
import MailComposer from 'nodemailer/lib/mail-composer'
import SMTPConnection from 'nodemailer/lib/smtp-connection'

export const smtpTimings = { connectTimeoutMs: 10_000, silenceMaxMs: 30_000 } as const

export interface OutgoingMail {
  readonly messageId: string
  /** Sender that the recipient sees: `Name <address>`, or an address. */
  readonly from: string
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html: string
  /** Additional headers. Each value is reduced to one line. */
  readonly headers: Readonly<Record<string, string>>
}

export type HandOver =
  | { readonly kind: 'accepted' }
  /** The mail server certainly did not accept the mail. With `lasting`, a retry cannot help. */
  | { readonly kind: 'not-accepted'; readonly lasting: boolean; readonly reason: string }
  | { readonly kind: 'unknown'; readonly reason: string }

/** Returns the address within `Name <address>`. */
export function addressIn(from: string): string {
  return /<([^<>]+)>\s*$/.exec(from)?.[1] ?? from
}

export async function handOver(smtpUrl: string, mail: OutgoingMail, timeoutMs?: number): Promise<HandOver> {
  const raw = await compose(mail)
  const text = { hasBegun: false }
  const body = new Readable({
    read() {
      text.hasBegun = true
      this.push(raw)
      this.push(null)
    },
  })
  const url = new URL(smtpUrl)
  const connection = new SMTPConnection({
    host: url.hostname.replace(/^\[|\]$/g, ''),
    ...(url.port !== '' && { port: Number(url.port) }),
    secure: url.protocol === 'smtps:',
    connectionTimeout: timeoutMs ?? smtpTimings.connectTimeoutMs,
    greetingTimeout: timeoutMs ?? smtpTimings.connectTimeoutMs,
    socketTimeout: timeoutMs ?? smtpTimings.silenceMaxMs,
  })
  try {
    await new Promise<void>((resolve, reject) => {
      connection.on('error', reject)
      connection.on('end', () => reject(new Error('the mail server closed the connection')))
      connection.connect((error?: Error | null) => {
        if (error) return reject(error)
        const send = (): void =>
          connection.send({ from: addressIn(mail.from), to: mail.to }, body, (failure: Error | null) =>
            failure ? reject(failure) : resolve(),
          )
        if (url.username === '') return send()
        connection.login(
          { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) },
          (failure: Error | null) => (failure ? reject(failure) : send()),
        )
      })
    })
    return { kind: 'accepted' }
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).slice(0, 300)
    const { responseCode, code } = error as { responseCode?: unknown; code?: unknown }
    // An error response to the body is a refusal. Without any response, the mail may have been
    // accepted.
    if (text.hasBegun && typeof responseCode !== 'number') return { kind: 'unknown', reason }
    const isAnswer = typeof responseCode === 'number' && responseCode >= 500
    return { kind: 'not-accepted', lasting: isAnswer && code !== 'EAUTH' && code !== 'ETLS', reason }
  } finally {
    body.destroy()
    connection.close()
  }
}

function compose({ messageId, from, to, subject, text, html, headers }: OutgoingMail): Promise<Buffer> {
  return new MailComposer({
    messageId,
    from,
    to,
    subject: toOneLine(subject),
    text,
    html,
    headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, toOneLine(value)])),
    disableFileAccess: true,
    disableUrlAccess: true,
  })
    .compile()
    .build()
}
