/**
 * The operator command `npm run keys`, with which operators manage the API keys of integrators.
 * Every server refuses a revoked key within a second (rule ACL2). Secrets are shown once.
 */
import { createPublicKey, type JsonWebKey, randomBytes, randomInt } from 'node:crypto'
import { type KeyScope, keyScopes, nameSchema } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { createUnusableHash } from '../accounts/unusable-hash.ts'
import { rotateSigningKey } from '../keys/signing-keys.ts'
import { hashSecret } from '../keys/key-registry.ts'
import {
  addPublicKey,
  endKeyRotation,
  insertKey,
  keyIdPattern,
  keyLimits,
  type KeyRecord,
  listKeys,
  removePublicKey,
  revokeKey,
  revokeKeySessions,
  rotateKey,
  setKeySet,
} from '../keys/key-store.ts'
import {
  type Action,
  checkOptions,
  one,
  type OperatorCommand,
  readArguments,
  toLines,
  UsageError,
} from './operator-command.ts'

const usage = `npm run keys -- <action>

  create --name <name> [--scope read,write,admin] [--ends <ISO time>] [--json]
                                            prints the secret and the signing secret, once
  list [--json]
  rotate <id> [--json]                      print new secrets; the old ones work until --end
  rotate <id> --end                         end the old secrets
  revoke <id>                               end the key and the sessions of its tokens
  add-public-key <id> <file> --kid <kid>    verify tokens with the JWK or PEM in this file; -: standard input
  remove-public-key <id> <kid>
  set-jwks <id> <URL>                       verify tokens with the keys at this address
  set-jwks <id> --none                      stop using that address
  rotate-signing-key                        sign cards with a new key; old cards stay valid

scopes: read (GET), write (everything else, and Chorus-As), admin (erase, deactivate, revoke tokens)
`

/** Pattern of the `kid` in the header of a token: printable ASCII without blanks. */
const kidPattern = /^[!-~]{1,128}$/
const urlMaxChars = 2_048
const publicKeyMaxChars = 16_384

/** Options without a value. */
const flags = ['json', 'end', 'none']

export const keysCommand: OperatorCommand = {
  readAction,
  fileArgument: (args) => {
    const [what, , file] = readArguments(args, flags).plain
    return what === 'add-public-key' && file !== undefined ? args.indexOf(file) : undefined
  },
}

function readAction(args: readonly string[]): Action {
  const { plain, options } = readArguments(args, flags)
  const [what, ...rest] = plain
  checkOptions(what, options, {
    create: ['name', 'scope', 'ends', 'json'],
    list: ['json'],
    rotate: ['end', 'json'],
    'add-public-key': ['kid'],
    'set-jwks': ['none'],
  })
  const isJson = options.has('json')
  switch (what) {
    case 'create':
      return create(rest, options, isJson)
    case 'list':
      if (rest.length > 0) throw new UsageError('unable to list; expected nothing more')
      return async (database) => {
        const keys = await listKeys(database)
        if (isJson) return `${JSON.stringify(keys)}\n`
        return keys.length === 0 ? 'no keys\n' : toLines(keys.map(describeKey))
      }
    case 'rotate': {
      const id = readId(what, rest)
      if (options.has('end')) {
        return async (database) => {
          if (!(await endKeyRotation(database, id))) throw unknownKey(what, id)
          return `the old secrets of ${id} no longer work\n`
        }
      }
      return async (database) => {
        const { secret, signingSecret } = createSecrets(id)
        if (!(await rotateKey(database, id, Buffer.from(hashSecret(secret), 'hex'), signingSecret)))
          throw new UsageError(`unable to rotate; there is no live key ${id}, or its last rotation has not ended`)
        return printSecrets({ id, secret, signingSecret }, isJson).concat(
          isJson ? '' : `the old secrets work until: npm run keys -- rotate ${id} --end\n`,
        )
      }
    }
    case 'revoke': {
      const id = readId(what, rest)
      return async (database) => {
        if (!(await revokeKey(database, id))) throw unknownKey(what, id)
        const sessions = await revokeKeySessions(database, id)
        return `revoked ${id} and ${sessions} sessions\n`
      }
    }
    case 'add-public-key':
      return addKey(rest, options)
    case 'remove-public-key': {
      const [id = '', kid = ''] = rest
      if (rest.length !== 2 || !keyIdPattern.test(id))
        throw new UsageError(`unable to ${what}; expected the id of a key and a kid`)
      return async (database) => {
        if (!(await removePublicKey(database, id, kid)))
          throw new UsageError(`unable to ${what}; ${id} has no public key ${kid}`)
        return `removed ${kid}\n`
      }
    }
    case 'set-jwks':
      return setSet(rest, options)
    case 'rotate-signing-key':
      if (rest.length > 0) throw new UsageError(`unable to ${what}; expected nothing more`)
      return async (database) => {
        const made = await rotateSigningKey(database)
        if (made === undefined) throw new UsageError(`unable to ${what}; the last new key is not in use yet, try later`)
        return `cards are signed with the key ${made.kid} from ${made.validFrom}\n`
      }
    default:
      throw new UsageError(what === undefined ? usage : `unable to ${what}; the action is unknown\n\n${usage}`)
  }
}

function create(rest: readonly string[], options: ReadonlyMap<string, string>, isJson: boolean): Action {
  if (rest.length > 0) throw new UsageError('unable to create; expected only options')
  const name = nameSchema.safeParse(options.get('name'))
  if (!name.success) throw new UsageError('unable to create; expected --name and a name')
  const scopes = readScopes(options.get('scope') ?? 'read,write')
  const endsAt = readEnd(options.get('ends'))
  return async (database) => {
    const id = `key_${randomText(16)}`
    const { secret, signingSecret } = createSecrets(id)
    const isStored = await insertKey(database, {
      id,
      name: name.data,
      scopes,
      secretHash: Buffer.from(hashSecret(secret), 'hex'),
      signingSecret,
      endsAt,
      bot: { id: uuidv7(), handle: `bot-${randomText(10)}`, passwordHash: createUnusableHash() },
    })
    if (!isStored) throw new UsageError(`unable to create; there are ${keyLimits.keysMax} keys already: revoke one`)
    return printSecrets({ id, secret, signingSecret }, isJson)
  }
}

function addKey(rest: readonly string[], options: ReadonlyMap<string, string>): Action {
  const what = 'add-public-key'
  const [id = '', text = ''] = rest
  if (rest.length !== 2 || !keyIdPattern.test(id))
    throw new UsageError(`unable to ${what}; expected the id of a key and a file`)
  const kid = readKid(what, options.get('kid'))
  const jwk = readPublicKey(text)
  return async (database) => {
    const result = await addPublicKey(database, id, { kid, jwk })
    if (result === 'missing') throw unknownKey(what, id)
    if (result === 'full')
      throw new UsageError(`unable to ${what}; the key has ${keyLimits.publicKeysMax} public keys already`)
    return `tokens of ${id} with the kid ${kid} are verified with this key\n`
  }
}

function setSet(rest: readonly string[], options: ReadonlyMap<string, string>): Action {
  const what = 'set-jwks'
  const [id = '', address] = rest
  if (rest.length > 2 || !keyIdPattern.test(id) || (address === undefined) !== options.has('none'))
    throw new UsageError(`unable to ${what}; expected the id of a key, and a URL or --none`)
  const url = address === undefined ? null : readUrl(what, address)
  return async (database) => {
    if (!(await setKeySet(database, id, url))) throw unknownKey(what, id)
    return url === null ? `${id} uses no key set\n` : `tokens of ${id} are verified with the keys at ${url}\n`
  }
}

const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'

function randomText(length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('')
}

interface Secrets {
  readonly id: string
  readonly secret: string
  readonly signingSecret: string
}

function createSecrets(id: string): Pick<Secrets, 'secret' | 'signingSecret'> {
  const random = (): string => randomBytes(32).toString('base64url')
  return { secret: `sk_${id.slice('key_'.length)}_${random()}`, signingSecret: random() }
}

function printSecrets(secrets: Secrets, isJson: boolean): string {
  const { id, secret, signingSecret } = secrets
  if (isJson) return `${JSON.stringify({ id, secret, signingSecret })}\n`
  return `key ${id}\nsecret ${secret}\nsigning secret ${signingSecret}\nthey are not shown again\n`
}

function describeKey(key: KeyRecord): string {
  const state =
    key.revokedAt !== null
      ? `revoked ${key.revokedAt}`
      : key.endsAt === null
        ? 'valid'
        : `${key.isLive ? 'valid until' : 'ended'} ${key.endsAt}`
  return [
    key.id,
    key.name,
    key.scopes.join(','),
    state,
    `last used ${key.lastUsedAt ?? 'never'}`,
    ...(key.isRotating ? ['old secrets still work'] : []),
    ...(key.kids.length === 0 ? [] : [`public keys ${key.kids.join(' ')}`]),
    ...(key.keySetUrl === null ? [] : [`key set ${key.keySetUrl}`]),
  ].join('  ')
}

function readScopes(text: string): readonly KeyScope[] {
  const named = text.split(',').map((scope) => scope.trim())
  const unknown = named.find((scope) => !keyScopes.includes(scope as KeyScope))
  if (unknown !== undefined)
    throw new UsageError(
      `unable to create; ${JSON.stringify(unknown)} is not a scope; expected ${keyScopes.join(', ')}`,
    )
  return keyScopes.filter((scope) => named.includes(scope))
}

function readEnd(text: string | undefined): string | null {
  if (text === undefined) return null
  const time = new Date(text)
  if (!/^\d{4}-\d\d-\d\d/.test(text) || Number.isNaN(time.getTime()) || time.getTime() <= Date.now())
    throw new UsageError(`unable to create; --ends ${JSON.stringify(text)} is not a time in the future like 2027-01-31`)
  return time.toISOString()
}

function readId(what: string, rest: readonly string[]): string {
  const id = one(what, rest, 'the id of a key')
  if (!keyIdPattern.test(id)) throw new UsageError(`unable to ${what}; ${JSON.stringify(id)} is not the id of a key`)
  return id
}

function readKid(what: string, kid: string | undefined): string {
  if (kid === undefined || !kidPattern.test(kid))
    throw new UsageError(`unable to ${what}; expected --kid and 1 to 128 printable characters`)
  // Tokens signed with the signing secret have the id of the API key as their kid.
  if (keyIdPattern.test(kid)) throw new UsageError(`unable to ${what}; ${kid} looks like the id of a key`)
  return kid
}

/** Returns the public key as a JWK. Throws unless an algorithm of user tokens uses such keys. */
function readPublicKey(text: string): { readonly [member: string]: unknown } {
  if (text.length > publicKeyMaxChars)
    throw new UsageError(`unable to add-public-key; the key is longer than ${publicKeyMaxChars} characters`)
  const isJwk = text.trimStart().startsWith('{')
  let jwk: { readonly [member: string]: unknown }
  try {
    // Given a private key, `createPublicKey` returns only its public part.
    const key = isJwk ? createPublicKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' }) : createPublicKey(text)
    jwk = key.export({ format: 'jwk' })
  } catch {
    throw new UsageError('unable to add-public-key; the key cannot be read: expected a JWK or PEM')
  }
  const isUsable =
    (jwk['kty'] === 'OKP' && jwk['crv'] === 'Ed25519') ||
    (jwk['kty'] === 'EC' && jwk['crv'] === 'P-256') ||
    (jwk['kty'] === 'RSA' && Buffer.from(String(jwk['n']), 'base64url').length >= 256)
  if (!isUsable)
    throw new UsageError('unable to add-public-key; expected an Ed25519, P-256 or RSA key of at least 2048 bits')
  return jwk
}

function readUrl(what: string, text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new UsageError(`unable to ${what}; expected an address like https://example.org/.well-known/jwks.json`)
  if (url.username !== '' || url.password !== '')
    throw new UsageError(`unable to ${what}; the address contains a password`)
  if (url.href.length > urlMaxChars)
    throw new UsageError(`unable to ${what}; the address is longer than ${urlMaxChars} characters`)
  return url.href
}

function unknownKey(what: string, id: string): UsageError {
  return new UsageError(`unable to ${what}; there is no live key ${id}`)
}
