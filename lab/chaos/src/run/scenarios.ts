/**
 * Two faults by the numbers of the plan, with an answer of their own: two thousand clients that are cut off at once, and a
 * hundred that do not read. What everybody saw is not judged here; how long it took and what it cost is.
 */
import type { PopulationPlan, RunOptions } from './run-faults.ts'
import { runMeasured } from './run-faults.ts'

const stormClients = 2_000
const stormRecoveryMaxMs = 10_000
const readsMax = 2
const slowClients = 100
const otherClients = 30
const slowGrowthMaxBytes = 64 * 1024 * 1024
const paddingChars = 12_000
/** Messages a second: enough that a client that reads nothing is over its budget within the measurement. */
const slowRate = 8

const stormPopulation: PopulationPlan = {
  conversations: [
    ['hot', 20, 100],
    ['group', 50, 20],
  ],
  kinds: [['socket-io', 1]],
  peoplePerClient: 1,
  padChars: 0,
}

const slowPopulation: PopulationPlan = {
  conversations: [['hot', 4, 100]],
  kinds: [['socket-io', 1]],
  peoplePerClient: 1,
  padChars: paddingChars,
}

/** Says a line per goal; the status is 0 when each is met. */
export async function runStorm(options: RunOptions, say: (line: string) => void): Promise<number> {
  const { recoveryMs, readsAtMost } = await runMeasured(
    {
      ...options,
      clients: stormClients,
      rate: Math.min(options.rate, 30),
      faults: 0,
      messages: 0,
      population: stormPopulation,
    },
    { what: 'storm' },
  )
  say(`storm: ${stormClients} clients`)
  return verdict([
    [recoveryMs <= stormRecoveryMaxMs, `recovered after ${Math.round(recoveryMs)} ms (bound ${stormRecoveryMaxMs} ms)`],
    [
      readsAtMost <= readsMax,
      `at most ${readsAtMost} reads of changes per conversation and server (bound ${readsMax})`,
    ],
  ])
}

export async function runSlow(options: RunOptions, say: (line: string) => void): Promise<number> {
  const { growthBytes } = await runMeasured(
    {
      ...options,
      clients: slowClients + otherClients,
      rate: Math.min(options.rate, slowRate),
      faults: 0,
      messages: 0,
      population: slowPopulation,
    },
    { what: 'slow', pausedShare: slowClients / (slowClients + otherClients) },
  )
  say(`slow: ${slowClients} clients do not read`)
  const megabytes = (growthBytes / 1024 / 1024).toFixed(1)
  return verdict([
    [growthBytes <= slowGrowthMaxBytes, `the server that grew most has ${megabytes} MB more (bound 64 MB)`],
  ])
}

function verdict(goals: readonly (readonly [isMet: boolean, text: string])[]): number {
  for (const [isMet, text] of goals) console.log(`${isMet ? 'met' : 'MISSED'}: ${text}`)
  return goals.every(([isMet]) => isMet) ? 0 : 1
}
