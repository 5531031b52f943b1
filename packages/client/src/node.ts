/** What only Node can load: a door of its own, so that no browser bundle ever sees the file system. */
export { createFileStore } from './store-file.ts'
