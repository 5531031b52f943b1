import { describe, expect, it } from 'vitest'
import type { Environment } from '../machine/environment.ts'
import { emptyCurves, mergeRounds, replacePoints } from './point.ts'
import type { CurvePoint } from './point.ts'

const environment = (commit: string): Environment => ({
  commit,
  changedFiles: 0,
  at: '2026-01-01T00:00:00.000Z',
  machine: { cpu: 'a processor', cores: 2, memoryGb: 24, system: 'Linux', loadBefore: 0 },
  versions: {},
})

const point = (x: number, round: number, server: number, invalid?: string): CurvePoint => ({
  curve: 'receivers',
  target: 'chorus',
  variant: '',
  x,
  round,
  run: 0,
  invalid,
  work: {
    servers: 2,
    serving: 2,
    connections: x,
    hearers: x,
    subscriptions: x,
    rooms: 1,
    messages: 100,
    deliveries: 100 * x,
    changesPerWrite: 1,
    rowsPerCommit: 1,
  },
  processorUs: { server, database: 5, redis: 1 },
  figures: { deliveryP99Ms: server / 10 },
})

describe('the points of the curves', () => {
  it('a new measurement replaces only the old one of the same point', () => {
    const first = replacePoints(emptyCurves, {
      environment: environment('aaa'),
      points: [point(10, 1, 100), point(30, 1, 300)],
      deliveryBytes: 400,
    })
    const second = replacePoints(first, {
      environment: environment('bbb'),
      points: [point(10, 1, 90)],
      deliveryBytes: 0,
    })
    expect(second.runs.map(({ commit }) => commit)).toEqual(['aaa', 'bbb'])
    expect(second.points.map(({ x, run, processorUs }) => [x, run, processorUs.server])).toEqual([
      [10, 1, 90],
      [30, 0, 300],
    ])
    expect(second.deliveryBytes).toBe(400)

    const third = replacePoints(second, {
      environment: environment('ccc'),
      points: [point(30, 1, 280)],
      deliveryBytes: 0,
    })
    expect(third.runs.map(({ commit }) => commit)).toEqual(['bbb', 'ccc'])
    expect(third.points.map(({ x, run }) => [x, run])).toEqual([
      [10, 0],
      [30, 1],
    ])
  })

  it('the valid rounds of one measured point are merged to medians', () => {
    const merged = mergeRounds([
      point(10, 1, 100),
      point(10, 2, 120),
      point(10, 3, 999, '1 lost'),
      point(10, 4, 110),
      point(30, 1, 5),
    ])
    expect(merged.map(({ x, processorUs, figures }) => [x, processorUs.server, figures.deliveryP99Ms])).toEqual([
      [10, 110, 11],
      [30, 5, 0.5],
    ])
  })
})
