/**
 * Models the cost of a cluster per second as a sum of a few named terms: a price for each message,
 * for each write to a connection, for each silent connection and so on. A least-squares fit over
 * most of the measured points gives the prices. The points not used for the fit show how good the
 * model is. The largest point of each curve is among them: a model that predicts beyond all
 * measurements must at least predict the next point.
 */
import type { CurvePoint, Work } from '../points/point.ts'
import { median } from '../report/statistics.ts'
import { fitNonNegative } from './least-squares.ts'

export const roles = ['server', 'database', 'redis', 'memory'] as const
export type Role = (typeof roles)[number]

export interface Term {
  /** Name of the term for the table of prices, such as `a message`. */
  readonly name: string
  /** Returns how often the term occurs: per second, or in total for memory. */
  readonly amount: (work: Work) => number
}

const messages = ({ messages: perSecond }: Work): number => perSecond
const transactions = ({ messages: rows, rowsPerCommit }: Work): number => rows / rowsPerCommit
/**
 * Returns the number of turns of the event loop per second that handle messages. One turn handles
 * all messages that arrived together: as many as a connection receives changes in one write.
 */
const turns = ({ messages: perSecond, changesPerWrite }: Work): number => perSecond / changesPerWrite
/**
 * Returns the number of rows per second that the sweep reads on all servers: every server reads the
 * sequence number of every stored row.
 */
const swept = ({ messages: rows, servers }: Work): number => rows * servers
/**
 * Returns the number of publishes to Redis per second. Rows that were stored together are published
 * together if they belong to the same room.
 */
const publications = ({ messages: perSecond, rowsPerCommit, rooms }: Work): number =>
  perSecond / Math.max(1, rowsPerCommit / rooms)
const broughtElsewhere = (work: Work): number => publications(work) * (work.serving - 1)

/**
 * Returns the number of writes to connections per second: the events with changes, plus the
 * checkpoint that follows them at most once a second on each connection.
 */
export function writesOf({ deliveries, changesPerWrite, hearers }: Work): number {
  const events = deliveries / changesPerWrite
  return events + Math.min(hearers, events)
}

export const relayName = 'a batch of messages sent to one more server'
export const sweptName = 'a stored row swept by one server'

export const servingName = 'a server with connections'

/**
 * Cost terms of each role. Their prices are microseconds of processor time; for memory, kilobytes.
 */
export const terms = {
  server: [
    { name: 'a running server, per second', amount: ({ servers }) => servers },
    { name: 'an idle connection, per second', amount: ({ connections }) => connections },
    { name: 'a message: checked, acknowledged, announced', amount: messages },
    { name: 'a turn: messages that arrived together', amount: turns },
    { name: relayName, amount: broughtElsewhere },
    { name: sweptName, amount: swept },
    { name: 'a write to a connection', amount: writesOf },
    { name: 'a delivery within a write', amount: ({ deliveries }) => deliveries },
  ],
  database: [
    { name: 'a running server, per second', amount: ({ servers }) => servers },
    { name: 'a row', amount: messages },
    { name: 'a transaction', amount: transactions },
    { name: sweptName, amount: swept },
  ],
  redis: [
    { name: 'a running server, per second', amount: ({ servers }) => servers },
    { name: 'an idle connection, per second', amount: ({ connections }) => connections },
    { name: 'a batch of published messages', amount: publications },
    { name: relayName, amount: broughtElsewhere },
  ],
  memory: [
    { name: servingName, amount: ({ serving }) => serving },
    { name: 'a connection in five rooms of 100 users', amount: ({ connections }) => connections },
    { name: 'a room on one server with two of its members', amount: ({ rooms, serving }) => rooms * serving },
  ],
} as const satisfies Readonly<Record<Role, readonly Term[]>>

/** Prices of each role, in the order of the role's terms. */
export type Prices = Readonly<Record<Role, readonly number[]>>

export interface CheckedPoint {
  readonly point: CurvePoint
  readonly role: Role
  readonly measured: number
  readonly predicted: number
  readonly isLeftOut: boolean
}

export interface CostModel {
  readonly prices: Prices
  readonly checked: readonly CheckedPoint[]
}

/**
 * Smallest cost of each role that is measured reliably, in microseconds per second or kilobytes.
 * Below a hundredth of a core or some megabytes, clock resolution and garbage collection dominate.
 */
export const leastMeasured: Readonly<Record<Role, number>> = {
  server: 20_000,
  database: 10_000,
  redis: 10_000,
  memory: 20_000,
}
/** Relative spread of measurements of the same point. */
const toleranceShare = 0.05
/**
 * Minimum error to expect of a measurement of each role. The process clock counts hundredths of a
 * second, and garbage collection varies.
 */
const leastTolerance: Readonly<Record<Role, number>> = {
  server: 5_000,
  database: 5_000,
  redis: 3_000,
  memory: 30_000,
}

export function priceOf(prices: Prices, role: Role, name: string): number {
  const index = terms[role].findIndex((term) => term.name === name)
  if (index === -1) throw new Error(`unable to price ${name}; ${role} does not have this term`)
  return prices[role][index] ?? 0
}

export function predict(prices: Prices, role: Role, work: Work): number {
  return terms[role].reduce((sum, { amount }, index) => sum + amount(work) * (prices[role][index] ?? 0), 0)
}

/** Fits the cost model to the measured points. Returns undefined if there are too few points. */
export function fitModel(points: readonly CurvePoint[]): CostModel | undefined {
  const ours = points.filter(({ target }) => target === 'chorus')
  const prices: Partial<Record<Role, readonly number[]>> = {}
  const checked: CheckedPoint[] = []
  for (const role of roles) {
    const leftOut = chooseLeftOut(ours, role)
    const known = knownPrices(ours, role)
    const measured = ours.flatMap((point) => {
      const value = measuredOf(point, role)
      return value === undefined ? [] : [{ point, value, isLeftOut: leftOut.has(point) }]
    })
    const fitted = measured.filter(({ isLeftOut }) => !isLeftOut)
    if (fitted.length < terms[role].length) return undefined
    const unknown = fitNonNegative(
      fitted.map(({ point, value }) => ({
        amounts: terms[role].map(({ amount }, index) => (known[index] === undefined ? amount(point.work) : 0)),
        value: terms[role].reduce((rest, { amount }, index) => rest - amount(point.work) * (known[index] ?? 0), value),
        tolerance: Math.max(value * toleranceShare, leastTolerance[role]),
      })),
      terms[role].length,
    )
    const found = unknown.map((price, index) => known[index] ?? price)
    prices[role] = found
    for (const { point, value, isLeftOut } of measured)
      checked.push({
        point,
        role,
        measured: value,
        predicted: terms[role].reduce((sum, { amount }, index) => sum + amount(point.work) * (found[index] ?? 0), 0),
        isLeftOut,
      })
  }
  return { prices: prices as Prices, checked }
}

function measuredOf({ processorUs, figures }: CurvePoint, role: Role): number | undefined {
  switch (role) {
    case 'server':
    case 'database':
    case 'redis':
      return processorUs[role]
    case 'memory':
      return figures.restMb === undefined ? undefined : (figures.restMb - (figures.emptyMb ?? 0)) * 1_024
  }
}

/**
 * Returns the prices that were measured directly, in the order of the role's terms. A term whose
 * price must be fitted has undefined.
 */
function knownPrices(points: readonly CurvePoint[], role: Role): (number | undefined)[] {
  const figure = role === 'server' ? 'sweptServerUs' : role === 'database' ? 'sweptDatabaseUs' : undefined
  const swept = figure === undefined ? [] : points.flatMap(({ figures }) => figures[figure] ?? [])
  return terms[role].map(({ name }) => (name === sweptName && swept.length > 0 ? median(swept) : undefined))
}

/**
 * Chooses the points that are not used for the fit: the largest point of each curve, and every
 * third of the remaining points from the second on. For memory, it leaves out the second largest
 * point of each curve and keeps the largest. The memory of few users and rooms is too small to
 * measure, so a fit without the largest points would be impossible.
 */
function chooseLeftOut(points: readonly CurvePoint[], role: Role): Set<CurvePoint> {
  const fromEnd = role === 'memory' ? 2 : 1
  const curves = new Map<string, CurvePoint[]>()
  for (const point of points) {
    const name = `${point.curve} ${point.variant}`
    curves.set(name, [...(curves.get(name) ?? []), point])
  }
  const leftOut = new Set<CurvePoint>()
  for (const curve of curves.values()) {
    curve.sort((a, b) => a.x - b.x)
    const far = curve.length - fromEnd
    for (const [index, point] of curve.entries())
      if (index === far || (index % 3 === 1 && index < far)) leftOut.add(point)
  }
  return leftOut
}
