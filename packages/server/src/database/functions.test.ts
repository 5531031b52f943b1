/**
 * Tests the set of the server's SQL functions: it is complete, numbered, and never replaced by an
 * older set.
 */
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { functionSet } from './function-set.ts'
import { installScript, readFunctions, readFunctionSetNumber } from './functions.ts'
import { migrate } from './migrate.ts'
import { openTestDatabase, type TestDatabase, testEngines } from './testing/open-test-database.ts'

const nameOf = (text: string): string | undefined => /create or replace function (\w+)/.exec(text)?.[1]

it('[MIG2] the SQL functions have a new number whenever a function changes', () => {
  const hash = createHash('sha256')
  for (const { name, text } of readFunctions()) hash.update(`${name}\n${text}\n`)
  expect(hash.digest('hex').slice(0, 16), 'run npm run docs, which raises the number').toBe(functionSet.checksum)
})

it('[MIG2] each SQL file contains one function and has its name', () => {
  for (const { name, text } of readFunctions()) {
    expect(text.match(/create or replace function/g), name).toHaveLength(1)
    expect(`${nameOf(text)?.replaceAll('_', '-')}.sql`).toBe(name)
  }
})

describe.each(testEngines)('SQL functions on the %s engine', (engine) => {
  let store: TestDatabase
  beforeAll(async () => {
    store = await openTestDatabase(engine)
  })
  afterAll(() => store.close())

  const readSource = async (name: string): Promise<string | undefined> => {
    const [row] = await store.database.query<{ prosrc: string }>({
      text: 'select prosrc from pg_proc where proname = $1 and pronamespace = current_schema::regnamespace',
      values: [name],
    })
    return row?.prosrc
  }
  const set = (number: number): Promise<unknown> =>
    store.database.query({ text: `update settings set value = $1 where key = 'functions'`, values: [String(number)] })

  it('[MIG2] every SQL function of the database is in a file', async () => {
    const rows = await store.database.query<{ proname: string }>({
      text: `select proname from pg_proc p where pronamespace = current_schema::regnamespace
               and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
              order by proname`,
    })
    expect(rows.map(({ proname }) => proname)).toEqual(
      readFunctions()
        .map(({ text }) => nameOf(text))
        .sort(),
    )
    for (const { text } of readFunctions()) expect(text).toContain(await readSource(nameOf(text) ?? ''))
  })

  it('[MIG2] replaces an older set of SQL functions and keeps a newer one', async () => {
    const text = `create or replace function has_owner(p_conversation uuid, p_except uuid) returns boolean
                  language sql stable as 'select true'`
    await store.database.script(text)
    await set(functionSet.number + 1)
    await migrate(store.database)
    expect(await readSource('has_owner')).toBe('select true')
    expect(await readFunctionSetNumber(store.database)).toBe(functionSet.number + 1)
    // Another server installed a newer set after this server had read the number.
    await store.database.script(installScript('select 1'))
    expect(await readSource('has_owner')).toBe('select true')
    await set(functionSet.number - 1)
    await migrate(store.database)
    expect(await readSource('has_owner')).not.toBe('select true')
    expect(await readFunctionSetNumber(store.database)).toBe(functionSet.number)
  })
})
