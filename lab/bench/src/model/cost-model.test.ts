/**
 * These tests compute measured points from known prices (the costs of one message, one write and so
 * on). From the points, the cost model must find these prices, and must predict the points that it
 * did not use.
 */
import { describe, expect, it } from 'vitest'
import type { CurvePoint, Work } from '../points/point.ts'
import { fitModel, predict, sweptName, terms, writesOf } from './cost-model.ts'
import type { Prices, Role } from './cost-model.ts'
import { findBottlenecks, project } from './projection.ts'

const truth: Prices = {
  server: [5_000, 4, 80, 120, 30, 3, 5, 0.4],
  database: [2_000, 40, 60, 2],
  redis: [1_500, 0.5, 10, 8],
  memory: [30_000, 12, 2],
}

const bytes = { delivery: 400, redisMessage: 600, redisServing: 500, emptyServerMb: 100 }

function pointOf(
  curve: CurvePoint['curve'],
  x: number,
  given: Partial<Work>,
  variant: CurvePoint['variant'] = '',
): CurvePoint {
  const work: Work = {
    servers: 2,
    serving: 2,
    connections: 500,
    hearers: 500,
    subscriptions: 500,
    rooms: 1,
    messages: 100,
    deliveries: 50_000,
    changesPerWrite: 1,
    rowsPerCommit: 1,
    ...given,
  }
  return {
    curve,
    target: 'chorus',
    variant,
    x,
    round: 1,
    run: 0,
    work,
    processorUs: {
      server: predict(truth, 'server', work),
      database: predict(truth, 'database', work),
      redis: predict(truth, 'redis', work),
    },
    figures: { restMb: predict(truth, 'memory', work) / 1_024 + 100, emptyMb: 100 },
  }
}

const points = [
  ...[10, 30, 100, 300, 500, 1_000, 3_000, 10_000].map((x) =>
    pointOf('receivers', x, {
      connections: x,
      hearers: x,
      messages: Math.min(1_000, 50_000 / x),
      deliveries: Math.min(1_000 * x, 50_000),
    }),
  ),
  ...[1, 2, 4, 8, 16, 32].map((load) =>
    pointOf('load', load, {
      messages: 50 * load,
      deliveries: 25_000 * load,
      changesPerWrite: Math.sqrt(load),
      rowsPerCommit: load ** 0.3,
    }),
  ),
  ...[1, 10, 100, 1_000].map((rooms) =>
    pointOf('rooms', rooms, { rooms, connections: 800, messages: 1_000, deliveries: 4_000 }),
  ),
  ...[1, 2, 3, 4].map((servers) =>
    pointOf('servers', servers, { servers, serving: servers, messages: 1_000, deliveries: 4_000 }),
  ),
  ...[3, 4].map((servers) => pointOf('servers', servers, { servers, messages: 1_000, deliveries: 4_000 }, 'apart')),
  ...[100, 1_000, 3_000, 10_000].map((x) =>
    pointOf('connections', x, { connections: x, hearers: 0, messages: 0, deliveries: 0 }),
  ),
]

describe('the cost model', () => {
  const model = fitModel(points)

  it('the cost model finds the costs behind measurements, and predicts other measurements', () => {
    expect(model).toBeDefined()
    const leftOut = model?.checked.filter(({ isLeftOut }) => isLeftOut) ?? []
    expect(leftOut.length).toBeGreaterThan(20)
    for (const { measured, predicted } of leftOut) expect(predicted / measured).toBeCloseTo(1, 2)
    for (const role of ['server', 'database', 'redis', 'memory'] as const)
      terms[role].forEach((_, index) =>
        expect((model?.prices[role][index] ?? 0) / (truth[role][index] ?? 1)).toBeCloseTo(1, 1),
      )
  })

  it('the cost model leaves the largest points out of its fit', () => {
    const leftOutOf = (role: Role, curve: string): number[] =>
      model?.checked
        .filter((each) => each.role === role && each.point.curve === curve && each.isLeftOut)
        .map(({ point }) => point.x) ?? []
    expect(leftOutOf('server', 'receivers')).toEqual([30, 500, 10_000])
    expect(leftOutOf('server', 'load')).toEqual([2, 16, 32])
    expect(leftOutOf('redis', 'servers')).toEqual([2, 4, 4])
    expect(leftOutOf('memory', 'connections')).toEqual([1_000, 3_000])
    expect(leftOutOf('memory', 'rooms')).toEqual([10, 100])
  })

  it('the cost model takes over a directly measured price unchanged', () => {
    const withSweep = points.map((point) =>
      point.variant === 'apart' ? { ...point, figures: { ...point.figures, sweptServerUs: 9 } } : point,
    )
    const index = terms.server.findIndex(({ name }) => name === sweptName)
    expect(fitModel(withSweep)?.prices.server[index]).toBe(9)
  })

  it('the cost model is undefined for too few points', () => {
    expect(fitModel(points.slice(0, 3))).toBeUndefined()
  })

  it('the cost model counts at most one checkpoint per second and connection', () => {
    const { work } = pointOf('load', 1, {})
    expect(writesOf({ ...work, deliveries: 100, hearers: 500 })).toBe(200)
    expect(writesOf({ ...work, deliveries: 5_000, changesPerWrite: 2, hearers: 500 })).toBe(3_000)
  })

  it('the sweep cost on Postgres grows with the square of the servers', () => {
    const [small, large] = [project(truth, bytes, 10), project(truth, bytes, 1_000)]
    expect(large.work.messages / small.work.messages).toBeCloseTo(100)
    expect(large.databaseSweepCores / small.databaseSweepCores).toBeCloseTo(10_000)
    expect(large.sweepShareOfServer / small.sweepShareOfServer).toBeCloseTo(100)
    expect(large.bytesPerServerAndSecond / small.bytesPerServerAndSecond).toBeCloseTo(1)
  })

  it('bottlenecks are sorted by the number of servers at which they occur', () => {
    const walls = findBottlenecks(truth, bytes)
    expect(walls.map(({ atServers }) => atServers)).toEqual(
      walls.map(({ atServers }) => atServers).sort((a, b) => a - b),
    )
    const connections = walls.find(({ what }) => what.startsWith('connections to Postgres'))
    // Postgres accepts 1 000 connections and each server opens 12, so the 84th server exceeds the
    // limit.
    expect(connections?.atServers).toBe(84)
  })
})
