/**
 * Creates API keys with `npm run keys`, as an operator does, on the database of a running server.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { makeSecretKey, type SigningKey } from './sign-token.ts'

export interface CreatedKey {
  readonly id: string
  readonly secret: string
  readonly signingSecret: string
  /** Signs user tokens with the signing secret (HS256). */
  readonly signing: SigningKey
}

/** Place of the database: the URL of a Postgres database, or the data folder of a server. */
export type KeyDatabase = { readonly databaseUrl: string } | { readonly dataDir: string }

const command = fileURLToPath(new URL('../../server/dist/keys-command.js', import.meta.url))
const commandTimeoutMs = 60_000

/**
 * Runs `npm run keys` with these arguments and this input. Resolves to its output; rejects with its
 * error.
 */
export function runKeys(database: KeyDatabase, args: readonly string[], input = ''): Promise<string> {
  const env = 'databaseUrl' in database ? { DATABASE_URL: database.databaseUrl } : { DATA_DIR: database.dataDir }
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [command, ...args],
      { env: { PATH: process.env.PATH, ...env }, timeout: commandTimeoutMs },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else reject(new Error(stderr === '' ? error.message : stderr))
      },
    )
    child.stdin?.end(input)
  })
}

/** Creates an API key with these scopes. */
export async function createApiKey(database: KeyDatabase, scopes = 'read,write,admin'): Promise<CreatedKey> {
  const output = await runKeys(database, ['create', '--name', 'Test key', '--scope', scopes, '--json'])
  const key = JSON.parse(output) as Omit<CreatedKey, 'signing'>
  return { ...key, signing: makeSecretKey(key.id, key.signingSecret) }
}
