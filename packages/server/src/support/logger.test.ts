import { expect, it } from 'vitest'
import { createLogger } from './logger.ts'

function capture(): { readonly lines: string[]; readonly logger: ReturnType<typeof createLogger> } {
  const lines: string[] = []
  return { lines, logger: createLogger('trace', 'test', { write: (line) => void lines.push(line) }) }
}

it('the log redacts secrets and message texts at each level', () => {
  const { lines, logger } = capture()
  const secrets = { cookie: 'hush-1', authorization: 'hush-2', password: 'hush-3', token: 'hush-4', text: 'hush-5' }
  logger.info(secrets, 'top')
  logger.info({ req: secrets, headers: { 'set-cookie': 'hush-6' } }, 'below')
  logger.info({ req: { headers: secrets } }, 'deeper')
  expect(lines).toHaveLength(3)
  expect(lines.join('')).not.toContain('hush')
})

it('the log has one line per event, whatever a value contains', () => {
  const { lines, logger } = capture()
  logger.info({ handle: 'x\r\n{"level":60,"msg":"forged"}' }, 'a\nb')
  expect(lines).toHaveLength(1)
  expect(lines[0]!.trimEnd()).not.toMatch(/[\r\n]/)
})

it('the log keeps message, code and cause of an error, and drops driver details', () => {
  const { lines, logger } = capture()
  const error = Object.assign(new Error('broken', { cause: new Error('because') }), {
    code: '23505',
    detail: 'Key (handle)=(hush) already exists.',
  })
  logger.error({ err: error }, 'failed')
  const line = JSON.parse(lines[0]!) as { err: { message: string; code: string; cause: { message: string } } }
  expect(line.err).toMatchObject({ message: 'broken', code: '23505', cause: { message: 'because' } })
  expect(lines[0]).not.toContain('hush')
})
