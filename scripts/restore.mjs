/**
 * `npm run restore`: run it after restoring a backup, with every server stopped. Installs and
 * builds missing parts, then gives the database a new epoch, so that every client loads again
 * instead of trusting an old cursor.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({ build: buildForStart, entry: 'packages/server/dist/restore.js' })
