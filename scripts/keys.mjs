/**
 * `npm run keys -- <what> …`: manages the API keys of integrators. Installs and builds missing
 * parts. Works on the database of DATABASE_URL or on the one in DATA_DIR, whether or not servers
 * run.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/keys-command.js',
  args: process.argv.slice(2),
})
