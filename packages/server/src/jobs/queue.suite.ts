/** Contract test suite for job queues. The test file of each implementation runs it. */
import { afterEach, describe, expect, it } from 'vitest'
import type { Job, JobQueue, JobWork } from './queue.ts'

export function describeQueue(name: string, open: (work: JobWork) => Promise<JobQueue>): void {
  describe(`the ${name} queue`, () => {
    let queue: JobQueue | undefined
    afterEach(() => queue?.close())

    it('the queue runs every added job and passes its kind and key', async () => {
      const worked: Job[] = []
      queue = await open(async (job) => void worked.push(job))
      queue.add([
        { kind: 'webhook', key: 'a' },
        { kind: 'mail', key: 'a' },
      ])
      queue.add(Array.from({ length: 100 }, (_, n) => ({ kind: 'digest' as const, key: String(n) })))
      await expect
        .poll(() => new Set(worked.map(({ kind, key }) => `${kind} ${key}`)).size, { timeout: 10_000 })
        .toBe(102)
    })

    it('the queue runs several jobs at a time, within its limit', async () => {
      let running = 0
      let most = 0
      let worked = 0
      queue = await open(async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 20))
        running--
        worked++
      })
      queue.add(Array.from({ length: 100 }, (_, n) => ({ kind: 'webhook' as const, key: String(n) })))
      await expect.poll(() => worked, { timeout: 10_000 }).toBe(100)
      expect(most).toBeGreaterThan(1)
      expect(most).toBeLessThanOrEqual(32)
    })

    it('the queue runs a delayed job only after its delay', async () => {
      const at: Record<string, number> = {}
      queue = await open(async ({ key }) => void (at[key] = performance.now()))
      const addedAt = performance.now()
      queue.add([
        { kind: 'webhook', key: 'later', delayMs: 600 },
        { kind: 'webhook', key: 'now' },
      ])
      await expect.poll(() => at.later, { timeout: 10_000 }).toBeDefined()
      expect(at.now).toBeLessThan(at.later!)
      expect(at.later! - addedAt).toBeGreaterThan(550)
    })

    it('the queue keeps running jobs after one job fails', async () => {
      const worked: string[] = []
      queue = await open(async ({ key }) => {
        worked.push(key)
        if (key === 'bad') throw new Error('nobody listens')
      })
      queue.add([{ kind: 'webhook', key: 'bad' }])
      queue.add([{ kind: 'webhook', key: 'good' }])
      await expect.poll(() => worked, { timeout: 10_000 }).toContain('good')
    })

    it('closing the queue waits for running jobs and takes no more jobs', async () => {
      const ended: string[] = []
      let begun = 0
      queue = await open(async ({ key }) => {
        begun++
        await new Promise((resolve) => setTimeout(resolve, 200))
        ended.push(key)
      })
      queue.add([{ kind: 'webhook', key: 'under way' }])
      await expect.poll(() => begun, { timeout: 10_000 }).toBe(1)
      await queue.close()
      expect(ended).toEqual(['under way'])
      queue.add([{ kind: 'webhook', key: 'too late' }])
      expect(begun).toBe(1)
    })
  })
}
