/**
 * Makes every dynamic import of the build fetch its scripts before the browser imports them.
 * Browsers remember a script whose import failed, some of them until the page is reloaded, so a part
 * of the application that was opened without a network would never load. A failed fetch leaves no
 * trace, and a successful one fills the HTTP cache, from which the import then reads.
 */
import type { Plugin } from 'vite'

const dynamicImport = /\bimport\(([`"'])\.\/([\w.-]+\.js)\1\)/g
/** Name of the function that the build adds to chunks with dynamic imports. */
const importFetched = '__importFetched'

const definition = `async function ${importFetched}(base, names) {
  const urls = names.map((name) => new URL(name, base).href);
  await Promise.all(urls.map(async (url) => {
    const response = await fetch(url);
    if (!response.ok) throw new TypeError("unable to load " + url);
    await response.arrayBuffer();
  }));
  return import(urls[0]);
}
`

export function fetchBeforeImport(): Plugin {
  return {
    name: 'chorus:fetch-before-import',
    apply: 'build',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        const importsOf = (fileName: string): readonly string[] => {
          const chunk = bundle[fileName]
          return chunk?.type === 'chunk' ? chunk.imports : []
        }
        const loadedAtStart = new Set(
          Object.values(bundle).flatMap((file) =>
            file.type === 'chunk' && file.isEntry ? collectImports([file.fileName], importsOf) : [],
          ),
        )
        for (const chunk of Object.values(bundle)) {
          if (chunk.type !== 'chunk') continue
          const folder = chunk.fileName.slice(0, chunk.fileName.lastIndexOf('/') + 1)
          const code = chunk.code.replace(dynamicImport, (_import, _quote, name: string) => {
            const missing = collectImports([`${folder}${name}`], importsOf).filter((file) => !loadedAtStart.has(file))
            const names = missing.map((file) => `./${file.slice(folder.length)}`)
            return `${importFetched}(import.meta.url, ${JSON.stringify(names)})`
          })
          if (code !== chunk.code) chunk.code = definition + code
        }
      },
    },
  }
}

/** Returns the files and everything that they import statically, the files first. */
function collectImports(files: readonly string[], importsOf: (file: string) => readonly string[]): string[] {
  const found = new Set(files)
  for (const file of found) for (const imported of importsOf(file)) found.add(imported)
  return [...found]
}
