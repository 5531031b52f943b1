/**
 * `npm run webhooks -- <what> …`: manages the webhook endpoints in the database of DATABASE_URL, or in
 * the embedded database of DATA_DIR. Servers may be running. First installs missing packages and builds
 * outdated parts.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/webhooks-command.js',
  args: process.argv.slice(2),
})
