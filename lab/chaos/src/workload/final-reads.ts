/**
 * Reads all conversations at the end of a chaos run, once as existing clients and once as new
 * clients. Throws an error if a page cannot be read: without it the checker could not judge the
 * end.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { readPage } from '../clients/http-calls.ts'
import type { Person } from '../clients/person.ts'
import type { Recorder } from '../clients/recorder.ts'
import type { DriverJob, Top } from './job.ts'
import type { Seats } from './seats.ts'

/**
 * Maximum number of pages that an existing client reads of each conversation at the end. A new
 * client reads all pages.
 */
const finalPagesMax = 20
const finalReadersTogether = 6

interface FinalReadsOptions {
  readonly job: DriverJob
  readonly seats: Seats
  readonly recorder: Recorder
}

export async function readFinally(options: FinalReadsOptions, tops: readonly Top[]): Promise<void> {
  const readers: (() => Promise<void>)[] = []
  const mine = new Set(options.job.actors.map(({ person }) => person))
  for (const index of mine) {
    const person = options.seats.person(index)
    const own = tops.filter(({ members }) => members.includes(person.id))
    readers.push(async () => {
      for (const top of own) await readLog(options, person, 0, top, 'client')
    })
  }
  // To read as a new client, use a session that no client has used. Of the conversation's members
  // in this process, only one reads it as a new client.
  const fresh = new Set<string>()
  for (const index of mine) {
    const person = options.seats.person(index)
    const unread = tops.filter(({ conversation, members }) => members.includes(person.id) && !fresh.has(conversation))
    for (const { conversation } of unread) fresh.add(conversation)
    const last = person.sessions.length - 1
    readers.push(async () => {
      for (const top of unread) await readLog(options, person, last, top, 'fresh')
    })
  }
  const next = readers.values()
  await Promise.all(
    Array.from({ length: finalReadersTogether }, async () => {
      for (const read of next) await read()
    }),
  )
}

async function readLog(
  { job, seats, recorder }: FinalReadsOptions,
  person: Person,
  sessionIndex: number,
  { conversation, seq: top }: Top,
  final: 'client' | 'fresh',
): Promise<void> {
  const session = person.sessions[sessionIndex]
  const http = seats.httpOf(person, session)
  const span = final === 'fresh' ? top : Math.min(top, finalPagesMax * 200)
  for (let after = top - span, hasMore = true, tries = 0; hasMore; ) {
    const id = recorder.invoke({
      op: 'page',
      process: `${job.name} ${final} ${person.handle}`,
      user: person.id,
      conversation,
      final,
      ...(session !== undefined && { session: session.id }),
    })
    const outcome = await readPage(http, conversation, `after=${after}&limit=200`)
    recorder.settle('page', id, outcome)
    const page = outcome.type === 'ok' ? outcome.page : undefined
    if (page === undefined) {
      tries += 1
      if (tries > 5) throw new Error(`unable to read ${conversation} at the end; ${JSON.stringify(outcome)}`)
      await pause(300)
      continue
    }
    after = page.items.at(-1)?.seq ?? after
    hasMore = page.hasAfter && page.items.length > 0
  }
}
