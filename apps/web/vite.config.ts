/**
 * Builds the application into the server package, which serves it. Hashed files under `assets/` may
 * be cached permanently; the few files at the root may not. `scripts/check-size.mjs` reads the
 * manifest and keeps the first load within its budget.
 */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import { emojiData } from './vite/emoji-data.ts'
import { precompress } from './vite/precompress.ts'
import { serviceWorker } from './vite/service-worker.ts'

const server = process.env['CHORUS_SERVER'] ?? 'http://127.0.0.1:3000'

export default defineConfig({
  plugins: [react(), emojiData(), serviceWorker(), precompress()],
  // Use the sources of the packages, so that the application can be built before or without `tsc
  // -b`.
  resolve: { conditions: ['source', 'module', 'browser', 'development|production'] },
  build: {
    outDir: '../../packages/server/dist/web',
    // The folder is outside of this one, where Vite empties nothing on its own.
    emptyOutDir: true,
    manifest: true,
    target: 'es2022',
    // Keep `light-dark()`: its lowered form cannot change below the root.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    reportCompressedSize: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  // Set the origin to the server's own, because its origin check would refuse the development
  // server's.
  server: {
    proxy: {
      '/v1': { target: server, changeOrigin: true, headers: { origin: server } },
      '/socket.io': { target: server, changeOrigin: true, headers: { origin: server }, ws: true },
    },
  },
})
