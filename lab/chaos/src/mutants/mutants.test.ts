/**
 * Checks that every mutant applies to the present code: its search texts occur exactly once, and
 * the result is still a valid program.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { rules } from '../checker/rules/rules.ts'
import { applyEdits } from './apply-edits.ts'
import { findMutant, mutants, repositoryRoot } from './mutants.ts'

/**
 * Returns the file's text as the build would write it. Compiles the source, so that a stale build
 * cannot hide a problem.
 */
function readBuilt(file: string): string {
  if (!file.endsWith('.js')) return readFileSync(join(repositoryRoot, file), 'utf8')
  const source = join(repositoryRoot, file.replace('/dist/', '/src/').replace(/[.]js$/, '.ts'))
  return ts.transpileModule(readFileSync(source, 'utf8'), {
    fileName: source,
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
  }).outputText
}

const known = new Map<string, string>()
function textOf(file: string): string {
  let text = known.get(file)
  if (text === undefined) {
    text = readBuilt(file)
    known.set(file, text)
  }
  return text
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
      expect(mutant.edits.length).toBeGreaterThan(0)
      for (const file of new Set(mutant.edits.map((edit) => edit.file))) {
        const text = textOf(file)
        const changed = applyEdits(mutant, file, text)
        expect(changed).not.toBe(text)
        if (!file.endsWith('.js')) continue
        const { diagnostics } = ts.transpileModule(changed, { reportDiagnostics: true, fileName: file })
        expect(diagnostics?.map(({ messageText }) => messageText)).toEqual([])
      }
    })
  }

  it('rejects a search text that does not occur exactly once', () => {
    const mutant = { name: 'x', edits: [{ file: 'f', search: 'a', replacement: 'b' }] }
    expect(applyEdits(mutant, 'f', 'xay')).toBe('xby')
    expect(applyEdits(mutant, 'other', 'xay')).toBe('xay')
    expect(() => applyEdits(mutant, 'f', 'xy')).toThrow(/does not contain/)
    expect(() => applyEdits(mutant, 'f', 'aa')).toThrow(/more than once/)
  })
})

const loader = join(repositoryRoot, 'lab/chaos/dist/mutants/load-mutant.js')

// `npm test` always builds first. A bare run of the unit tests may lack the build.
describe.skipIf(!existsSync(loader))('the loader', () => {
  const run = (name: string, code: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'chorus-mutant-'))
    try {
      const file = join(folder, 'probe.mjs')
      writeFileSync(file, code)
      return execFileSync(process.execPath, ['--import', loader, file], {
        env: { ...process.env, CHORUS_MUTANT: name, NODE_OPTIONS: '' },
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  const dist = (path: string) => JSON.stringify(join(repositoryRoot, 'packages/server/dist', path))

  it('changes nothing without a name and rejects an unknown one', () => {
    const probe = `import { outboundBounds } from ${dist('delivery/outbound.js')}; console.log(outboundBounds.stalledMaxMs)`
    expect(run('', probe).trim()).toBe('10000')
    expect(() => run('no-such-mutant', probe)).toThrow(/no mutant is named/)
  })

  it('changes a module as it is loaded', () => {
    const probe = `import { Outbox } from ${dist('../../client/dist/conversation/outbox.js')}; console.log(Outbox.toString().includes('.reverse()'))`
    expect(run('outbox-sends-newest-first', probe).trim()).toBe('true')
    expect(run('', probe).trim()).toBe('false')
  })

  it('changes SQL as it is read', () => {
    const sql = JSON.stringify(join(repositoryRoot, 'packages/server/src/database/migrations/001-initial.sql'))
    const probe = `import { readFileSync } from 'node:fs'; console.log(/create unique index changes_client_id/.test(readFileSync(${sql}, 'utf8')))`
    expect(run('', probe).trim()).toBe('true')
    expect(run('no-deduplication', probe).trim()).toBe('false')
  })
})
