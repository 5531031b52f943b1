/**
 * Two scenarios of the chaos test that have results of their own. `storm`: two thousand clients are
 * cut off at the same time. `slow`: a hundred clients do not read. The checker does not judge their
 * histories; the result is how long the recovery took and how much memory it cost.
 */
import { measureSlowGrowthBytes, measureStorm } from './measure.ts'
import type { PopulationPlan } from './population.ts'
import type { RunOptions } from './run.ts'

const stormClients = 2_000
const stormRecoveryMaxMs = 10_000
const readsMax = 2
const slowClients = 100
const otherClients = 30
const slowGrowthMaxBytes = 64 * 1024 * 1024
const paddingChars = 12_000
/**
 * Messages per second in the scenario `slow`. It is so high that a client that reads nothing
 * exceeds its buffer limit during the measurement.
 */
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

/** Runs the scenario `storm` and prints one line per goal. Returns 0 if every goal is met. */
export async function runStorm(options: RunOptions, say: (line: string) => void): Promise<number> {
  const { recoveryMs, readsAtMost } = await measureStorm({
    ...options,
    clients: stormClients,
    rate: Math.min(options.rate, 30),
    faults: 0,
    messages: 0,
    population: stormPopulation,
  })
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
  const growthBytes = await measureSlowGrowthBytes(
    {
      ...options,
      clients: slowClients + otherClients,
      rate: Math.min(options.rate, slowRate),
      faults: 0,
      messages: 0,
      population: slowPopulation,
    },
    slowClients / (slowClients + otherClients),
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
