/**
 * The benchmark scenario `tokens`: measures what the check of a user token costs after its first
 * use. Requests of many users come over a few connections, so that each user's state is read again
 * as often as a busy server reads it. The server measures the checks itself. After each round, the
 * tokens of one user are revoked, and the scenario measures how long the server still accepts one.
 */
import { Agent, request } from 'node:http'
import {
  createApiKey,
  type CreatedKey,
  findFreePort,
  makeClaims,
  type ServerProcess,
  signToken,
  startServer,
} from '@chorus/testkit'
import type { Options } from '../options/options.ts'
import type { Goal, Round, ScenarioResult } from '../report/result.ts'
import { median, valuesOf } from '../report/statistics.ts'
import type { Progress, ScenarioRun } from './scenario.ts'

const users = 200
const connections = 20
const microsecondsMax = 100
/** Maximum time for which a server accepts a revoked token (rule ACL2). */
const acceptedMaxMs = 1_000
const target = 'chorus-embedded'
const variant = `${users} users`
const noLimits = { LIMIT_REQUESTS: '0', LIMIT_CONNECTIONS: '0', LIMIT_SIGN_INS: '0', LIMIT_NEW_TOKEN_USERS: '0' }

export async function runTokens(options: Options, progress: Progress): Promise<ScenarioRun> {
  const metricsPort = await findFreePort()
  const server = await startServer({
    env: { ...noLimits, METRICS_PORT: String(metricsPort), ...options.serverEnvironment },
  })
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  try {
    const key = await createApiKey(server.database)
    const tokens = Array.from({ length: users }, (_, n) => signToken(key.signing, makeClaims(`user ${n}`)))
    await sendUntil(server, agent, tokens, performance.now() + options.warmUpMs)
    const rounds: Round[] = []
    for (let round = 1; round <= options.rounds; round++) {
      const before = await readChecks(metricsPort)
      const startMs = performance.now()
      const { sent, refused } = await sendUntil(server, agent, tokens, startMs + options.measureMs)
      const tookS = (performance.now() - startMs) / 1_000
      const after = await readChecks(metricsPort)
      const checks = after.count - before.count
      const figures = {
        cachedMicroseconds: Math.round(((after.seconds - before.seconds) / checks) * 1e7) / 10,
        requestsPerSecond: Math.round(sent / tookS),
        refusedAfterMs: await revoke(server, agent, key, `revoked ${round}`),
      }
      const invalid =
        refused > 0 ? `${refused} requests were refused` : checks < sent ? 'tokens were verified again' : undefined
      rounds.push({ round, target, variant, figures, invalid, raw: { sent, refused, checks } })
      progress(`round ${round}: ${invalid ?? `${figures.cachedMicroseconds} µs per check`}`)
    }
    const result: ScenarioResult = {
      scenario: 'tokens',
      targets: { [target]: 'one server, embedded database' },
      settings: { users, connections, algorithm: key.signing.alg },
      rounds,
      goals: [judge(rounds)],
      notes: ['measured inside the server, with the reads of the users that requests wait for'],
    }
    return { result, versions: {} }
  } finally {
    agent.destroy()
    await server.remove()
  }
}

/** Sends reads with all tokens in turn over all connections until a time. */
async function sendUntil(
  server: ServerProcess,
  agent: Agent,
  tokens: readonly string[],
  endMs: number,
): Promise<{ readonly sent: number; readonly refused: number }> {
  let sent = 0
  let refused = 0
  const send = async (): Promise<void> => {
    while (sent < tokens.length || performance.now() < endMs) {
      const token = tokens[sent++ % tokens.length] ?? ''
      if ((await statusOf(new URL('/v1/conversations', server.url), agent, token)) !== 200) refused++
    }
  }
  await Promise.all(Array.from({ length: connections }, send))
  return { sent, refused }
}

function statusOf(url: URL, agent: Agent, token: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent, headers: { authorization: `Bearer ${token}` } }, (incoming) => {
      incoming.resume()
      incoming.once('error', reject)
      incoming.once('end', () => resolve(incoming.statusCode))
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
}

/**
 * Uses a token of this user, revokes the user's tokens, and uses the token until it is refused.
 * Resolves to the time after the revocation, in milliseconds.
 */
async function revoke(server: ServerProcess, agent: Agent, key: CreatedKey, user: string): Promise<number> {
  const token = signToken(key.signing, makeClaims(user))
  const url = new URL('/v1/conversations', server.url)
  if ((await statusOf(url, agent, token)) !== 200) throw new Error('unable to measure; a new token was refused')
  const revoked = await fetch(new URL(`/v1/admin/users/${encodeURIComponent(user)}/revoke-tokens`, server.url), {
    method: 'POST',
    headers: { authorization: `Bearer ${key.secret}` },
  })
  if (!revoked.ok) throw new Error(`unable to measure; revoking tokens was answered by ${revoked.status}`)
  const startMs = performance.now()
  while ((await statusOf(url, agent, token)) === 200)
    if (performance.now() - startMs > 10 * acceptedMaxMs) return Number.POSITIVE_INFINITY
  return Math.round(performance.now() - startMs)
}

interface Checks {
  readonly count: number
  readonly seconds: number
}

async function readChecks(metricsPort: number): Promise<Checks> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()
  const read = (part: string): number =>
    Number(
      new RegExp(`^chorus_token_check_seconds_${part}\\{[^}]*outcome="cached"[^}]*\\} (.+)$`, 'm').exec(text)?.[1] ?? 0,
    )
  return { count: read('count'), seconds: read('sum') }
}

function judge(rounds: readonly Round[]): Goal {
  const values = valuesOf(rounds, { target, variant, figure: 'cachedMicroseconds' })
  const isWhole = values.length === rounds.length
  const took = median(values)
  const refusedAfterMs = Math.max(...valuesOf(rounds, { target, variant, figure: 'refusedAfterMs' }))
  return {
    id: 'P8',
    met: isWhole && took <= microsecondsMax && refusedAfterMs <= acceptedMaxMs,
    text: isWhole
      ? `${took.toFixed(0)} µs per check of a known token (goal ${microsecondsMax} µs), a revoked one refused after ${refusedAfterMs} ms (goal ${acceptedMaxMs} ms)`
      : 'a round failed, see above',
  }
}
