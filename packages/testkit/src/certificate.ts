/**
 * Makes a self-signed certificate with openssl, valid for two days. Programs that must accept the
 * certificate load its file as a certificate authority.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files of a certificate in PEM form, and the host name that clients use. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
  readonly host: string
}

const loopback = 'IP:127.0.0.1,DNS:localhost'

/**
 * Makes a certificate in `folder`. `names`: its alternative names, such as
 * `IP:127.0.0.1,DNS:localhost`.
 */
export function makeCertificate(folder: string, host = '127.0.0.1', names = loopback): Certificate {
  const certificate = join(folder, 'certificate.pem')
  const key = join(folder, 'key.pem')
  const subject = ['-subj', `/CN=${host}`, '-addext', `subjectAltName=${names}`]
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-keyout', key, '-out', certificate, ...subject],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  return { certificate, key, host }
}

/** Writes certificate and key into one file, as HAProxy expects. Returns the path of the file. */
export function joinCertificate({ certificate, key }: Certificate, folder: string): string {
  const path = join(folder, 'certificate-and-key.pem')
  writeFileSync(path, readFileSync(certificate, 'utf8') + readFileSync(key, 'utf8'), { mode: 0o600 })
  return path
}
