/**
 * Checks that every mutant (Chorus with one added bug) fits the current source: each edit matches
 * exactly one place, and the result is valid code that uses only existing names.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rules } from '../checker/rules/rules.ts'
import { applyMutant, readSources, type Sources } from './apply-mutant.ts'
import { buildMutant, type MutantFiles } from './build-mutant.ts'
import { mutantVariable } from './mutant.ts'
import { findMutant, mutants, repositoryRoot } from './mutants.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'chorus-mutant-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const known = new Map<string, Sources>()
const sourcesOf = (name: 'server' | 'client'): Sources => {
  const sources = known.get(name) ?? readSources(repositoryRoot, name)
  known.set(name, sources)
  return sources
}

/**
 * Returns the names that this code uses but does not declare or import. Reads no other file, so it
 * checks variables and private fields, but not the members of imported types.
 */
function findUnknownNames(path: string, text: string): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.ESNext)
  const program = ts.createProgram({
    rootNames: [path],
    options: { noLib: true, noResolve: true, target: ts.ScriptTarget.ESNext, types: [] },
    host: {
      ...ts.createCompilerHost({}),
      fileExists: (name) => name === path,
      getSourceFile: (name) => (name === path ? file : undefined),
    },
  })
  return program.getSemanticDiagnostics(file).flatMap(({ messageText }) => {
    const message = ts.flattenDiagnosticMessageText(messageText, ' ')
    const [, name] =
      /(?:Cannot find name|No value exists in scope for the shorthand property|Property) '(#?\w+)'/.exec(message) ?? []
    const isPublic = message.startsWith('Property') && name?.startsWith('#') !== true
    return name === undefined || isPublic || name in globalThis ? [] : [name]
  })
}

const unknownNames = new Map<string, string[]>()
/**
 * Returns the names that the source without a mutant uses but does not declare, such as types of
 * Node.
 */
function usualUnknownNames(path: string, sources: Sources): string[] {
  const names = unknownNames.get(path) ?? findUnknownNames(path, sources.get(path) ?? '')
  unknownNames.set(path, names)
  return names
}

describe('the mutants', () => {
  it('there are at least twenty mutants with unique names', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(20)
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length)
    for (const { name } of mutants) expect(findMutant(name)?.name).toBe(name)
  })

  it('the mutants break nearly every rule of the checker', () => {
    const broken = new Set(mutants.flatMap(({ breaks }) => breaks))
    // No mutant breaks A10, because the log's order comes from a Postgres lock. None breaks A15,
    // which needs users who are away longer than a short run lasts. None breaks A16, which needs
    // the scenario `slow`.
    const missing = rules.map(({ id }) => id).filter((id) => !broken.has(id))
    expect(missing).toEqual(['A10', 'A15', 'A16'])
  })

  for (const mutant of mutants) {
    it(`the mutant ${mutant.name} fits the current source`, () => {
      expect(mutant.breaks.length).toBeGreaterThan(0)
      const sources = sourcesOf(mutant.package)
      const changed = applyMutant(mutant, sources)
      for (const [path, text] of changed)
        if (path.endsWith('.ts')) expect(findUnknownNames(path, text)).toEqual(usualUnknownNames(path, sources))

      const list = buildMutant(mutant, repositoryRoot, join(folder, mutant.name), sources)
      const files = JSON.parse(readFileSync(list, 'utf8')) as MutantFiles
      expect(changed.size).toBeGreaterThan(0)
      expect(Object.keys(files)).toHaveLength(changed.size)
      for (const path of Object.values(files)) expect(existsSync(path)).toBe(true)
    })
  }

  it('the check for undeclared names finds variables and private fields', () => {
    const text = 'import { a } from "./a.ts"; class X { #b = a; f() { return [this.#b, this.#c, d, Math.max(1, 2)] } }'
    expect(findUnknownNames('x.ts', text)).toEqual(['#c', 'd'])
  })

  it('a mutant with invalid code cannot be built', () => {
    const mutant = mutants.find(({ edits }) => edits[0]?.kind === 'start')
    if (mutant === undefined) throw new Error('no mutant adds statements')
    const edits = mutant.edits.map((edit) => (edit.kind === 'start' ? { ...edit, add: 'if (' } : edit))
    const build = () => buildMutant({ ...mutant, edits }, repositoryRoot, join(folder, 'invalid'))
    expect(build).toThrow(/would not be valid/)
  })
})

const loader = join(repositoryRoot, 'lab/chaos/dist/mutants/load-mutant.js')

// `npm test` always builds before the tests. If the unit tests run alone, the build may be missing.
describe.skipIf(!existsSync(loader))('the mutant loader', () => {
  const run = (name: string, code: string) => {
    const mutant = findMutant(name)
    const list = mutant === undefined ? name : buildMutant(mutant, repositoryRoot, join(folder, 'loaded'))
    const file = join(folder, 'probe.mjs')
    writeFileSync(file, code)
    return execFileSync(process.execPath, ['--import', loader, file], {
      env: { ...process.env, [mutantVariable]: list, NODE_OPTIONS: '' },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }
  const dist = (path: string) => JSON.stringify(join(repositoryRoot, 'packages', path))

  it('the mutant loader changes nothing by default and rejects an unknown mutant', () => {
    const probe = `import { outboundLimits } from ${dist('server/dist/delivery/outbound.js')}; console.log(outboundLimits.stalledMaxMs)`
    expect(run('', probe).trim()).toBe('10000')
    expect(() => run('no-such-list', probe)).toThrow(/ENOENT/)
  })

  it('the mutant loader loads the mutant’s modules', () => {
    const probe = `import { Outbox } from ${dist('client/dist/conversation/outbox.js')}; console.log(Outbox.toString().includes('.reverse()'))`
    expect(run('outbox-sends-newest-first', probe).trim()).toBe('true')
    expect(run('', probe).trim()).toBe('false')
  })

  it('the mutant loader loads the mutant’s SQL', () => {
    const sql = dist('server/src/database/migrations/001-initial.sql')
    const probe = `import { readFileSync } from 'node:fs'; console.log(/create unique index changes_client_id/.test(readFileSync(${sql}, 'utf8')))`
    expect(run('', probe).trim()).toBe('true')
    expect(run('no-deduplication', probe).trim()).toBe('false')
  })
})
