/**
 * Where the tests are and how they run. Each project is one stage of `npm test`:
 * - `unit`: beside the source; needs nothing but what `npm ci` installs. A suite that also runs on Postgres looks at
 *   `TEST_POSTGRES_URL` (a superuser's; every suite makes a database of its own there).
 * - `api`, `cluster`, `abuse`, `browser`, `chaos`: real processes, started by packages/testkit from the built server.
 * Packages of ours are resolved through the `source` condition, so no test runs against a stale
 * build of a library.
 */
import { defineConfig } from 'vitest/config'

// Vitest hands these to Node too: `import` here would make even a CommonJS require pick the ES
// module.
const conditions = ['source']

const resolveFromSource = {
  resolve: { conditions },
  ssr: { resolve: { conditions } },
}

export default defineConfig({
  test: {
    maxWorkers: 2,
    teardownTimeout: 20_000,
    projects: [
      {
        ...resolveFromSource,
        test: {
          name: 'unit',
          include: [
            'packages/*/src/**/*.test.{ts,tsx}',
            'apps/*/{src,vite}/**/*.test.{ts,tsx}',
            'lab/*/src/**/*.test.ts',
          ],
          globalSetup: ['packages/server/src/database/testing/embedded-template.ts'],
          pool: 'forks',
          maxWorkers: 3,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        ...resolveFromSource,
        test: {
          name: 'api',
          maxWorkers: 3,
          include: ['tests/api/**/*.test.ts'],
          pool: 'forks',
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        ...resolveFromSource,
        test: {
          name: 'cluster',
          include: ['tests/cluster/**/*.test.ts'],
          pool: 'forks',
          // Much of it is waiting for leases and time-outs: two files at a time keep two cores
          // busy, and no more.
          maxWorkers: 2,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        ...resolveFromSource,
        test: {
          name: 'chaos',
          include: ['tests/chaos/**/*.test.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 600_000,
        },
      },
      {
        ...resolveFromSource,
        test: {
          name: 'abuse',
          include: ['tests/abuse/**/*.test.ts'],
          pool: 'forks',
          // An attack is judged by what others notice: nothing else may run beside it.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        ...resolveFromSource,
        test: {
          name: 'browser',
          include: ['tests/browser/**/*.test.ts'],
          pool: 'forks',
          // Much of it is waiting for animations and time-outs: two files at a time keep two cores
          // busy.
          maxWorkers: 2,
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
})
