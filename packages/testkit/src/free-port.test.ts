/**
 * Tests that `findFreePort` never returns the same port twice, even to two processes that start
 * their search at the same port.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { findFreePort } from './free-port.ts'

const built = fileURLToPath(new URL('../dist/free-port.js', import.meta.url))

describe('findFreePort', () => {
  it('`findFreePort` returns no port twice', async () => {
    const random = vi.spyOn(Math, 'random')
    onTestFinished(() => random.mockRestore())
    random.mockReturnValueOnce(0.25).mockReturnValueOnce(0.25).mockReturnValueOnce(0.75)
    const [first, second] = [await findFreePort(), await findFreePort()]
    expect(second).not.toBe(first)
  })

  it.skipIf(process.platform !== 'linux' || !existsSync(built))(
    '`findFreePort` returns no port that another process has found',
    async () => {
      const other = spawn(process.execPath, [
        '--input-type=module',
        '--eval',
        `import { findFreePort } from ${JSON.stringify(built)}
         Math.random = () => 0.5
         console.log(await findFreePort())
         process.stdin.resume()`,
      ])
      onTestFinished(() => void other.kill())
      const [taken] = (await once(other.stdout, 'data')) as [Buffer]
      const random = vi.spyOn(Math, 'random')
      onTestFinished(() => random.mockRestore())
      random.mockReturnValueOnce(0.5).mockReturnValueOnce(0.625)
      expect(await findFreePort()).not.toBe(Number(taken))
    },
  )
})
