/**
 * The benchmark scenario `bulk-users`: one API key puts 1 000 users in one call, first new users,
 * then the same users with other names. The server keeps its default limits.
 */
import { createApiKey, startPostgres, startServer } from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const usersEach = 1_000
const secondsMax = 1
const target = 'chorus'
const variants = ['new users', 'changed users'] as const

interface PutResult {
  readonly user?: { readonly name: string }
}

export async function runBulkUsers(options: Options, progress: Progress): Promise<ScenarioRun> {
  const postgres = await startPostgres()
  try {
    const databaseUrl = await postgres.createDatabase()
    const server = await startServer({ databaseUrl, env: { NODE_ENV: 'production', ...options.serverEnvironment } })
    try {
      const { secret } = await createApiKey(server.database)
      const rounds: Round[] = []
      for (let round = 1; round <= options.rounds; round++) {
        for (const variant of variants) {
          const seen = await putUsers(server.url, secret, round, variant)
          rounds.push({ round, target, variant, raw: undefined, ...seen })
          progress(`round ${round}, ${variant}: ${seen.invalid ?? `${seen.figures.putSeconds} s`}`)
        }
      }
      const result: ScenarioResult = {
        scenario: 'bulk-users',
        targets: { [target]: 'one server, Postgres' },
        settings: { usersEach },
        rounds,
        goals: [judge(rounds)],
        notes: ['from sending the request to reading the whole response; every round has users of its own'],
      }
      return { result, versions: {} }
    } finally {
      await server.stop()
      await server.remove()
    }
  } finally {
    await postgres.remove()
  }
}

async function putUsers(
  url: string,
  secret: string,
  round: number,
  variant: (typeof variants)[number],
): Promise<Pick<Round, 'figures' | 'invalid'>> {
  const users = Array.from({ length: usersEach }, (_, n) => ({
    externalId: `customer-${round}-${n}`,
    name: `Customer ${n} of round ${round}, ${variant}`,
  }))
  const body = JSON.stringify({ users })
  const startedAtMs = performance.now()
  const response = await fetch(new URL('/v1/admin/users', url), {
    method: 'POST',
    headers: { authorization: `Bearer ${secret}`, 'content-type': 'application/json' },
    body,
  })
  const text = await response.text()
  const putSeconds = Math.round(performance.now() - startedAtMs) / 1_000
  if (response.status !== 200) return { figures: {}, invalid: `the server answered ${response.status} ${text}` }
  const { results } = JSON.parse(text) as { results: readonly PutResult[] }
  const stored = users.filter(({ name }, n) => results[n]?.user?.name === name).length
  return { figures: { putSeconds }, invalid: stored < usersEach ? `only ${stored} users were stored` : undefined }
}

function judge(rounds: readonly Round[]): Goal {
  const values = variants.map((variant) => valuesOf(rounds, { target, variant, figure: 'putSeconds' }))
  const isWhole = values.flat().length === rounds.length
  const slower = Math.max(...values.map(median))
  return {
    id: 'P9',
    met: isWhole && slower <= secondsMax,
    text: isWhole
      ? `${slower.toFixed(2)} s to put ${usersEach.toLocaleString('en')} users (goal ${secondsMax} s)`
      : 'a round failed, see above',
  }
}
