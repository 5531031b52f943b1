/**
 * Adds a mutant's bug to the source of its package. Throws an error if an edit does not match
 * exactly one place or changes nothing. Otherwise the unchanged product would run, and would count
 * as a bug that the checker did not find.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { findBodyStart, findCode, findDeclarations, parseCode, parsePattern } from './find-code.ts'
import { findSql } from './find-sql.ts'
import type { CodeEdit, Mutant, MutantEdit, SqlEdit, StartEdit } from './mutant.ts'

/** Texts of source files, by their paths from the root of the repository. */
export type Sources = ReadonlyMap<string, string>

interface Replacement {
  readonly path: string
  readonly start: number
  readonly end: number
  readonly text: string
}

/** Reads the TypeScript and SQL files of a package, without its tests. */
export function readSources(root: string, name: Mutant['package']): Sources {
  const folder = `packages/${name}/src`
  return new Map(
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((path) => path.replaceAll('\\', '/'))
      .filter((path) => /[.](?:ts|sql)$/.test(path) && !/[.](?:test|suite)[.]ts$|(?:^|[/])testing[/]/.test(path))
      .map((path) => [`${folder}/${path}`, readFileSync(join(root, folder, path), 'utf8')]),
  )
}

/** Returns the changed texts of the files that the mutant changes. */
export function applyMutant({ name, edits }: Pick<Mutant, 'name' | 'edits'>, sources: Sources): Sources {
  const texts = new Map(sources)
  const changed = new Map<string, string>()
  for (const edit of edits) {
    const found = findReplacements(edit, texts)
    const [only] = found
    if (only === undefined || found.length > 1) {
      const places = found.map(({ path }) => ` in ${path}`).join()
      throw new Error(`unable to make mutant ${name}; ${describe(edit)} was found ${found.length} times${places}`)
    }
    const { path, start, end, text } = only
    const before = texts.get(path) ?? ''
    const after = before.slice(0, start) + text + before.slice(end)
    if (after === before) throw new Error(`unable to make mutant ${name}; ${describe(edit)} stays as it is`)
    texts.set(path, after)
    changed.set(path, after)
  }
  return changed
}

function describe(edit: MutantEdit): string {
  const place = edit.in === undefined ? '' : ` in ${edit.in}`
  return edit.kind === 'start' ? edit.in : `"${edit.find}"${place}`
}

function findReplacements(edit: MutantEdit, texts: Sources): Replacement[] {
  switch (edit.kind) {
    case 'code':
      return replaceCode(edit, texts)
    case 'start':
      return addAtStart(edit, texts)
    case 'sql':
      return replaceSql(edit, texts)
  }
}

function replaceCode(edit: CodeEdit, texts: Sources): Replacement[] {
  const pattern = parsePattern(edit.find)
  return findScopes(edit.in, texts, edit.find).flatMap(({ path, scope }) =>
    findCode(scope, pattern).map(({ start, end, bound }) => ({ path, start, end, text: fill(edit.becomes, bound) })),
  )
}

/** Replaces the `$` names in a text by the pieces of code that they matched. */
function fill(code: string, bound: ReadonlyMap<string, string>): string {
  return code.replaceAll(/(?:[.]{3})?[$]\w+/g, (name) => {
    const text = bound.get(name)
    if (text === undefined) throw new Error(`unable to make a mutant; ${name} has no meaning in: ${code}`)
    return text
  })
}

function addAtStart(edit: StartEdit, texts: Sources): Replacement[] {
  return findScopes(edit.in, texts).flatMap(({ path, scope }) => {
    const at = findBodyStart(scope)
    return at === undefined ? [] : [{ path, start: at, end: at, text: ` ${edit.add};` }]
  })
}

function replaceSql(edit: SqlEdit, texts: Sources): Replacement[] {
  const regions = edit.in === undefined ? findSqlFiles(texts) : findSqlOf(edit.in, texts)
  return regions.flatMap(({ path, text, at }) =>
    findSql(text, edit.find).map(({ start, end }) => ({ path, start: at + start, end: at + end, text: edit.becomes })),
  )
}

interface SqlRegion {
  readonly path: string
  readonly text: string
  /** Position of this text in its file. */
  readonly at: number
}

function findSqlFiles(texts: Sources): SqlRegion[] {
  return [...texts].filter(([path]) => path.endsWith('.sql')).map(([path, text]) => ({ path, text, at: 0 }))
}

/**
 * Returns the current SQL text of an SQL function, or the SQL templates in a TypeScript
 * declaration.
 */
function findSqlOf(name: string, texts: Sources): SqlRegion[] {
  const header = `create or replace function ${name} (`
  // Search only the folder `functions`, because the migrations contain old versions of the
  // functions.
  const files = findSqlFiles(texts).filter(
    ({ path, text }) => path.includes('/functions/') && findSql(text, header).length > 0,
  )
  if (files.length > 0) return files
  return findScopes(name, texts).flatMap(({ path, scope }) => {
    const regions: SqlRegion[] = []
    const visit = (node: ts.Node): void => {
      if (ts.isTemplateLiteral(node)) regions.push({ path, text: node.getText(), at: node.getStart() })
      else ts.forEachChild(node, visit)
    }
    visit(scope)
    return regions
  })
}

interface Scope {
  readonly path: string
  readonly scope: ts.Node
}

/**
 * Returns the declarations with this name. Without a name, returns all files that can contain
 * `code`.
 */
function findScopes(name: string | undefined, texts: Sources, code = ''): Scope[] {
  const words = `${name ?? ''} ${code}`.match(/(?<![$\w])[a-z_]\w*/gi) ?? []
  return [...texts]
    .filter(([path, text]) => path.endsWith('.ts') && words.every((word) => text.includes(word)))
    .flatMap(([path, text]) => {
      const file = parseCode(path, text)
      return (name === undefined ? [file] : findDeclarations(file, name)).map((scope) => ({ path, scope }))
    })
}
