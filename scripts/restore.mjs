/**
 * `npm run restore`: to be run after a backup was put back, with every server stopped. Installs and builds what is
 * missing, then gives the database a new epoch, so that every client loads again instead of trusting an old cursor.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({ build: buildForStart, entry: 'packages/server/dist/restore.js' })
