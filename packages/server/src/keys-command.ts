/** Runs `npm run keys` (operator-commands/keys.ts). */
import { runOperatorCommand } from './operator-commands/run-operator-command.ts'

await runOperatorCommand('keys', process.argv.slice(2))
