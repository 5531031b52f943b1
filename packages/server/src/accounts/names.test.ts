/** Tests that handles, names and searches work the same in every locale. */
import { randomUUID } from 'node:crypto'
import type { Id } from '@chorus/protocol'
import { v7 as uuidv7 } from 'uuid'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { foldNames, foldNameOf } from './fold-names.ts'
import { findChannels } from '../log/read-conversations.ts'
import { LogFixture } from '../database/testing/log-fixture.ts'
import {
  openTestDatabase,
  type TestDatabase,
  type TestEngine,
  testEngines,
} from '../database/testing/open-test-database.ts'
import { findCredentials, findUsersByPrefix, insertUser, updateProfile } from './users.ts'

const locales: readonly (readonly [name: string, engine: TestEngine, createWith: string])[] = [
  ['the embedded engine', 'embedded', ''],
  ['Postgres', 'postgres', ''],
  ['Postgres with locale C', 'postgres', `template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`],
  [
    'Postgres with locale tr-TR',
    'postgres',
    `template template0 encoding 'UTF8' locale 'C' locale_provider icu icu_locale 'tr-TR'`,
  ],
]

describe.each(locales.filter(([, engine]) => testEngines.includes(engine)))(
  'user and channel names on %s',
  (_name, engine, createWith) => {
    let store: TestDatabase
    let fixture: LogFixture
    let ada: Id
    beforeAll(async () => {
      store = await openTestDatabase(engine, createWith)
      fixture = new LogFixture(store.database)
      ada = await fixture.user()
    })
    afterAll(() => store.close())

    const signUp = (handle: string, name: string) =>
      insertUser(store.database, { id: uuidv7(), handle, name, passwordHash: 'x' })
    const found = async (prefix: string): Promise<string[]> =>
      (await findUsersByPrefix(store.database, prefix, 10)).map(({ handle }) => handle)
    const channel = async (name: string): Promise<Id> => {
      const id = uuidv7()
      await fixture.apply({
        op: 'create',
        conversation: id,
        actor: ada,
        kind: 'channel',
        name,
        directKey: null,
        members: [ada],
      })
      await foldNameOf(store.database, id, name)
      return id
    }
    const channels = async (text: string, limit = 10): Promise<(string | null)[]> =>
      (await findChannels(store.database, ada, text, limit)).map(({ name }) => name)

    it('[NAME1] treats handles that differ only in ASCII case as equal', async () => {
      expect(await signUp('Ilya', 'Ilya')).toMatchObject({ handle: 'Ilya' })
      for (const handle of ['ilya', 'ILYA', 'iLyA']) {
        expect(await signUp(handle, 'Another')).toBeUndefined()
        expect((await findCredentials(store.database, handle))?.user.handle).toBe('Ilya')
      }
      for (const handle of ['İlya', 'ılya', 'ILYＡ'])
        expect(await findCredentials(store.database, handle)).toBeUndefined()
      expect(await updateProfile(store.database, ada, { handle: 'ILYA' })).toBe('taken')
    })

    it('[NAME1] finds users ignoring case, in either Unicode form of an accent', async () => {
      await signUp('elo', 'Élodie Ilgaz')
      await signUp('zoe', 'Zoe\u0301 Istanbul')
      for (const text of ['élo', 'ÉLODIE', 'e\u0301lodie i', 'éLODIE ı']) expect(await found(text)).toEqual(['elo'])
      for (const text of ['zoé', 'ZOE\u0301', 'Zoé İ']) expect(await found(text)).toEqual(['zoe'])
      expect(await found('elodie')).toEqual([])
      expect(await found('ELO')).toEqual(['elo'])
    })

    it('[NAME1] finds renamed users by the new name only, and no disabled users', async () => {
      const user = await signUp('mover', 'Before Ünal')
      await updateProfile(store.database, user?.id ?? '', { name: 'After Ünal' })
      expect(await found('before ü')).toEqual([])
      expect(await found('after ü')).toEqual(['mover'])
      await fixture.sql(`update users set disabled_at = now() where handle = 'mover'`)
      expect(await found('after ü')).toEqual([])
      await fixture.sql(`update users set disabled_at = null where handle = 'mover'`)
      await foldNames(store.database)
      expect(await found('after ü')).toEqual(['mover'])
    })

    it('[NAME1] makes names searchable that a server of the previous version stored', async () => {
      await fixture.sql(
        `insert into users (id, handle, name, password_hash) values ($1, 'older', 'Çağla', ''), ($2, ' canary', 'Çanary', '')`,
        [randomUUID(), randomUUID()],
      )
      expect(await foldNames(store.database)).toBeGreaterThan(0)
      expect(await foldNames(store.database)).toBe(0)
      expect(await found('ÇA')).toEqual(['older'])
      await fixture.sql(`update users set name = 'Öykü' where handle = 'older'`)
      await foldNames(store.database)
      expect(await found('ça')).toEqual([])
      expect(await found('ÖY')).toEqual(['older'])
    })

    it('[NAME1] finds channels by any part of the name, prefix matches first', async () => {
      await channel('Größe und Maß')
      await channel('Maßarbeit')
      await channel('一般公開')
      const renamed = await channel('Old name')
      expect(await channels('MASS')).toEqual(['Maßarbeit', 'Größe und Maß'])
      expect(await channels('公')).toEqual(['一般公開'])
      expect(await channels('ÖSSE U')).toEqual(['Größe und Maß'])
      expect(await channels('zzzz')).toEqual([])
      expect(await channels('', 3)).toHaveLength(3)
      await fixture.apply({ op: 'rename', conversation: renamed, actor: ada, name: 'New name' })
      expect(await foldNames(store.database)).toBe(1)
      expect(await channels('old')).toEqual([])
      expect(await channels('w name')).toEqual(['New name'])
    })

    it('[NAME1] searches for percent, underscore and backslash literally', async () => {
      await channel('100% \\o/ a_b')
      for (const text of ['%', '_', '\\', '100% \\O']) expect(await channels(text)).toEqual(['100% \\o/ a_b'])
      expect(await found('%')).toEqual([])
      expect(await found('_')).toEqual([])
    })
  },
)
