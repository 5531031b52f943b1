/**
 * The list of all mutants (Chorus with one added bug each), and a function that prepares a process
 * to run as a mutant.
 */
import { fileURLToPath } from 'node:url'
import { buildMutant } from './build-mutant.ts'
import { clientMutants } from './client-mutants.ts'
import { type Mutant, mutantVariable } from './mutant.ts'
import { serverMutants } from './server-mutants.ts'

export const mutants: readonly Mutant[] = [...serverMutants, ...clientMutants]

export function findMutant(name: string): Mutant | undefined {
  return mutants.find((mutant) => mutant.name === name)
}

/**
 * Builds the mutant in this folder. Returns the Node arguments and environment variables with which
 * a server or a workload process runs as the mutant. Works only when called from the built chaos
 * test.
 */
export function launchAs(
  mutant: Mutant,
  folder: string,
): {
  readonly nodeArguments: readonly string[]
  readonly env: Readonly<Record<string, string>>
} {
  const loader = new URL('./load-mutant.js', import.meta.url)
  return {
    nodeArguments: ['--import', loader.href],
    env: { [mutantVariable]: buildMutant(mutant, repositoryRoot, folder) },
  }
}

/** Path of the repository's root, seen both from the built file and from its source. */
export const repositoryRoot = fileURLToPath(new URL('../../../../', import.meta.url))
