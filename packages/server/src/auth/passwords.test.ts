import { ChorusError } from '@chorus/protocol'
import { describe, expect, it } from 'vitest'
import { Passwords } from './passwords.ts'

describe('password hashing', () => {
  it('hashes with argon2id, 19 MiB and two passes, and verifies the password', async () => {
    const passwords = await Passwords.create()
    const stored = await passwords.hash('correct horse')
    expect(stored).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
    expect(await passwords.verify(stored, 'correct horse')).toBe(true)
    expect(await passwords.verify(stored, 'correct horsf')).toBe(false)
  })

  it('accepts both Unicode forms of an accent as the same password', async () => {
    const passwords = await Passwords.create()
    const stored = await passwords.hash('cafe\u0301 creme')
    expect(await passwords.verify(stored, 'caf\u00e9 creme')).toBe(true)
  })

  it('computes a hash for an unknown user, too, and never accepts the password', async () => {
    let hashes = 0
    const passwords = await Passwords.create({ onHash: () => hashes++ })
    expect(await passwords.verify(undefined, 'anything')).toBe(false)
    expect(hashes).toBe(1)
  })

  it('[LIM1] computes few hashes at a time, queues some and refuses the rest', async () => {
    const passwords = await Passwords.create({ parallelMax: 1, waitingMax: 2 })
    const attempts = Array.from({ length: 5 }, () => passwords.hash('correct horse'))
    expect(passwords.waitingCount).toBe(2)
    const outcomes = await Promise.allSettled(attempts)
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
    ])
    const [refused] = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
    expect(refused).toBeInstanceOf(ChorusError)
    expect((refused as ChorusError).code).toBe('unavailable')
    expect(await passwords.hash('again')).toContain('argon2id')
  })
})
