import { describe, expect, it } from 'vitest'
import { dayOf, formatBrief, formatClock, formatDay, formatFull, formatLastSeen } from './format-time.ts'

// The present time of these tests is 12:30 in Berlin, where midnight is at 23:00 UTC.
const options = { now: new Date('2026-11-22T11:30:00Z'), locale: 'en-GB', timeZone: 'Europe/Berlin' }

describe('formatted times', () => {
  it('the day of a time depends on the time zone of the reader', () => {
    expect(dayOf('2026-11-21T22:59:59Z', options)).toBe('2026-11-21')
    expect(dayOf('2026-11-21T23:00:00Z', options)).toBe('2026-11-22')
  })

  it.each([
    ['2026-11-22T11:29:30Z', 'now'],
    ['2026-11-22T11:31:00Z', 'now'],
    ['2026-11-22T11:25:00Z', '5 min'],
    ['2026-11-22T08:05:00Z', '09:05'],
    ['2026-11-21T22:00:00Z', 'Yesterday'],
    ['2026-11-18T12:00:00Z', 'Wed'],
    ['2026-09-03T12:00:00Z', '3 Sept'],
    ['2024-11-03T12:00:00Z', '03/11/24'],
    ['nonsense', ''],
  ])('the time %s is shown in a list as %j', (time, expected) => expect(formatBrief(time, options)).toBe(expected))

  it.each([
    ['2026-11-21T23:00:00Z', 'Today'],
    ['2026-11-21T22:59:59Z', 'Yesterday'],
    ['2026-11-16T12:00:00Z', 'Monday'],
    ['2026-11-15T12:00:00Z', 'Sunday 15 November'],
    ['2025-11-15T12:00:00Z', '15 November 2025'],
    ['nonsense', ''],
  ])('the day of %s is named %j', (time, expected) => expect(formatDay(time, options)).toBe(expected))

  it('the time of day and the full date use the reader’s time zone', () => {
    expect(formatClock('2026-11-22T08:05:00Z', options)).toBe('09:05')
    expect(formatFull('2026-11-22T08:05:00Z', options)).toMatch(/22 November 2026.*09:05:00/)
    expect(formatClock('', options)).toBe('')
  })

  it.each([
    [null, 'Offline'],
    ['2026-11-22T11:29:45Z', 'Last seen just now'],
    ['2026-11-22T11:10:00Z', 'Last seen 20 min ago'],
    ['2026-11-22T08:05:00Z', 'Last seen at 09:05'],
    ['2026-11-21T08:05:00Z', 'Last seen yesterday'],
  ])('a last-seen time is described: %s', (time, expected) => expect(formatLastSeen(time, options)).toBe(expected))
})
