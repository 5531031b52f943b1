/**
 * Signs the tokens with which a product's users sign in to Chorus.
 *
 * Guarantee: a token that this function returns has only claims that the server accepts. Values that
 * the server would refuse are refused here, with the reason, before a user meets them.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { avatarSchema, externalIdSchema, handleSchema, nameSchema } from '@chorus/protocol'
import { SignJWT } from 'jose'

export const tokenBounds = {
  /** Lifetime of a token when none is given. */
  lifetimeDefaultS: 3_600,
  /** Longest lifetime that the server accepts. */
  lifetimeMaxS: 86_400,
  /** Maximum length of an external id, in UTF-16 code units. */
  externalIdMaxChars: 128,
  /** Minimum length of a signing secret: HS256 needs a key as long as its hash. */
  secretMinBytes: 32,
} as const

/** HS256: the API key signs. */
interface SharedSecret {
  /** Id of the API key: `key_…`. */
  readonly keyId: string
  /** Signing secret of that key: printed with its secret by `npm run keys -- create`. */
  readonly signingSecret: string
  readonly privateKey?: undefined
}

/** EdDSA: a private key signs that never leaves your back end. */
interface PrivateKey {
  /** `kid` of the public key: given to `npm run keys -- add-public-key`, or in your JWKS. */
  readonly keyId: string
  /** Ed25519 private key: a `KeyObject`, or PEM (PKCS #8), as `openssl genpkey` writes it. */
  readonly privateKey: KeyObject | string
  readonly signingSecret?: undefined
}

export type UserTokenOptions = UserClaims & (SharedSecret | PrivateKey)

interface UserClaims {
  /** External id: the user's id in your system, 1 to 128 characters, compared byte for byte. */
  readonly userId: string
  /** Name that other users see. A new user without one gets a name from the server. */
  readonly name?: string
  /** An https URL or a path on the Chorus server. */
  readonly avatar?: string
  /** Unique short name. It is used if it is free; otherwise the user gets a random one. */
  readonly handle?: string
  /** Seconds until the token ends: at most 86 400 (24 h). Default: 3 600. */
  readonly lifetimeS?: number
  /** Audience, if the server has `TOKEN_AUDIENCE` or you want to bind the token to its address. */
  readonly audience?: string
  /** Time of issue. Default: the clock of this machine. */
  readonly now?: Date
}

/** Returns a user token: a JWT signed with HS256 or EdDSA, whose `kid` is `keyId`. */
export async function signUserToken(options: UserTokenOptions): Promise<string> {
  const { keyId, userId, audience, lifetimeS = tokenBounds.lifetimeDefaultS, now = new Date() } = options
  const { alg, key } = toSigner(options)
  checkUserId(userId)
  if (!(lifetimeS > 0 && lifetimeS <= tokenBounds.lifetimeMaxS && Number.isInteger(lifetimeS)))
    throw refused(`lifetimeS must be a whole number of seconds from 1 to ${tokenBounds.lifetimeMaxS} (24 hours)`)
  if (Number.isNaN(now.getTime())) throw refused('now must be a valid date')

  const issuedAt = Math.floor(now.getTime() / 1_000)
  const token = new SignJWT({
    ...checked('name', nameSchema, options.name),
    ...checked('avatar', avatarSchema, options.avatar),
    ...checked('handle', handleSchema, options.handle),
  })
    .setProtectedHeader({ alg, kid: keyId, typ: 'JWT' })
    .setSubject(userId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + lifetimeS)
  if (audience !== undefined) token.setAudience(audience)
  return token.sign(key)
}

function toSigner({ keyId, signingSecret, privateKey }: UserTokenOptions): Signer {
  if (privateKey !== undefined) {
    if (typeof keyId !== 'string' || keyId === '') throw refused('keyId must be the kid of the public key')
    const key = toPrivateKey(privateKey)
    if (key?.asymmetricKeyType !== 'ed25519') throw refused('privateKey must be an Ed25519 private key')
    return { alg: 'EdDSA', key }
  }
  if (typeof keyId !== 'string' || !/^key_[a-z0-9]+$/.test(keyId))
    throw refused('keyId must be the id of an API key, which begins with key_')
  const key = new TextEncoder().encode(typeof signingSecret === 'string' ? signingSecret : '')
  if (key.length < tokenBounds.secretMinBytes || signingSecret.startsWith('sk_'))
    throw refused('signingSecret must be the signing secret of the key, not its secret')
  return { alg: 'HS256', key }
}

interface Signer {
  readonly alg: 'HS256' | 'EdDSA'
  readonly key: Uint8Array | KeyObject
}

/** Returns undefined for a text that is no key. Its error may quote the text: it is not shown. */
function toPrivateKey(key: KeyObject | string): KeyObject | undefined {
  if (typeof key !== 'string') return key.type === 'private' ? key : undefined
  try {
    return createPrivateKey(key)
  } catch {
    return undefined
  }
}

function checkUserId(userId: unknown): void {
  const { externalIdMaxChars } = tokenBounds
  // A number would become another user than its text on a system that keeps both.
  if (typeof userId !== 'string') throw refused('userId must be a string')
  if (userId === '' || userId.length > externalIdMaxChars)
    throw refused(`userId must have 1 to ${externalIdMaxChars} characters`)
  if (!externalIdSchema.safeParse(userId).success)
    throw refused('userId must not contain control characters or half a character, nor be . or ..')
}

interface ClaimSchema {
  safeParse(
    value: unknown,
  ):
    | { readonly success: true; readonly data: string }
    | { readonly success: false; readonly error: { readonly issues: readonly { readonly message: string }[] } }
}

function checked(claim: string, schema: ClaimSchema, value: unknown): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {}
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw refused(`${claim}: ${parsed.error.issues.map(({ message }) => message).join('; ')}`)
  return { [claim]: parsed.data }
}

function refused(why: string): TypeError {
  return new TypeError(`unable to sign user token; ${why}`)
}
