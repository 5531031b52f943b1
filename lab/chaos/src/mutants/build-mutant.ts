/**
 * Builds a mutant (Chorus with one added bug): writes the changed files, in the form in which the
 * build would write them, and a list of the files that they replace. Throws an error if the mutant
 * does not fit the source or is not valid code.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { applyMutant, readSources, type Sources } from './apply-mutant.ts'
import type { Mutant } from './mutant.ts'

/** Path of each file to load, by the URL of the product's file that it replaces. */
export type MutantFiles = Readonly<Record<string, string>>

/**
 * Builds the mutant. Returns the path of the list of replaced files, for the environment variable
 * {@link mutantVariable}.
 */
export function buildMutant(
  mutant: Mutant,
  root: string,
  folder: string,
  sources: Sources = readSources(root, mutant.package),
): string {
  const target = resolve(folder)
  mkdirSync(target, { recursive: true })
  const replaced: Record<string, string> = {}
  for (const [path, text] of applyMutant(mutant, sources)) {
    const isCode = path.endsWith('.ts')
    // The server reads SQL files from its source folder, not from the build.
    const built = isCode ? path.replace('/src/', '/dist/').replace(/[.]ts$/, '.js') : path
    const file = join(target, built.replaceAll('/', '-'))
    writeFileSync(file, isCode ? transpile(mutant.name, root, path, text) : text)
    replaced[pathToFileURL(join(root, built)).href] = file
  }
  const list = join(target, 'mutant.json')
  writeFileSync(list, JSON.stringify(replaced satisfies MutantFiles, undefined, 2))
  return list
}

function transpile(mutant: string, root: string, path: string, text: string): string {
  const { outputText, diagnostics } = ts.transpileModule(text, {
    fileName: path,
    reportDiagnostics: true,
    compilerOptions: readCompilerOptions(root),
  })
  const [problem] = diagnostics ?? []
  if (problem === undefined) return outputText
  const message = ts.flattenDiagnosticMessageText(problem.messageText, ' ')
  throw new Error(`unable to make mutant ${mutant}; ${path} would not be valid: ${message}`)
}

/**
 * Returns the TypeScript options of the product's build. Sets the module system explicitly, which
 * the build takes from package.json.
 */
function readCompilerOptions(root: string): ts.CompilerOptions {
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.base.json'), 'utf8')) as {
    compilerOptions: object
  }
  const { options } = ts.convertCompilerOptionsFromJson(compilerOptions, root)
  const { ESNext } = ts.ModuleKind
  return { ...options, module: ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, sourceMap: false }
}
