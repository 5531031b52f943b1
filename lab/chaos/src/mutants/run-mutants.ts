/**
 * Tests the checker itself: runs each mutant (Chorus with one added bug) briefly, and checks
 * whether the checker reports a rule that the bug breaks. A mutant that exceeds its time limit or
 * fails to start does not count as caught, unless its history shows a broken rule.
 */
import type { RuleId } from '../checker/index.ts'
import type { RunReport } from '../report/index.ts'
import type { Mutant } from './mutant.ts'

export interface MutantVerdict {
  readonly mutant: string
  readonly isCaught: boolean
  /** All rules that the checker reported as broken. */
  readonly broken: readonly RuleId[]
  readonly expected: readonly RuleId[]
  readonly seconds: number
  /** Error text, if the run failed and there is no report. */
  readonly problem?: string
}

/** Function that runs one mutant and returns its report. */
export type RunMutant = (mutant: Mutant) => Promise<RunReport>

export async function runMutants(
  mutants: readonly Mutant[],
  run: RunMutant,
  say: (line: string) => void,
): Promise<readonly MutantVerdict[]> {
  const verdicts: MutantVerdict[] = []
  for (const mutant of mutants) {
    say(`mutant ${mutant.name}: ${mutant.about}`)
    const verdict = await judge(mutant, run)
    verdicts.push(verdict)
    say(describeVerdict(verdict))
  }
  const caught = verdicts.filter(({ isCaught }) => isCaught).length
  say(`${caught} of ${verdicts.length} mutants caught`)
  return verdicts
}

async function judge(mutant: Mutant, run: RunMutant): Promise<MutantVerdict> {
  const { name, breaks } = mutant
  const startedAtMs = performance.now()
  const took = () => Math.round((performance.now() - startedAtMs) / 1_000)
  try {
    const { result } = await run(mutant)
    const broken = result.rules.filter(({ verdict }) => verdict === 'broken').map(({ id }) => id)
    const isCaught = broken.some((id) => breaks.includes(id))
    return { mutant: name, isCaught, broken, expected: breaks, seconds: took() }
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error)
    return { mutant: name, isCaught: false, broken: [], expected: breaks, seconds: took(), problem }
  }
}

function describeVerdict({ mutant, isCaught, broken, expected, seconds, problem }: MutantVerdict): string {
  const found = broken.length === 0 ? 'nothing broken' : `broken: ${broken.join(', ')}`
  const why = isCaught ? '' : `; expected one of ${expected.join(', ')}${problem === undefined ? '' : `; ${problem}`}`
  return `${isCaught ? 'caught' : 'MISSED'} ${mutant} in ${seconds} s; ${found}${why}`
}
