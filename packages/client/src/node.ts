/**
 * Entry point for Node only, separate from `index.ts` so that no browser bundle includes the file
 * system.
 */
export { createFileStore } from './store/store-file.ts'
