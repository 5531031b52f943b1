/**
 * Formats times for display: recent times relative to now, then the day, then the date. Pure: the
 * present time, the locale and the time zone are parameters. An invalid time gives an empty string,
 * never `Invalid Date`.
 */
export interface TimeOptions {
  readonly now: Date
  readonly locale?: string
  readonly timeZone?: string
}

const minuteMs = 60_000
const dayMs = 86_400_000

/**
 * Cache of date formatters, because they are slow to create. Its limit is far above the number that
 * one page uses.
 */
const formatters = new Map<string, Intl.DateTimeFormat>()
const formattersMax = 64

function format(date: Date, options: TimeOptions, fields: Intl.DateTimeFormatOptions): string {
  const key = JSON.stringify([options.locale, options.timeZone, fields])
  let formatter = formatters.get(key)
  if (formatter === undefined) {
    const zone = options.timeZone === undefined ? {} : { timeZone: options.timeZone }
    formatter = new Intl.DateTimeFormat(options.locale, { ...fields, ...zone })
    if (formatters.size >= formattersMax) formatters.clear()
    formatters.set(key, formatter)
  }
  return formatter.format(date)
}

function parse(time: string): Date | undefined {
  const date = new Date(time)
  return Number.isNaN(date.getTime()) ? undefined : date
}

/**
 * Returns the date of a time in the reader's time zone, such as `2026-11-22`. Two times on the same
 * day give equal strings.
 */
export function dayOf(time: string, options: Omit<TimeOptions, 'now'> = {}): string {
  const date = parse(time)
  if (date === undefined) return ''
  const zone = options.timeZone === undefined ? {} : { timeZone: options.timeZone }
  return format(date, { now: date, locale: 'en-CA', ...zone }, { year: 'numeric', month: '2-digit', day: '2-digit' })
}

/** Returns the number of midnights between a time and the present, in the reader's time zone. */
function daysBetween(earlier: string, options: TimeOptions): number {
  const from = Date.parse(`${dayOf(earlier, options)}T00:00:00Z`)
  const to = Date.parse(`${dayOf(options.now.toISOString(), options)}T00:00:00Z`)
  return Math.round((to - from) / dayMs)
}

/** Formats the time of day, such as `14:02`. */
export function formatClock(time: string, options: TimeOptions): string {
  const date = parse(time)
  return date === undefined ? '' : format(date, options, { timeStyle: 'short' })
}

/**
 * Formats the day of a time, as `Today`, `Yesterday`, `Monday`, `Tuesday 3 November` or `3 November
 * 2024`, depending on its age. Used for the dividers between days.
 */
export function formatDay(time: string, options: TimeOptions): string {
  const date = parse(time)
  if (date === undefined) return ''
  const days = daysBetween(time, options)
  if (days === 0) return 'Today'
  if (days === 1) return 'Yesterday'
  if (days > 1 && days < 7) return format(date, options, { weekday: 'long' })
  const sameYear = dayOf(time, options).slice(0, 4) === dayOf(options.now.toISOString(), options).slice(0, 4)
  return format(
    date,
    options,
    sameYear ? { weekday: 'long', day: 'numeric', month: 'long' } : { day: 'numeric', month: 'long', year: 'numeric' },
  )
}

/**
 * Formats a time in the shortest way for its age: `now`, `5 min`, `14:02`, `Yesterday`, `Mon`, `3
 * Nov` or `03/11/24`. Used in lists, where space is short.
 */
export function formatBrief(time: string, options: TimeOptions): string {
  const date = parse(time)
  if (date === undefined) return ''
  const ageMs = options.now.getTime() - date.getTime()
  if (ageMs < minuteMs) return 'now'
  if (ageMs < 60 * minuteMs) return `${Math.floor(ageMs / minuteMs)} min`
  const days = daysBetween(time, options)
  if (days <= 0) return format(date, options, { timeStyle: 'short' })
  if (days === 1) return 'Yesterday'
  if (days < 7) return format(date, options, { weekday: 'short' })
  const sameYear = dayOf(time, options).slice(0, 4) === dayOf(options.now.toISOString(), options).slice(0, 4)
  return format(
    date,
    options,
    sameYear ? { day: 'numeric', month: 'short' } : { day: '2-digit', month: '2-digit', year: '2-digit' },
  )
}

/**
 * Formats a time in full, such as `Sunday 22 November 2026 at 14:02:07`. Used for tooltips and
 * screen readers.
 */
export function formatFull(time: string, options: TimeOptions): string {
  const date = parse(time)
  return date === undefined ? '' : format(date, options, { dateStyle: 'full', timeStyle: 'medium' })
}

/**
 * Formats a time for use inside a sentence: `just now`, `5 min ago`, `at 14:02`, `yesterday`, `Mon`
 * or `3 Nov`, depending on its age.
 */
export function formatAgo(time: string, options: TimeOptions): string {
  const date = parse(time)
  if (date === undefined) return ''
  const minutes = Math.floor((options.now.getTime() - date.getTime()) / minuteMs)
  if (minutes < 1) return 'just now'
  if (minutes < 60) return `${minutes} min ago`
  if (daysBetween(time, options) === 0) return `at ${formatClock(time, options)}`
  return formatBrief(time, options).replace('Yesterday', 'yesterday')
}

/**
 * Formats when a person was last online, such as `Last seen 5 min ago`. Returns `Offline` if the
 * time is unknown.
 */
export function formatLastSeen(time: string | null, options: TimeOptions): string {
  const ago = time === null ? '' : formatAgo(time, options)
  return ago === '' ? 'Offline' : `Last seen ${ago}`
}
