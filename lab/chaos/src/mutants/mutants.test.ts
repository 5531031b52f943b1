/**
 * Checks that every mutant fits the present source: each edit has exactly one target, and the result
 * is valid code that names only what exists.
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
 * Returns the names that this code uses and does not declare or import. Reads no other file, so it
 * sees variables and private fields, but not the members of imported types.
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
/** Returns the unknown names of the source without a mutant, such as types of Node. */
function usualUnknownNames(path: string, sources: Sources): string[] {
  const names = unknownNames.get(path) ?? findUnknownNames(path, sources.get(path) ?? '')
  unknownNames.set(path, names)
  return names
}

describe('the mutants', () => {
  it('has at least twenty mutants with unique names', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(20)
    expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length)
    for (const { name } of mutants) expect(findMutant(name)?.name).toBe(name)
  })

  it('covers nearly every rule', () => {
    const broken = new Set(mutants.flatMap(({ breaks }) => breaks))
    // A10 is missing: the log's order comes from a Postgres lock. A15 is missing: it needs users
    // who are away longer than a short run lasts. A16 is missing: it needs the scenario `slow`.
    const missing = rules.map(({ id }) => id).filter((id) => !broken.has(id))
    expect(missing).toEqual(['A10', 'A15', 'A16'])
  })

  for (const mutant of mutants) {
    it(`${mutant.name} fits the code as it is`, () => {
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

  it('notices a name that is not declared', () => {
    const text = 'import { a } from "./a.ts"; class X { #b = a; f() { return [this.#b, this.#c, d, Math.max(1, 2)] } }'
    expect(findUnknownNames('x.ts', text)).toEqual(['#c', 'd'])
  })

  it('cannot be built if its code is not valid', () => {
    const mutant = mutants.find(({ edits }) => edits[0]?.kind === 'start')
    if (mutant === undefined) throw new Error('no mutant adds statements')
    const edits = mutant.edits.map((edit) => (edit.kind === 'start' ? { ...edit, add: 'if (' } : edit))
    const build = () => buildMutant({ ...mutant, edits }, repositoryRoot, join(folder, 'invalid'))
    expect(build).toThrow(/would not be valid/)
  })
})

const loader = join(repositoryRoot, 'lab/chaos/dist/mutants/load-mutant.js')

// `npm test` always builds first. A bare run of the unit tests may lack the build.
describe.skipIf(!existsSync(loader))('the loader', () => {
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

  it('changes nothing without a list and rejects one that does not exist', () => {
    const probe = `import { outboundLimits } from ${dist('server/dist/delivery/outbound.js')}; console.log(outboundLimits.stalledMaxMs)`
    expect(run('', probe).trim()).toBe('10000')
    expect(() => run('no-such-list', probe)).toThrow(/ENOENT/)
  })

  it('loads the module of the mutant', () => {
    const probe = `import { Outbox } from ${dist('client/dist/conversation/outbox.js')}; console.log(Outbox.toString().includes('.reverse()'))`
    expect(run('outbox-sends-newest-first', probe).trim()).toBe('true')
    expect(run('', probe).trim()).toBe('false')
  })

  it('loads the SQL of the mutant', () => {
    const sql = dist('server/src/database/migrations/001-initial.sql')
    const probe = `import { readFileSync } from 'node:fs'; console.log(/create unique index changes_client_id/.test(readFileSync(${sql}, 'utf8')))`
    expect(run('', probe).trim()).toBe('true')
    expect(run('no-deduplication', probe).trim()).toBe('false')
  })
})
