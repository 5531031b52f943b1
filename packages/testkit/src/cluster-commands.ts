/**
 * Commands that a user types into a running `npm run cluster`: `add`, `kill N`, `start N`. For a
 * wrong command, the result is one error line that names the expected commands.
 */

export type ClusterCommand =
  | { readonly kind: 'add' }
  | { readonly kind: 'kill' | 'start'; readonly server: number }
  | { readonly kind: 'nothing' }

export const clusterCommandsHint = 'commands: add (one more server), kill N, start N (a killed server); Ctrl-C ends all'

/**
 * Returns the command in a line of input. For a wrong command, returns the error line as a string.
 */
export function readClusterCommand(line: string): ClusterCommand | string {
  const words = line.trim().split(/\s+/)
  const [name = '', number] = words
  if (name === '') return { kind: 'nothing' }
  if (name === 'add' && words.length === 1) return { kind: 'add' }
  if ((name === 'kill' || name === 'start') && words.length === 2 && /^\d{1,2}$/.test(number ?? ''))
    return { kind: name, server: Number(number) }
  return `unable to run ${JSON.stringify(line.slice(0, 60))}; ${clusterCommandsHint}`
}
