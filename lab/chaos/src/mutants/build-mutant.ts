/**
 * Builds a mutant: writes the files that differ from the product, as the build would write them,
 * and a list of the files that they replace. Throws if the mutant does not fit the source, or is
 * not valid code.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { applyMutant, readSources, type Sources } from './apply-mutant.ts'
import type { Mutant } from './mutant.ts'

/** Paths of the files to load, by the URL of the product's file. */
export type MutantFiles = Readonly<Record<string, string>>

/** Returns the path of the list, for {@link mutantVariable}. */
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
    // The server reads its SQL from the source.
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
 * Returns the options of the build. Names the module system, which the build takes from
 * package.json.
 */
function readCompilerOptions(root: string): ts.CompilerOptions {
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.base.json'), 'utf8')) as {
    compilerOptions: object
  }
  const { options } = ts.convertCompilerOptionsFromJson(compilerOptions, root)
  const { ESNext } = ts.ModuleKind
  return { ...options, module: ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, sourceMap: false }
}
