/**
 * Runs the contract suite on all three stores. Also tests the features that only the file store
 * has.
 */
import 'fake-indexeddb/auto'
import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFileStore } from '../store/store-file.ts'
import { createIndexedDbStore } from '../store/store-indexeddb.ts'
import { createMemoryStore } from '../store/store-memory.ts'
import { storeSuite } from '../testing/store.suite.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chorus-store-'))
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
})

storeSuite('memory', () => {
  const store = createMemoryStore()
  return Promise.resolve({ store, reopen: () => Promise.resolve(store) })
})

storeSuite('IndexedDB', () => {
  const name = randomUUID()
  return Promise.resolve({
    store: createIndexedDbStore(name),
    reopen: () => Promise.resolve(createIndexedDbStore(name)),
  })
})

storeSuite('file', () => {
  const path = join(folder, 'deep', `${randomUUID()}.json`)
  return Promise.resolve({ store: createFileStore(path), reopen: () => Promise.resolve(createFileStore(path)) })
})

describe('the file store', () => {
  it('the store file is readable by its owner only', async () => {
    const path = join(folder, 'private.json')
    await createFileStore(path).writeAccount(undefined)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  it('the file store rejects a damaged file with a clear error and keeps it', async () => {
    const path = join(folder, 'damaged.json')
    await writeFile(path, '{"version":1,"users"')
    await chmod(path, 0o600)
    await expect(createFileStore(path).readAccount()).rejects.toThrow(
      /^unable to read .*; it is not a store of this version$/,
    )
    expect(await readFile(path, 'utf8')).toBe('{"version":1,"users"')
  })

  it('the file store ignores a half-written temporary file', async () => {
    const path = join(folder, 'crashed.json')
    await createFileStore(path).writeAccount({ user: { id: 'u', handle: 'a', name: 'A', avatar: null, bot: false } })
    await writeFile(`${path}.new`, '{"version":')
    expect((await createFileStore(path).readAccount())?.user.id).toBe('u')
  })
})
