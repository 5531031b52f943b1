/** Runs `npm run webhooks` (operator-commands/webhooks.ts). */
import { runOperatorCommand } from './operator-commands/run-operator-command.ts'

await runOperatorCommand('webhooks', process.argv.slice(2))
