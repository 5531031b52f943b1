/**
 * `npm run webhooks -- <what> …`: manages the webhook endpoints in the database. With DATABASE_URL,
 * it uses that database, and servers may be running. Otherwise it uses the embedded database in
 * DATA_DIR, and the server must be stopped. First installs missing packages and builds outdated
 * parts.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/webhooks-command.js',
  args: process.argv.slice(2),
})
