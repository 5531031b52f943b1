/**
 * `npm run restore`: must run after a backup was restored, while every server is stopped. Gives the
 * database a new epoch (an id of its history), so that every client loads all data again instead of
 * trusting an old cursor. First installs missing packages and builds outdated parts.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({ build: buildForStart, entry: 'packages/server/dist/restore.js' })
