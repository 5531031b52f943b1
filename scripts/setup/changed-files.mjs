/**
 * Finds what a change can touch: the files that differ from a commit, and the stages of the test
 * run that can see them. Unit tests are found by Vitest, which follows imports. All other tests
 * start built programs, so their stages are found by folder. Unknown files run everything.
 */
import { execFileSync } from 'node:child_process'
import { root } from './steps.mjs'

const everything = ['unit', 'api', 'cluster', 'abuse', 'browser', 'chaos']

/** Stages that can see a file, by the first pattern that matches its path. */
const stagesByPath = [
  [/^packages\/(protocol|server|testkit)\//, everything],
  [/^packages\/client\//, ['unit', 'api', 'cluster', 'browser', 'chaos']],
  [/^(packages\/react|apps\/web)\//, ['unit', 'api', 'browser']],
  [/^lab\/chaos\//, ['unit', 'chaos']],
  [/^lab\/bench\//, ['unit']],
  [/^tests\/(api|cluster|abuse|browser|chaos)\//, (match) => [match[1]]],
  [/^deploy\//, ['cluster']],
  [/^README\.md$/, ['browser']],
  [/^docs\/from-the-tutorials\.md$/, ['cluster']],
  [/^scripts\/(cluster|trace|webhooks|restore)\.mjs$/, ['api', 'cluster', 'browser']],
  [/^(docs|\.github)\/|\.md$|^scripts\/(check-[\w-]+|bench|measure-[\w-]+)\.(mjs|json)$|^LICENSE|^NOTICE/, []],
]

function git(...args) {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean)
}

/** Returns the paths that differ from the commit, untracked files included. */
export function listChangedFiles(commit) {
  return [...git('diff', '--name-only', commit), ...git('ls-files', '--others', '--exclude-standard')]
}

/** Returns the names of the stages that can see one of the files, in the order of a whole run. */
export function stagesOf(files) {
  const names = new Set()
  for (const file of files) {
    const [pattern, stages] = stagesByPath.find(([path]) => path.test(file)) ?? [undefined, everything]
    for (const name of typeof stages === 'function' ? stages(pattern.exec(file)) : stages) names.add(name)
  }
  return everything.filter((name) => names.has(name))
}
