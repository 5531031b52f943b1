/**
 * The load generator: a process of its own that runs one job and ends. It dies with the harness, whose pipe it holds.
 */
import type { FromGenerator, ToGenerator } from './job.ts'
import { Workload } from './workload.ts'

const tell = (message: FromGenerator): void => {
  process.send?.(message)
}

process.once('disconnect', () => process.exit(1))
process.once('message', ({ job }: ToGenerator) => {
  const workload = new Workload(job, {
    measuring: () => tell({ kind: 'measuring' }),
    measured: () => tell({ kind: 'measured' }),
  })
  workload.run().then(
    (outcome) => tell({ kind: 'done', outcome }),
    (error: unknown) => tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }),
  )
})
