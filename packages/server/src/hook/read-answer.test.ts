/** Tests how answers of the hook are read, valid and hostile ones. */
import { hookLimits, limits } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { readAnswer } from './read-answer.ts'

const read = (answer: unknown) => readAnswer(JSON.stringify(answer))

describe('readAnswer', () => {
  it('[HOOK1] reads the three actions, and ignores further fields', () => {
    expect(read({ action: 'allow', trace: 7 })).toEqual({ action: 'allow' })
    expect(read({ action: 'replace', text: 'b', trace: 7 })).toEqual({ action: 'replace', text: 'b' })
    expect(read({ action: 'replace', data: null })).toEqual({ action: 'replace', data: null })
    expect(read({ action: 'refuse', reason: 'No phone numbers.' })).toEqual({
      action: 'refuse',
      reason: 'No phone numbers.',
    })
  })

  it.each(['', 'no JSON', 'null', '[]', '7', '{}', '{"action":"allow"', '{"action":"ALLOW"}', '{"action":["refuse"]}'])(
    '[HOOK1] counts %j as no answer',
    (text) => expect(() => readAnswer(text)).toThrow('the answer'),
  )

  it.each([
    {},
    { text: 7 },
    { text: 'a\0' },
    { text: '\ud800' },
    { text: 'x'.repeat(limits.textMaxChars + 1) },
    { data: 'x'.repeat(limits.dataMaxBytes) },
  ])('[HOOK1] accepts no replacement that a client could not send: %#', (fields) =>
    expect(read({ action: 'replace', ...fields })).toEqual({ action: 'bad-replacement' }),
  )

  it('[HOOK1] [BAD1] accepts no replacement with a number or a key that would be lost', () => {
    for (const data of ['9007199254740993', '1e400', '{"a":1,"a":2}', '{"__proto__":{}}'])
      expect(readAnswer(`{"action":"replace","data":${data}}`)).toEqual({ action: 'bad-replacement' })
  })

  it('[HOOK1] turns a reason into one bounded line of plain text', () => {
    const reasonOf = (reason: unknown) => (read({ action: 'refuse', reason }) as { reason?: string }).reason
    expect(reasonOf('one\r\ntwo\u2028three\u0007')).toBe('one two three')
    expect(reasonOf('a\u202eb')).toBe('ab')
    expect(reasonOf('é'.repeat(5_000))).toBe('é'.repeat(hookLimits.reasonMaxChars))
    expect(reasonOf('👋'.repeat(5_000))).toBe('👋'.repeat(hookLimits.reasonMaxChars / 2))
    expect(reasonOf(`x${'👋'.repeat(5_000)}`)).toBe(`x${'👋'.repeat(hookLimits.reasonMaxChars / 2 - 1)}`)
    for (const reason of [undefined, null, 7, {}, '', ' \n ', '\u200b']) expect(reasonOf(reason)).toBeUndefined()
  })
})
