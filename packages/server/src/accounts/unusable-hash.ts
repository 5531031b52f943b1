/**
 * Creates password hashes that no password matches, for users without a password: those of an
 * integrator's system and the bots of API keys. The hash is well-formed, so a sign-in with such a
 * handle is refused like one with a wrong password, by servers of the version before, too.
 */
import { randomBytes } from 'node:crypto'

const saltBytes = 16
const hashBytes = 32

/** Returns a new hash. Costs nothing, because the hash is random instead of computed. */
export function createUnusableHash(): string {
  const random = (bytes: number): string => randomBytes(bytes).toString('base64').replaceAll('=', '')
  return `$argon2id$v=19$m=19456,t=2,p=1$${random(saltBytes)}$${random(hashBytes)}`
}
