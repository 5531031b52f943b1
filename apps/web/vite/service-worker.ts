/**
 * Writes `sw.js` at the end of the build: the source of the service worker, with the list of the
 * files that make up the application shell. These files are enough to show cached conversations
 * offline. Other files are cached at their first use.
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Plugin } from 'vite'

export function serviceWorker(): Plugin {
  return {
    name: 'chorus:service-worker',
    apply: 'build',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        const shell = Object.values(bundle)
          .map((file) => file.fileName)
          // Put only scripts and styles into the shell, because they are small and few. The emoji
          // data is large, so it is cached at its first use.
          .filter((name) => /^assets\/[^/]+\.(?:js|css)$/.test(name))
          .map((name) => `/${name}`)
          .concat(['/theme.js', '/favicon.svg', '/manifest.webmanifest'])
          .sort()
        const source = readFileSync(new URL('../src/service-worker.js', import.meta.url), 'utf8')
        const version = createHash('sha256').update(shell.join('\n')).update(source).digest('hex').slice(0, 12)
        const header = `const version = ${JSON.stringify(version)}\nconst shell = ${JSON.stringify(shell)}\n`
        this.emitFile({ type: 'asset', fileName: 'sw.js', source: header + source })
      },
    },
  }
}
