/**
 * Finds the test stages that a change can affect: takes the files that differ from a commit, and
 * returns the stages that run code of these files. Vitest selects unit tests itself, because it can
 * follow their imports. All other tests start built programs, so their stages are selected by
 * folder. A file that matches no pattern selects all stages.
 */
import { execFileSync } from 'node:child_process'
import { root } from './steps.mjs'

const everything = ['unit', 'api', 'cluster', 'abuse', 'browser', 'chaos']

/**
 * Test stages that a file can affect. The first pattern that matches the path of the file counts.
 */
const stagesByPath = [
  [/^packages\/(protocol|server|testkit)\//, everything],
  [/^packages\/client\//, ['unit', 'api', 'cluster', 'browser', 'chaos']],
  [/^packages\/backend\//, ['unit', 'api']],
  [/^(packages\/react|apps\/web)\//, ['unit', 'api', 'browser']],
  [/^lab\/chaos\//, ['unit', 'chaos']],
  [/^lab\/bench\//, ['unit']],
  [/^tests\/(api|cluster|abuse|browser|chaos)\//, (match) => [match[1]]],
  [/^deploy\//, ['cluster']],
  [/^README\.md$/, ['browser']],
  [/^docs\/from-the-tutorials\.md$/, ['cluster']],
  [/^scripts\/(cluster|trace|keys|webhooks|restore)\.mjs$/, ['api', 'cluster', 'browser']],
  [/^(docs|\.github)\/|\.md$|^scripts\/(check-[\w-]+|bench|measure-[\w-]+)\.(mjs|json)$|^LICENSE|^NOTICE/, []],
]

function git(...args) {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean)
}

/** Returns the paths of the files that differ from the commit, including untracked files. */
export function listChangedFiles(commit) {
  return [...git('diff', '--name-only', commit), ...git('ls-files', '--others', '--exclude-standard')]
}

/**
 * Returns the names of the test stages that one of the files can affect, in the order of a whole
 * run.
 */
export function stagesOf(files) {
  const names = new Set()
  for (const file of files) {
    const [pattern, stages] = stagesByPath.find(([path]) => path.test(file)) ?? [undefined, everything]
    for (const name of typeof stages === 'function' ? stages(pattern.exec(file)) : stages) names.add(name)
  }
  return everything.filter((name) => names.has(name))
}
