/**
 * Checks the code that a browser loads for this package: no schema library, no Node modules, and a
 * small size.
 */
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { rolldown } from 'rolldown'
import { describe, expect, it } from 'vitest'

/**
 * Maximum size of this package's own code in bytes, minified and compressed, without parts loaded
 * on demand.
 */
const ownMaxBytes = 26_000

async function bundle(external: string[]) {
  const built = await rolldown({
    input: fileURLToPath(new URL('./index.ts', import.meta.url)),
    external,
    platform: 'browser',
    resolve: { conditionNames: ['source', 'browser', 'import', 'default'] },
    logLevel: 'silent',
  })
  const { output } = await built.generate({ format: 'esm', minify: true })
  await built.close()
  return output.flatMap((chunk) => (chunk.type === 'chunk' ? [chunk] : []))
}

describe('the browser bundle of the client', () => {
  it('the browser bundle of the client stays small', async () => {
    const [entry] = await bundle(['socket.io-client', 'eventsource-parser', 'idb'])
    expect(gzipSync(entry?.code ?? '').length).toBeLessThan(ownMaxBytes)
  })

  it('the browser bundle has no zod or Node modules and loads Socket.IO on demand', async () => {
    const chunks = await bundle([])
    const modules = (of: typeof chunks) => of.flatMap(({ moduleIds }) => moduleIds)
    expect(modules(chunks).filter((id) => /node_modules\/zod|store-file|node:/.test(id))).toEqual([])
    const entries = chunks.filter(({ isEntry }) => isEntry)
    expect(modules(entries).filter((id) => /socket\.io|engine\.io|eventsource-parser/.test(id))).toEqual([])
    expect(modules(chunks).some((id) => id.includes('socket.io-client'))).toBe(true)
  })
})
