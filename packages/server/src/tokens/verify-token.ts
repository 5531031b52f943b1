/**
 * Reads and verifies user tokens (JWT). Pure: the caller gives keys, time and audience. A token is
 * read in this order, so that garbage costs little: length, form, header, claims, and the signature
 * last. Every refusal is `unauthenticated`, with a reason that says what to fix.
 */
import { avatarSchema, ChorusError, externalIdSchema, handleSchema, limits, nameSchema } from '@chorus/protocol'
import { compactVerify, decodeJwt, decodeProtectedHeader, errors } from 'jose'
import * as z from 'zod'
import { importKey, type TokenAlgorithm, tokenAlgorithms, type VerificationKey } from './verification-key.ts'

export const tokenLimits = {
  kidMaxChars: 128,
  /** Maximum time from `iat` to `exp`, in seconds. */
  lifetimeMaxS: 86_400,
  /** Maximum time that the issuer's clock may be ahead, in seconds. */
  clockSkewS: 60,
} as const

export interface TokenHeader {
  readonly alg: TokenAlgorithm
  readonly kid: string
}

/** Claims of a token. Claims that are not listed are ignored. */
const claimsSchema = z.object({
  sub: externalIdSchema,
  iat: z.number().min(0),
  exp: z.number().min(0),
  nbf: z.number().optional(),
  aud: z.union([z.string(), z.array(z.string())]).optional(),
  name: nameSchema.optional(),
  /** Null removes the avatar. */
  avatar: avatarSchema.nullish(),
  handle: handleSchema.optional(),
})

export type TokenClaims = z.output<typeof claimsSchema>

export interface ParsedToken {
  readonly header: TokenHeader
  readonly claims: TokenClaims
}

/** Returns the error of a refused token. `reason` completes a sentence and says what to fix. */
export function tokenRefusal(reason: string): ChorusError {
  return new ChorusError('unauthenticated', `unable to accept the token; ${reason}`)
}

const compact = /^[\w-]+\.[\w-]+\.[\w-]*$/

/** Reads header and claims, without the signature. Throws a refusal. */
export function parseToken(token: string): ParsedToken {
  if (token.length > limits.tokenMaxChars) throw tokenRefusal(`it is longer than ${limits.tokenMaxChars} characters`)
  if (token.startsWith('sk_'))
    throw tokenRefusal('it is the secret of an API key: sign a token on your server, and replace this secret')
  if (!compact.test(token)) throw tokenRefusal('it is not a signed JWT of three parts')
  return { header: readHeader(token), claims: readClaims(token) }
}

function readHeader(token: string): TokenHeader {
  let header: { readonly [member: string]: unknown }
  try {
    header = decodeProtectedHeader(token)
  } catch {
    throw tokenRefusal('its header is not JSON')
  }
  const { kid } = header
  const alg = tokenAlgorithms.find((algorithm) => algorithm === header['alg'])
  if (alg === undefined) throw tokenRefusal(`alg must be one of ${tokenAlgorithms.join(', ')}`)
  if (header['crit'] !== undefined) throw tokenRefusal('its header has crit, which is not supported')
  if (typeof kid !== 'string' || kid === '' || kid.length > tokenLimits.kidMaxChars)
    throw tokenRefusal('its header needs a kid: the id of the API key, or of a registered public key')
  return { alg, kid }
}

function readClaims(token: string): TokenClaims {
  let claims: unknown
  try {
    claims = decodeJwt(token)
  } catch {
    throw tokenRefusal('its claims are not a JSON object')
  }
  const parsed = claimsSchema.safeParse(claims)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw tokenRefusal(`its claim ${String(issue?.path[0] ?? 'sub')} is missing or invalid`)
}

export interface ClaimRules {
  /** Time by the database's clock, in seconds. */
  readonly nowS: number
  /** Audience that `aud` must contain if present. Undefined: no token with `aud` is accepted. */
  readonly audience: string | undefined
}

/** Checks the times and the audience. Throws a refusal. */
export function checkClaims({ iat, exp, nbf = 0, aud }: TokenClaims, { nowS, audience }: ClaimRules): void {
  const { clockSkewS, lifetimeMaxS } = tokenLimits
  if (exp <= nowS) throw tokenRefusal('it has expired')
  if (exp - iat > lifetimeMaxS) throw tokenRefusal('exp is more than 24 hours after iat')
  if (exp <= iat) throw tokenRefusal('exp is not after iat')
  if (iat > nowS + clockSkewS || nbf > nowS + clockSkewS)
    throw tokenRefusal(`it is not valid yet: the clock of its issuer is more than ${clockSkewS} seconds ahead`)
  if (aud === undefined) return
  if (audience === undefined)
    throw tokenRefusal('it has aud, and this server has neither TOKEN_AUDIENCE nor PUBLIC_URL')
  if (![aud].flat().includes(audience)) throw tokenRefusal(`aud does not contain ${audience}`)
}

/**
 * Returns the key that verifies the signature. All keys have the algorithm of the header. Throws a
 * refusal.
 */
export async function verifySignature(
  token: string,
  { alg }: TokenHeader,
  keys: readonly VerificationKey[],
): Promise<VerificationKey> {
  for (const key of keys) {
    if (key.algorithm !== alg) continue
    try {
      await compactVerify(token, await importKey(key), { algorithms: [key.algorithm] })
      return key
    } catch (error) {
      if (!(error instanceof errors.JOSEError) && !isUnusableKey(error)) throw error
    }
  }
  throw tokenRefusal('its signature is wrong')
}

/** Returns true for a stored public key that cannot be imported, such as a point off its curve. */
function isUnusableKey(error: unknown): boolean {
  return error instanceof DOMException || error instanceof TypeError
}
