/**
 * `npm run webhooks -- <what> …`: manages webhook endpoints. Installs and builds missing parts.
 * Then works on the database of DATABASE_URL, whether or not servers run, or on the one in
 * DATA_DIR, with the server stopped.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/webhooks-command.js',
  args: process.argv.slice(2),
})
