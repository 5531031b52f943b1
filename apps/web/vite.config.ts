/**
 * Builds the web application into the server package, which serves it. Files under `assets/` have a
 * hash in their names, so browsers may cache them permanently. The few files at the root must not
 * be cached. `scripts/check-size.mjs` reads the manifest of the build and checks the size of the
 * first page load.
 */
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'
import { emojiData } from './vite/emoji-data.ts'
import { fetchBeforeImport } from './vite/fetch-before-import.ts'
import { precompress } from './vite/precompress.ts'
import { serviceWorker } from './vite/service-worker.ts'

const server = process.env['CHORUS_SERVER'] ?? 'http://127.0.0.1:3000'

export default defineConfig({
  plugins: [react(), emojiData(), fetchBeforeImport(), serviceWorker(), precompress()],
  // Import the TypeScript sources of the packages, so that the application can be built before `tsc
  // -b` has run, or without it.
  resolve: { conditions: ['source', 'module', 'browser', 'development|production'] },
  build: {
    outDir: '../../packages/server/dist/web',
    // Empty the output folder before a build. Vite does not do so by itself, because the folder is
    // outside of this project.
    emptyOutDir: true,
    manifest: true,
    target: 'es2022',
    // Name browsers that support the CSS function `light-dark()`, so that Vite does not replace it.
    // Its replacement cannot switch the theme below the root element.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    reportCompressedSize: false,
    // `fetchBeforeImport` loads the scripts of dynamic imports, and their styles are loaded at the
    // start: browsers and Vite remember a script or a style whose preload failed.
    modulePreload: {
      polyfill: false,
      resolveDependencies: (_file, files, { hostType }) => (hostType === 'js' ? [] : files),
    },
    cssCodeSplit: false,
    assetsInlineLimit: 0,
  },
  // Replace the `Origin` of forwarded requests by that of the chat server, because the origin check
  // of the chat server would refuse that of the development server.
  server: {
    proxy: {
      '/v1': { target: server, changeOrigin: true, headers: { origin: server } },
      '/socket.io': { target: server, changeOrigin: true, headers: { origin: server }, ws: true },
    },
  },
})
