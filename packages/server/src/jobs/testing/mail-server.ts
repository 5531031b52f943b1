/**
 * SMTP server for tests, on the loopback interface. Keeps accepted mails, and fails where a test
 * asks it to.
 */
import type { AddressInfo } from 'node:net'
import { SMTPServer } from 'smtp-server'

export interface AcceptedMail {
  readonly to: string
  readonly raw: string
}

export type MailTrouble =
  /** Refuses the recipient with this code: temporarily (4xx) or permanently (5xx). */
  | { readonly at: 'recipient'; readonly code: number }
  /** Refuses the body with this code. */
  | { readonly at: 'text'; readonly code: number }
  /** Takes the body, then closes the connection without a response. */
  | { readonly at: 'silence' }

export interface MailServer {
  readonly url: string
  readonly accepted: AcceptedMail[]
  /** Number of mail bodies received, whatever the response was. */
  taken: number
  trouble: MailTrouble | undefined
  close(): Promise<void>
}

export async function startMailServer(): Promise<MailServer> {
  const accepted: AcceptedMail[] = []
  const state: Pick<MailServer, 'taken' | 'trouble'> = { taken: 0, trouble: undefined }
  const refusal = (code: number): Error => Object.assign(new Error('not now'), { responseCode: code })
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS', 'AUTH'],
    logger: false,
    onRcptTo: (_address, _session, done) => {
      done(state.trouble?.at === 'recipient' ? refusal(state.trouble.code) : null)
    },
    onData: (stream, session, done) => {
      let raw = ''
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => (raw += chunk))
      stream.on('end', () => {
        state.taken++
        const { trouble } = state
        if (trouble?.at === 'text') return done(refusal(trouble.code))
        if (trouble?.at === 'silence') {
          // The mail may have been delivered by now, but the sender gets no response.
          for (const connection of (server as unknown as { connections: Set<{ close(): void }> }).connections)
            connection.close()
          return
        }
        accepted.push({ to: session.envelope.rcptTo.map(({ address }) => address).join(), raw })
        done()
      })
    },
  })
  server.on('error', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.server.address() as AddressInfo
  return Object.assign(state, {
    url: `smtp://127.0.0.1:${port}`,
    accepted,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  })
}

/** Returns the readable text of a mail: all its parts in order, decoded from quoted-printable. */
export function readableMail(raw: string): string {
  const joined = raw.replace(/=\r?\n/g, '')
  return Buffer.from(
    joined.replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  ).toString('utf8')
}
