/**
 * `npm run release -- X.Y.Z`: prepares a release in the working tree and commits nothing. Writes
 * the version into every package of the workspace and into the lockfile. Replaces the heading
 * "Unreleased" of CHANGELOG.md by the version and the date. Adds version and commit to
 * releases.json. Refuses a version that is not greater than the last one, and a working tree with
 * changes. RELEASING.md lists the steps before and after.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail, root, say, SetupError } from './setup/steps.mjs'

const semver = /^(\d+)\.(\d+)\.(\d+)$/

function readJson(path) {
  return JSON.parse(readFileSync(join(root, path), 'utf8'))
}

function writeJson(path, value) {
  writeFileSync(join(root, path), `${JSON.stringify(value, undefined, 2)}\n`)
}

/** Returns the folders of the workspace. A workspace is a folder, or `folder/*` for all its folders. */
function workspaceFolders() {
  return readJson('package.json').workspaces.flatMap((pattern) => {
    if (!pattern.endsWith('/*')) return [pattern]
    const group = pattern.slice(0, -2)
    const folders = readdirSync(join(root, group)).map((name) => `${group}/${name}`)
    return folders.filter((folder) => existsSync(join(root, folder, 'package.json')))
  })
}

function git(...args) {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
}

function isGreater(version, than) {
  const [left, right] = [version, than].map((text) => semver.exec(text).slice(1).map(Number))
  const index = left.findIndex((part, at) => part !== right[at])
  return index >= 0 && left[index] > right[index]
}

/**
 * Writes the version into a package manifest, as its own version and as that of the workspace
 * packages it depends on.
 */
function setVersion(manifest, version) {
  if (manifest.version !== undefined) manifest.version = version
  for (const kind of ['dependencies', 'devDependencies']) {
    for (const name of Object.keys(manifest[kind] ?? {}))
      if (name.startsWith('@chorus/')) manifest[kind][name] = version
  }
}

try {
  const [version] = process.argv.slice(2)
  if (!semver.test(version ?? '')) throw new SetupError('unable to release; expected a version such as 0.3.0')
  const current = readJson('package.json').version
  if (!isGreater(version, current))
    throw new SetupError(`unable to release ${version}; the version is ${current} already`)
  if (git('status', '--porcelain') !== '') throw new SetupError('unable to release; the working tree has changes')

  const changelog = readFileSync(join(root, 'CHANGELOG.md'), 'utf8')
  if (!changelog.includes('\n## Unreleased\n'))
    throw new SetupError('unable to release; CHANGELOG.md has no section "Unreleased"')
  const date = new Date().toISOString().slice(0, 10)
  writeFileSync(join(root, 'CHANGELOG.md'), changelog.replace('\n## Unreleased\n', `\n## ${version} (${date})\n`))

  const manifests = workspaceFolders().map((folder) => `${folder}/package.json`)
  for (const path of ['package.json', ...manifests]) {
    const manifest = readJson(path)
    setVersion(manifest, version)
    writeJson(path, manifest)
  }
  const lock = readJson('package-lock.json')
  lock.version = version
  for (const [path, entry] of Object.entries(lock.packages))
    if (!path.includes('node_modules/')) setVersion(entry, version)
  writeJson('package-lock.json', lock)

  const releases = existsSync(join(root, 'releases.json')) ? readJson('releases.json') : []
  writeJson('releases.json', [...releases, { version, commit: git('rev-parse', 'HEAD'), date }])
  say(`prepared ${version}; the next steps are in RELEASING.md`)
} catch (error) {
  fail(error)
}
