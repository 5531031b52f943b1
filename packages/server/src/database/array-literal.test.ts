/**
 * Tests that Postgres parses our array literals (arrays as text parameters) to the original values.
 */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bigintArray, byteaArray, plainArray, textArray } from './array-literal.ts'
import { openTestDatabase, type TestDatabase } from './testing/open-test-database.ts'

describe('array literals', () => {
  let opened: TestDatabase
  beforeAll(async () => {
    opened = await openTestDatabase('embedded')
  })
  afterAll(() => opened.close())

  const read = async (literal: string, type: string): Promise<unknown> => {
    const [row] = await opened.database.query<{ list: unknown }>({
      text: `select to_json($1::${type}[]) as list`,
      values: [literal],
    })
    return row?.list
  }

  it('array literals preserve texts with any special character', async () => {
    const texts = fc.array(fc.option(fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0'))))
    await fc.assert(
      fc.asyncProperty(texts, async (list) => {
        expect(await read(textArray(list), 'text')).toStrictEqual(list)
      }),
      { numRuns: 60 },
    )
    const tricky = ['NULL', 'null', '', ' ', '{}', ',', '"', '\\', '\\"', 'a\nb', "'", '\\x41', null]
    expect(await read(textArray(tricky), 'text')).toStrictEqual(tricky)
  })

  it('array literals preserve numbers, ids and bytes', async () => {
    expect(await read(bigintArray([1, null, 9_007_199_254_740_991]), 'bigint')).toStrictEqual([
      1,
      null,
      9_007_199_254_740_991,
    ])
    const id = '018f5a3e-0000-7000-8000-000000000001'
    expect(await read(plainArray([id, id]), 'uuid')).toStrictEqual([id, id])
    expect(await read(byteaArray(['00ff', 'abcd']), 'bytea')).toStrictEqual(['\\x00ff', '\\xabcd'])
    for (const empty of [plainArray([]), bigintArray([]), textArray([]), byteaArray([])])
      expect(await read(empty, 'text')).toStrictEqual([])
  })
})
