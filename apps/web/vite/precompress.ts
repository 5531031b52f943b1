/**
 * Writes a `.br` and a `.gz` copy of every file that is worth compressing. So the server never
 * compresses a file itself, and the build can use the best compression level.
 */
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import type { Plugin } from 'vite'

const worthBytes = 1_024

export function precompress(): Plugin {
  return {
    name: 'chorus:precompress',
    apply: 'build',
    generateBundle: {
      order: 'post',
      handler(_options, bundle) {
        for (const file of Object.values(bundle)) {
          if (!/\.(?:js|css|json|svg)$/.test(file.fileName) || file.fileName.startsWith('.vite/')) continue
          const source = Buffer.from(file.type === 'chunk' ? file.code : file.source)
          if (source.length < worthBytes) continue
          const params = {
            [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
            [constants.BROTLI_PARAM_SIZE_HINT]: source.length,
          }
          this.emitFile({
            type: 'asset',
            fileName: `${file.fileName}.br`,
            source: brotliCompressSync(source, { params }),
          })
          this.emitFile({ type: 'asset', fileName: `${file.fileName}.gz`, source: gzipSync(source, { level: 9 }) })
        }
      },
    },
  }
}
