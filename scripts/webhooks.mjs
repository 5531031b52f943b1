/**
 * `npm run webhooks -- <what> …`: endpoints that are told what happens in the chat. Installs and builds what is missing,
 * then works on the database of DATABASE_URL, with or without servers, or on the one in DATA_DIR, with the server stopped.
 */
import { buildForStart, runBuilt } from './setup/steps.mjs'

await runBuilt({
  build: buildForStart,
  entry: 'packages/server/dist/webhooks-command.js',
  args: process.argv.slice(2),
})
