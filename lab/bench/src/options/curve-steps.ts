/**
 * The curves that the benchmark measures, and the x values of their points. run-curves.ts defines
 * how each point is measured.
 */
export const curveNames = ['receivers', 'load', 'rooms', 'servers', 'connections'] as const
export type CurveName = (typeof curveNames)[number]

export const curveSteps: Readonly<Record<CurveName, readonly number[]>> = {
  receivers: [10, 30, 100, 300, 500, 1_000, 3_000, 10_000, 20_000],
  /** Numbers of deliveries per second. */
  load: [25_000, 50_000, 100_000, 200_000, 400_000, 800_000],
  rooms: [1, 10, 100, 1_000, 10_000, 50_000],
  servers: [1, 2, 3, 4],
  connections: [100, 1_000, 3_000, 10_000],
}
