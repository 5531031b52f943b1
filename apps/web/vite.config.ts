/**
 * Builds the application to `dist/`: hashed files under `assets/`, which may be cached for ever, and a handful of files at
 * the root that may not. The manifest feeds `scripts/check-size.mjs`, which holds the first load under its budget.
 */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import { emojiData } from './vite/emoji-data.ts'
import { precompress } from './vite/precompress.ts'
import { serviceWorker } from './vite/service-worker.ts'

const server = process.env['CHORUS_SERVER'] ?? 'http://127.0.0.1:3000'

export default defineConfig({
  plugins: [react(), emojiData(), serviceWorker(), precompress()],
  // The packages' own sources, so that the application can be built before or without `tsc -b`.
  resolve: { conditions: ['source', 'module', 'browser', 'development|production'] },
  build: {
    manifest: true,
    target: 'es2022',
    // `light-dark()` must stay: what it is lowered to cannot change below the root.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    reportCompressedSize: false,
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  // As if the page came from that server: its origin check would refuse ours.
  server: {
    proxy: {
      '/v1': { target: server, changeOrigin: true, headers: { origin: server } },
      '/socket.io': { target: server, changeOrigin: true, headers: { origin: server }, ws: true },
    },
  },
})
