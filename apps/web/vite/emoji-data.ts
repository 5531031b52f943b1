/**
 * Serves the data of all emoji from Chorus's own server, under an address that contains the version
 * of the data. So the emoji picker never contacts another server, and browsers may cache the files
 * permanently.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Plugin } from 'vite'

const files = ['data.json', 'messages.json'] as const

export function emojiData(): Plugin {
  const require = createRequire(import.meta.url)
  const read = (file: string): string => readFileSync(require.resolve(`emojibase-data/en/${file}`), 'utf8')
  const { version } = JSON.parse(readFileSync(require.resolve('emojibase-data/package.json'), 'utf8')) as {
    version: string
  }
  const base = `/assets/emoji-${version}`
  return {
    name: 'chorus:emoji-data',
    config: () => ({ define: { __EMOJI_BASE__: JSON.stringify(base) } }),
    configureServer(server) {
      for (const file of files) {
        server.middlewares.use(`${base}/en/${file}`, (_request, response) => {
          response.setHeader('Content-Type', 'application/json')
          response.end(read(file))
        })
      }
    },
    generateBundle() {
      for (const file of files) {
        this.emitFile({ type: 'asset', fileName: `${base.slice(1)}/en/${file}`, source: read(file) })
      }
    },
  }
}
