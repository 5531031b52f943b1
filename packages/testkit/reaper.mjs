/**
 * Ends the processes and removes the folders that a test run left behind, however the run ended.
 * The testkit starts one reaper per run and reports to it over standard input each process and
 * folder it creates. When that input closes (also after SIGKILL), the reaper kills by pid the
 * processes that are still alive and removes the temporary folders. It compares the start time of
 * each pid, so it never kills a process that reuses a pid. Written in plain JavaScript, because it
 * must work without a build.
 *
 * Format of the reported lines: `+pid <pid> <startTime>` · `-pid <pid>` · `+dir <path>` · `-dir
 * <path>`
 */
import { readFileSync, rmSync } from 'node:fs'
import { createInterface } from 'node:readline'

/** @type {Map<string, string>} */
const processes = new Map()
/** @type {Set<string>} */
const folders = new Set()

function startTimeOf(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined)

const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const [verb, subject, ...rest] = line.split(' ')
  if (verb === '+pid') processes.set(subject, rest[0])
  else if (verb === '-pid') processes.delete(subject)
  else if (verb === '+dir') folders.add([subject, ...rest].join(' '))
  else if (verb === '-dir') folders.delete([subject, ...rest].join(' '))
})
lines.on('close', () => {
  for (const [pid, startTime] of processes) {
    if (startTimeOf(pid) !== startTime) continue
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // The process ended between the check and the kill.
    }
  }
  setTimeout(() => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }, 300)
})
