/** Tests `npm run keys` on every engine: what it stores, prints and refuses. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createUnusableHash } from '../accounts/unusable-hash.ts'
import { Passwords } from '../auth/passwords.ts'
import { readSigningKeys } from '../keys/signing-keys.ts'
import { openTestDatabase, testEngines, type TestDatabase } from '../database/testing/open-test-database.ts'
import { hashSecret } from '../keys/key-registry.ts'
import { keyLimits, type KeyRecord, readLiveKeys, touchKeys } from '../keys/key-store.ts'
import { keysCommand } from './keys.ts'

interface Secrets {
  readonly id: string
  readonly secret: string
  readonly signingSecret: string
}

describe.each(testEngines)('keys on the %s engine', (engine) => {
  let store: TestDatabase
  beforeAll(async () => {
    store = await openTestDatabase(engine)
  })
  afterAll(() => store.close())

  const run = async (...args: string[]): Promise<string> => keysCommand.readAction(args)(store.database)
  const create = async (...args: string[]): Promise<Secrets> =>
    JSON.parse(await run('create', '--json', ...args)) as Secrets
  const recordOf = async (id: string): Promise<KeyRecord | undefined> =>
    (JSON.parse(await run('list', '--json')) as KeyRecord[]).find((key) => key.id === id)
  const liveKeyOf = async (id: string) => (await readLiveKeys(store.database)).find((key) => key.id === id)

  it('[KEY1] creates a key with its bot, prints the secrets once and stores only their hash', async () => {
    const { id, secret, signingSecret } = await create('--name', 'Shop')
    expect(id).toMatch(/^key_[a-z0-9]{16}$/)
    expect(secret).toMatch(new RegExp(`^sk_${id.slice(4)}_[A-Za-z0-9_-]{43}$`))
    expect(Buffer.from(signingSecret, 'base64url')).toHaveLength(32)
    const key = await liveKeyOf(id)
    expect(key).toMatchObject({ name: 'Shop', scopes: ['read', 'write'], secretHashes: [hashSecret(secret)] })
    expect(
      await store.database.query({ text: 'select name, bot from users where id = $1', values: [key?.botUser] }),
    ).toEqual([{ name: 'Shop', bot: true }])
    const stored = JSON.stringify(await store.database.query({ text: 'select * from api_keys' }))
    expect(stored).not.toContain(secret)
    const listed = await run('list')
    expect(listed).toContain(`${id}  Shop  read,write  valid  last used never\n`)
    expect(listed).not.toContain(signingSecret)
  })

  it('creates a key with scopes and an end, without --json for people', async () => {
    const text = await run('create', '--name', 'Ends', '--scope', 'admin, read', '--ends', '2999-01-01')
    const [, id = ''] = /^key (\S+)\nsecret sk_\S+\nsigning secret \S+\nthey are not shown again\n$/.exec(text) ?? []
    expect(await recordOf(id)).toMatchObject({
      scopes: ['read', 'admin'],
      endsAt: expect.stringMatching(/^2999-01-01/),
    })
  })

  it('[KEY1] rotates: both secrets work until the rotation ends', async () => {
    const first = await create('--name', 'Rotates')
    const second = JSON.parse(await run('rotate', first.id, '--json')) as Secrets
    expect(await liveKeyOf(first.id)).toMatchObject({
      secretHashes: [hashSecret(second.secret), hashSecret(first.secret)],
      signingSecrets: [second.signingSecret, first.signingSecret],
    })
    await expect(run('rotate', first.id)).rejects.toThrow('its last rotation has not ended')
    await run('rotate', first.id, '--end')
    expect(await liveKeyOf(first.id)).toMatchObject({
      secretHashes: [hashSecret(second.secret)],
      signingSecrets: [second.signingSecret],
    })
  })

  it('[ACL2] [KEY1] revokes a key and the sessions of its tokens, and nothing else', async () => {
    const { id } = await create('--name', 'Revoked')
    const [other, user] = [await create('--name', 'Other'), (await liveKeyOf(id))?.botUser]
    const addSession = (key: string | null) =>
      store.database.query({
        text: `insert into sessions (id, user_id, token_hash, expires_at, key_id)
               values ($1, $2, $3, now() + interval '1 day', $4)`,
        values: [randomUUID(), user, Buffer.from(randomUUID()), key],
      })
    await Promise.all([id, id, other.id, null].map(addSession))
    expect(await run('revoke', id)).toBe(`revoked ${id} and 2 sessions\n`)
    expect(await run('revoke', id)).toBe(`revoked ${id} and 0 sessions\n`)
    expect(await liveKeyOf(id)).toBeUndefined()
    expect((await recordOf(id))?.revokedAt).not.toBeNull()
    expect(await liveKeyOf(other.id)).toBeDefined()
    const rows = { text: 'select count(*)::int as n from sessions where user_id = $1 and revoked_at is null' }
    expect(await store.database.query({ ...rows, values: [user] })).toEqual([{ n: 2 }])
    await expect(run('rotate', id)).rejects.toThrow(`there is no live key ${id}`)
  })

  it('[KEY1] an ended key is not live', async () => {
    const { id } = await create('--name', 'Ended', '--ends', '2999-01-01')
    await store.database.query({ text: `update api_keys set ends_at = now() where id = $1`, values: [id] })
    expect(await liveKeyOf(id)).toBeUndefined()
    expect(await run('list')).toMatch(new RegExp(`${id}  Ended  read,write  ended `))
  })

  it('lists when a key was last used', async () => {
    const { id } = await create('--name', 'Used')
    await touchKeys(store.database, [id])
    expect((await recordOf(id))?.lastUsedAt).not.toBeNull()
  })

  it('adds, replaces and removes public keys, and only their public part', async () => {
    const { id } = await create('--name', 'Public')
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const jwk = publicKey.export({ format: 'jwk' })
    await run('add-public-key', id, JSON.stringify(jwk), '--kid', 'one')
    await run('add-public-key', id, String(privateKey.export({ format: 'pem', type: 'pkcs8' })), '--kid', 'two')
    const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
    await run('add-public-key', id, String(p256.export({ format: 'pem', type: 'spki' })), '--kid', 'two')
    expect((await liveKeyOf(id))?.publicKeys).toEqual([
      { kid: 'one', jwk },
      { kid: 'two', jwk: p256.export({ format: 'jwk' }) },
    ])
    expect(await run('list')).toContain('public keys one two')
    await run('remove-public-key', id, 'two')
    expect((await recordOf(id))?.kids).toEqual(['one'])
    await expect(run('remove-public-key', id, 'two')).rejects.toThrow(`${id} has no public key two`)
  })

  it('[LIM1] a key has a limited number of public keys', async () => {
    const { id } = await create('--name', 'Many')
    const text = JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }))
    for (let n = 0; n < keyLimits.publicKeysMax; n++) await run('add-public-key', id, text, '--kid', `k${n}`)
    await expect(run('add-public-key', id, text, '--kid', 'more')).rejects.toThrow('has 20 public keys already')
    await run('add-public-key', id, text, '--kid', 'k0')
  })

  it('sets and removes the address of a key set', async () => {
    const { id } = await create('--name', 'Set')
    await run('set-jwks', id, 'http://10.0.0.1/jwks.json')
    expect((await liveKeyOf(id))?.keySetUrl).toBe('http://10.0.0.1/jwks.json')
    await run('set-jwks', id, '--none')
    expect((await liveKeyOf(id))?.keySetUrl).toBeUndefined()
    await expect(run('set-jwks', 'key_0000000000000000', '--none')).rejects.toThrow('there is no live key')
  })

  it('[CARD2] replaces the key that signs cards, and keeps the old one published', async () => {
    const { current: old } = await readSigningKeys(store.database)
    const [, kid = ''] = /^cards are signed with the key (\S+) from \S+\n$/.exec(await run('rotate-signing-key')) ?? []
    // Published at once, used later: caches of the old list end first.
    const during = await readSigningKeys(store.database)
    expect([during.current.kid, during.published.map((key) => key.kid)]).toEqual([old.kid, [kid, old.kid]])
    await expect(run('rotate-signing-key')).rejects.toThrow('the last new key is not in use yet')
    const shift = (minutes: number) =>
      store.database.query({
        text: `update signing_keys set created_at = created_at - $1 * interval '1 minute', retired_at = retired_at - $1 * interval '1 minute'`,
        values: [minutes],
      })
    await shift(3)
    const after = await readSigningKeys(store.database)
    expect(after.current.kid).toBe(kid)
    expect(after.published.map(({ validUntil }) => validUntil !== null)).toEqual([false, true])
    await shift(3)
    const rotations = await Promise.allSettled(Array.from({ length: 3 }, () => run('rotate-signing-key')))
    expect(rotations.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await readSigningKeys(store.database)).published).toHaveLength(3)
  })

  it('[LIM1] an installation has a limited number of live keys', async () => {
    await store.database.query({
      text: `insert into api_keys (id, name, scopes, secret_hash, signing_secret, bot_user)
             select 'key_many' || n, 'many', '{read}', convert_to('many' || n, 'UTF8'), 's', (select id from users limit 1)
               from generate_series(1, ${keyLimits.keysMax}) n`,
    })
    await expect(create('--name', 'One more')).rejects.toThrow('there are 100 keys already')
    await store.database.query({ text: `update api_keys set revoked_at = now() where id like 'key_many%'` })
    await create('--name', 'One more')
  })
})

describe('arguments of keys', () => {
  const ed448 = String(generateKeyPairSync('ed448').publicKey.export({ format: 'pem', type: 'spki' }))
  const rsa = String(
    generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'pem', type: 'spki' }),
  )
  const id = 'key_0000000000000000'
  const refusals = [
    [['create'], 'unable to create; expected --name and a name'],
    [['create', 'Shop'], 'unable to create; expected only options'],
    [['create', '--name', 'x', '--scope', 'root'], '"root" is not a scope; expected read, write, admin'],
    [['create', '--name', 'x', '--ends', '2020-01-01'], 'is not a time in the future'],
    [['create', '--name', 'x', '--ends', 'soon'], 'is not a time in the future'],
    [['create', '--names', 'x'], 'unable to create; --names is unknown'],
    [['list', 'all'], 'unable to list; expected nothing more'],
    [['rotate', 'x'], '"x" is not the id of a key'],
    [['revoke'], 'unable to revoke; expected the id of a key'],
    [['add-public-key', id], 'expected the id of a key and a file'],
    [['add-public-key', id, ed448], 'expected --kid'],
    [['add-public-key', id, ed448, '--kid', 'key_aaaaaaaaaaaaaaaa'], 'looks like the id of a key'],
    [['add-public-key', id, ed448, '--kid', 'k'], 'expected an Ed25519, P-256 or RSA key of at least 2048 bits'],
    [['add-public-key', id, rsa, '--kid', 'k'], 'expected an Ed25519, P-256 or RSA key of at least 2048 bits'],
    [['add-public-key', id, '{}', '--kid', 'k'], 'the key cannot be read'],
    [['add-public-key', id, 'x'.repeat(20_000), '--kid', 'k'], 'the key is longer than 16384 characters'],
    [['set-jwks', id], 'expected the id of a key, and a URL or --none'],
    [['set-jwks', id, 'ftp://example.org'], 'expected an address like https://'],
    [['set-jwks', id, 'https://user:secret@example.org'], 'the address contains a password'],
    [['rotate-signing-key', id], 'unable to rotate-signing-key; expected nothing more'],
    [['fly'], 'unable to fly; the action is unknown'],
  ].map(([args, reason]) => ({ args: args as string[], reason: reason as string }))
  it.each(refusals)('refuses wrong arguments: $reason', ({ args, reason }) => {
    expect(() => keysCommand.readAction(args)).toThrow(reason)
  })

  it('names the argument that is a file', () => {
    expect(keysCommand.fileArgument?.(['add-public-key', '--kid', 'k', id, 'key.pem'])).toBe(4)
    expect(keysCommand.fileArgument?.(['add-public-key', id])).toBeUndefined()
    expect(keysCommand.fileArgument?.(['create', '--name', 'x'])).toBeUndefined()
  })
})

it('[KEY1] no password matches the hash of a user without one', async () => {
  const passwords = await Passwords.create()
  expect(await passwords.verify(createUnusableHash(), 'anything')).toBe(false)
  expect(createUnusableHash()).not.toBe(createUnusableHash())
})
