/** Tests the build step that fetches scripts before the browser imports them. */
import { describe, expect, it } from 'vitest'
import { build } from 'vite'
import { fetchBeforeImport } from './fetch-before-import.ts'

const sources: Readonly<Record<string, string>> = {
  'entry.js':
    'import "./shared.js"; globalThis.open = () => import("./dialog.js"); globalThis.find = () => import("./other.js")',
  'dialog.js': 'import { field } from "./field.js"; import "./shared.js"; export const dialog = field + "dialog"',
  'other.js': 'import { field } from "./field.js"; export const other = field + "other"',
  'field.js': 'globalThis.fields = 1; export const field = `field${globalThis.fields}`',
  'shared.js': 'globalThis.shared = 1',
}

async function buildSources(): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'sources',
        resolveId: (id) => (id.replace('./', '') in sources ? `\0${id.replace('./', '')}` : null),
        load: (id) => sources[id.slice(1)] ?? null,
      },
      fetchBeforeImport(),
    ],
    build: {
      write: false,
      modulePreload: { polyfill: false, resolveDependencies: () => [] },
      rolldownOptions: { input: 'entry.js', output: { entryFileNames: 'entry.js', chunkFileNames: '[name].js' } },
    },
  })
  const [output] = [result].flat()
  if (output === undefined || !('output' in output)) throw new Error('the build has no output')
  const entry = output.output.find(({ fileName }) => fileName === 'entry.js')
  return entry?.type === 'chunk' ? entry.code : ''
}

describe('the build', () => {
  it('[APP3] fetches each script of a dynamic import and its own imports first', async () => {
    const code = await buildSources()
    expect(code).not.toMatch(/\bimport\([`"']/)
    expect(code).toContain('__importFetched(import.meta.url, ["./_dialog.js","./_field.js"])')
    expect(code).toContain('__importFetched(import.meta.url, ["./_other.js","./_field.js"])')
  })
})
