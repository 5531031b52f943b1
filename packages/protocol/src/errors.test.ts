/** Tests the error catalogue: an error code means the same over every transport. */
import { expect, it } from 'vitest'
import { ChorusError, errorCatalogue, isErrorCode } from './errors.ts'
import type { ErrorCode } from './errors.ts'

it('an error has the same code and message over HTTP and Socket.IO', () => {
  for (const code of Object.keys(errorCatalogue) as ErrorCode[]) {
    const error = new ChorusError(code, 'unable to test; it is a test', { retryAfterMs: 250 })
    const { status, retry, title } = errorCatalogue[code]
    expect(error.toBody()).toEqual({ code, message: 'unable to test; it is a test', retry, retryAfterMs: 250 })
    expect(error.toProblem()).toEqual({
      type: `urn:chorus:error:${code}`,
      title,
      status,
      detail: 'unable to test; it is a test',
      code,
      retry,
    })
  }
})

it('error codes suggest a retry only where it may help', () => {
  for (const { status, retry } of Object.values(errorCatalogue)) {
    expect(retry).toBe(status === 429 || status >= 500 ? 'later' : 'never')
  }
})

it('`isErrorCode` accepts only error codes, not inherited property names', () => {
  expect(isErrorCode('conflict')).toBe(true)
  expect(isErrorCode('toString')).toBe(false)
  expect(isErrorCode(404)).toBe(false)
})

it('an error body omits `retryAfterMs` when it is not set', () => {
  expect(new ChorusError('invalid', 'unable to x; y').toBody()).not.toHaveProperty('retryAfterMs')
})
