/**
 * Packs the published packages and installs the tarballs into empty projects, for tests of what
 * integrators get. Needs no network: dependencies of other authors are links to the installed ones.
 * A project has only the packages that it asks for and the dependencies that their manifests name.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeTempDir, removeTempDir } from '@chorus/testkit'

const root = fileURLToPath(new URL('../', import.meta.url))

export const publishedPackages = ['protocol', 'client', 'react', 'backend', 'server'] as const
export type PublishedPackage = (typeof publishedPackages)[number]

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}

export interface ProjectOptions {
  readonly packages: readonly PublishedPackage[]
  /** Dependencies of other authors, with the folder of the workspace that has them, or `.`. */
  readonly links?: Readonly<Record<string, string>>
  readonly manifest?: object
  /** Texts of the project's files. */
  readonly files?: Readonly<Record<string, string>>
}

export class PackedPackages {
  readonly folder: string
  readonly #tarballs: ReadonlyMap<PublishedPackage, string>

  constructor() {
    this.folder = makeTempDir('packages')
    const workspaces = publishedPackages.flatMap((name) => ['-w', `@chorus/${name}`])
    const output = execFileSync('npm', ['pack', '--silent', '--pack-destination', this.folder, ...workspaces], {
      cwd: root,
      encoding: 'utf8',
    })
    const tarballs = output.trim().split('\n')
    this.#tarballs = new Map(publishedPackages.map((name, index) => [name, join(this.folder, tarballs[index] ?? '')]))
  }

  /** Creates an empty project and installs packages into it. Returns its folder. */
  createProject(name: string, { packages, links = {}, manifest = {}, files = {} }: ProjectOptions): string {
    const project = join(this.folder, name)
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name, private: true, ...manifest }))
    for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text)
    for (const one of packages) this.#install(project, one)
    for (const [dependency, from] of Object.entries(links)) link(project, dependency, from)
    return project
  }

  #install(project: string, name: PublishedPackage): void {
    const target = join(project, 'node_modules/@chorus', name)
    if (existsSync(target)) return
    mkdirSync(target, { recursive: true })
    execFileSync('tar', ['-xzf', this.#tarballs.get(name) ?? '', '-C', target, '--strip-components=1'])
    for (const dependency of Object.keys(readManifest(target).dependencies ?? {})) {
      const own = publishedPackages.find((one) => dependency === `@chorus/${one}`)
      if (own === undefined) link(project, dependency, `packages/${name}`)
      else this.#install(project, own)
    }
  }

  remove(): void {
    removeTempDir(this.folder)
  }
}

export function readManifest(packageFolder: string): Manifest {
  return JSON.parse(readFileSync(join(packageFolder, 'package.json'), 'utf8')) as Manifest
}

/** Returns the paths of all files of an installed package. */
export function listFiles(packageFolder: string): string[] {
  return readdirSync(packageFolder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(packageFolder.length + 1))
}

/** Returns the example of docs/embedding.md that begins with the name of its file in a comment. */
export function readExample(file: string): string {
  const parts = readFileSync(join(root, 'docs/embedding.md'), 'utf8').split(/^```\w*\n/m)
  const example = parts.find((text) => text.startsWith(`// ${file}\n`))
  if (example === undefined) throw new Error(`unable to find ${file} in docs/embedding.md`)
  return example
}

/** Links an installed dependency: the one of a folder of the workspace, if it has its own. */
function link(project: string, dependency: string, from: string): void {
  const path = join(project, 'node_modules', dependency)
  if (existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  const own = join(root, from, 'node_modules', dependency)
  symlinkSync(existsSync(own) ? own : join(root, 'node_modules', dependency), path)
}
