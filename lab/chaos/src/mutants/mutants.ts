/** The list of all mutants, and how to start a process as one of them. */
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
 * Builds the mutant in this folder. Returns Node arguments and environment that make a server or a
 * driver run as the mutant. Works only from the built lab.
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

/** Root of the repository, from the built lab or from its source. */
export const repositoryRoot = fileURLToPath(new URL('../../../../', import.meta.url))
