/**
 * The load generator: a separate process that runs one measurement job and exits. It also exits
 * when the benchmark, its parent process, is gone.
 */
import type { Finished, FromGenerator, ToGenerator } from './job.ts'
import { Storm } from './storm.ts'
import { Workload } from './workload.ts'
import type { WorkloadEvents } from './workload.ts'

const tell = (message: FromGenerator): void => {
  process.send?.(message)
}

process.once('disconnect', () => process.exit(1))
process.once('message', (order: ToGenerator) => {
  const events: WorkloadEvents = {
    measuring: () => tell({ kind: 'measuring' }),
    measured: () => tell({ kind: 'measured' }),
  }
  begin(order, events).then(tell, (error: unknown) =>
    tell({ kind: 'failed', message: error instanceof Error ? error.message : String(error) }),
  )
})

async function begin(order: ToGenerator, events: WorkloadEvents): Promise<Finished> {
  switch (order.kind) {
    case 'job':
      return { kind: 'done', outcome: await new Workload(order.job, events).run() }
    case 'storm':
      return { kind: 'stormed', outcome: await new Storm(order.storm, events).run() }
  }
}
