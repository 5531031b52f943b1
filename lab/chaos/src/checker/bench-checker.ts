/**
 * Measures the speed of the chaos test's checker: writes a history of about a million events (or
 * the given number), reads it back and checks it. Run it with `node
 * lab/chaos/dist/checker/bench-checker.js [events]`. The goal is less than ten seconds for a
 * million events.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HistoryWriter } from '../history/index.ts'
import { checkHistory } from './check-history.ts'
import { loadHistory } from './history.ts'
import { ModelChat } from './testing/model-chat.ts'

const wanted = Number(process.argv[2] ?? 1_000_000)
const users = Array.from({ length: 12 }, (_, index) => `user-${index}`)
const conversations = Array.from({ length: 10 }, (_, index) => `conversation-${index}`)
const stepsPerFault = 2_000

const chat = new ModelChat()
for (const user of users) chat.attach(`${user}-sdk`, user)
for (const conversation of conversations) chat.create(conversation, 'user-0', users.slice(1))
for (let step = 0; chat.events.length < wanted; step++) {
  const user = users[step % users.length] ?? 'user-0'
  const conversation = conversations[step % conversations.length] ?? 'conversation-0'
  chat.send(conversation, `${user}-sdk`, user)
  if (step % 100 === 0) chat.page(conversation, `${user}-sdk`, user)
  if (step % stepsPerFault === 0) chat.fault('F4')
}
const events = chat.finish()

const folder = mkdtempSync(join(tmpdir(), 'chorus-checker-'))
try {
  const writer = new HistoryWriter({ folder, origin: 'model' })
  for (const event of events) writer.write(event)
  writer.close()
  const bytes = statSync(writer.path).size
  const startedAtMs = performance.now()
  const history = loadHistory(folder)
  const readAtMs = performance.now()
  const { counts, isKept } = checkHistory(history)
  const checkedAtMs = performance.now()
  console.log(
    JSON.stringify({
      ...counts,
      isKept,
      megabytes: Math.round(bytes / 1e6),
      readMs: Math.round(readAtMs - startedAtMs),
      checkMs: Math.round(checkedAtMs - readAtMs),
      rssMegabytes: Math.round(process.memoryUsage.rss() / 1e6),
    }),
  )
} finally {
  rmSync(folder, { recursive: true, force: true })
}
