/**
 * First steps of every command of this repository: check the version of Node, install npm packages,
 * build outdated parts. Uses only plain Node, because it runs before any package is installed.
 * Guarantees: two runs at the same time are safe (the second waits); after an interrupted run, the
 * next run completes the work; a run without work takes only some milliseconds.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

const stampDir = join(root, '.setup')
const lockPath = join(stampDir, 'lock')
const lockWaitMaxMs = 15 * 60_000
const showWaitingEveryMs = 10_000

/** An error that the user can fix. It is printed as one line without a stack. */
export class SetupError extends Error {}

export function say(line) {
  process.stderr.write(`chorus: ${line}\n`)
}

export function seconds(ms) {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`
}

export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  throw new SetupError(`unable to run on Node ${process.versions.node}; Node 20.19 or later is needed`)
}

/** Child processes that are running. Signals to this process are forwarded to all of them. */
const children = new Set()

/**
 * Starts a child process in this process's own group, so that ending the group also ends the child.
 * Resolves to `{status, signal}` when the child has ended. If a signal ended it, `status` is 128 +
 * the number of the signal.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options })
    children.add(child)
    child.once('error', (error) => {
      children.delete(child)
      reject(new SetupError(`unable to run ${command}; ${error.message}`))
    })
    child.once('close', (code, signal) => {
      children.delete(child)
      resolve({ status: code ?? 128 + (signalNumbers[signal] ?? 0), signal })
    })
  })
}

const signalNumbers = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }

const parentCheckEveryMs = 250

/**
 * Forwards signals to the running child processes. Each signal is forwarded only once, because a
 * terminal also sends it to the children directly. The death of the parent process counts as
 * SIGTERM: npm sends signals only to the shell between npm and this process, and that shell ends
 * without forwarding them.
 */
export function forwardSignals() {
  const handedOn = new Set()
  const handOn = (signal) => {
    if (children.size === 0) process.exit(128 + signalNumbers[signal])
    if (handedOn.has(signal)) return
    handedOn.add(signal)
    for (const child of children) child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => handOn(signal))

  const parent = process.ppid
  const check = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(check)
    handOn('SIGTERM')
  }, parentCheckEveryMs)
  check.unref()
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/**
 * Runs `work` while no other process installs or builds in this checkout. Waits for the other
 * process first.
 */
export async function withSetupLock(work) {
  mkdirSync(stampDir, { recursive: true })
  const startedAt = performance.now()
  let toldAt = -Infinity
  for (;;) {
    try {
      writeFileSync(lockPath, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const holder = readHolder()
    if (holder === undefined || !isAlive(holder)) {
      rmSync(lockPath, { force: true })
      continue
    }
    const waitedMs = performance.now() - startedAt
    if (waitedMs > lockWaitMaxMs)
      throw new SetupError(`unable to set up; process ${holder} has held ${lockPath} for 15 minutes`)
    if (waitedMs - toldAt > showWaitingEveryMs) {
      toldAt = waitedMs
      say(`waiting for another setup (process ${holder})`)
    }
    await sleep(200)
  }
  try {
    return await work()
  } finally {
    rmSync(lockPath, { force: true })
  }
}

/**
 * Returns the process id of the process that holds the setup lock. Returns undefined if the lock
 * file is gone, or has been incomplete for more than 5 s.
 */
function readHolder() {
  try {
    const text = readFileSync(lockPath, 'utf8')
    if (/^\d+$/.test(text)) return Number(text)
    return Date.now() - statSync(lockPath).mtimeMs > 5_000 ? undefined : process.pid
  } catch {
    return undefined
  }
}

/**
 * Returns whether node_modules contains the packages of the lockfile. Compares the lockfile with
 * the copy that npm writes at the end of an installation, so the copy proves that the installation
 * was complete.
 */
function isInstalled() {
  const receiptPath = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(receiptPath)) return false
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages
  let present
  try {
    present = JSON.parse(readFileSync(receiptPath, 'utf8')).packages
  } catch {
    return false
  }
  for (const [path, entry] of Object.entries(wanted)) {
    if (!path.includes('node_modules/')) continue
    const found = present[path]
    if (found === undefined ? !entry.optional : found.version !== entry.version) return false
  }
  return true
}

/** Installs the npm packages of the lockfile unless they are already installed. */
export async function installPackages() {
  if (isInstalled()) return
  const startedAt = performance.now()
  say('installing npm packages (once; about a minute)')
  const ticker = setInterval(
    () => say(`  still installing, ${seconds(performance.now() - startedAt)}`),
    showWaitingEveryMs,
  )
  try {
    // Send the output of npm to stderr, because the standard output belongs to the server.
    const options = { stdio: ['ignore', 2, 2] }
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error']
    let { status } = await run('npm', ['ci', ...quiet], options)
    if (status === 1) {
      // `npm ci` refuses a lockfile that lacks an optional package of another platform. `npm
      // install` accepts it.
      say('  npm ci refused; trying npm install')
      status = (await run('npm', ['install', '--no-save', ...quiet], options)).status
    }
    if (status !== 0) throw new SetupError(`unable to install npm packages; npm ended with status ${status}`)
  } finally {
    clearInterval(ticker)
  }
  say(`installed npm packages in ${seconds(performance.now() - startedAt)}`)
}

const notSource = new Set(['node_modules', 'dist', 'data', '.cache', 'results', 'coverage'])

function listFiles(path, into) {
  if (!existsSync(path)) return
  if (statSync(path).isFile()) {
    into.push(path)
    return
  }
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (notSource.has(entry.name)) continue
    const child = join(path, entry.name)
    if (entry.isDirectory()) listFiles(child, into)
    else if (entry.isFile() && !/[.]test[.]tsx?$/.test(entry.name)) into.push(child)
  }
}

/**
 * Returns a hash of the content of all files below these paths that a build could depend on. It
 * does not use the times of files, because a checkout changes them.
 */
function hashOf(paths) {
  const files = []
  for (const path of paths) listFiles(join(root, path), files)
  const hash = createHash('sha256').update(process.versions.node.split('.')[0])
  for (const file of files.sort())
    hash.update(relative(root, file)).update('\0').update(readFileSync(file)).update('\0')
  return hash.digest('hex')
}

/**
 * Runs `build` if a source file has changed since the last successful build, or if an output file
 * is missing.
 */
async function buildIfStale({ name, sources, outputs, build }) {
  const stampPath = join(stampDir, name)
  const hash = hashOf(sources)
  const isFresh =
    outputs.every((output) => existsSync(join(root, output))) &&
    existsSync(stampPath) &&
    readFileSync(stampPath, 'utf8') === hash
  if (isFresh) return
  const startedAt = performance.now()
  say(`building ${name}`)
  rmSync(stampPath, { force: true })
  await build()
  for (const output of outputs) {
    if (!existsSync(join(root, output))) throw new SetupError(`unable to build ${name}; ${output} was not written`)
  }
  writeFileSync(stampPath, hash)
  say(`built ${name} in ${seconds(performance.now() - startedAt)}`)
}

async function runBuild(name, command, args) {
  const { status, signal } = await run(command, args, { stdio: ['ignore', 2, 2] })
  if (signal !== null) process.exit(status)
  if (status !== 0) throw new SetupError(`unable to build ${name}; see the lines above`)
}

const shared = ['package-lock.json', 'tsconfig.base.json']
const tsc = join('node_modules', 'typescript', 'bin', 'tsc')

function buildPackages(names) {
  const paths = names.map((name) => `packages/${name}`)
  return buildIfStale({
    name: names.length === 1 ? names[0] : names.join('-and-'),
    sources: [...shared, ...paths, 'packages/protocol'],
    outputs: paths.map((path) => `${path}/dist/${path === 'packages/server' ? 'main' : 'index'}.js`),
    build: () => runBuild(names.join(' and '), process.execPath, [tsc, '-b', ...paths]),
  })
}

/** Builds the parts that `npm start` needs: the server and the web application. */
export async function buildForStart() {
  await buildPackages(['server'])
  if (!existsSync(join(root, 'apps/web/index.html'))) return
  await buildPackages(['client', 'react'])
  await buildIfStale({
    name: 'web',
    sources: [...shared, 'packages/protocol', 'packages/client', 'packages/react', 'apps/web'],
    outputs: ['packages/server/dist/web/index.html'],
    build: () => runBuild('web', 'npm', ['run', '--silent', 'build', '-w', '@chorus/web']),
  })
}

/** Builds every package that is published. */
export async function buildForPack() {
  await buildForStart()
  await buildPackages(['backend'])
}

/** Builds what is published, and the test kit that tests and measurements use. */
export async function buildForTests() {
  await buildForPack()
  await buildPackages(['testkit'])
}

/** Builds the load harness (lab/bench) and the parts that it starts. */
export async function buildForBench() {
  await buildForTests()
  await buildIfStale({
    name: 'bench',
    sources: [...shared, 'packages/testkit', 'lab/bench/src', 'lab/bench/tsconfig.json'],
    outputs: ['lab/bench/dist/main.js', 'lab/bench/dist/load/generator.js'],
    build: () => runBuild('bench', process.execPath, [tsc, '-b', 'lab/bench']),
  })
}

/** Builds the chaos lab (lab/chaos) and the parts that it starts. */
export async function buildForChaos() {
  await buildForTests()
  await buildIfStale({
    name: 'chaos',
    sources: [...shared, 'packages/testkit', 'packages/client', 'lab/chaos/src', 'lab/chaos/tsconfig.json'],
    outputs: ['lab/chaos/dist/main.js', 'lab/chaos/dist/workload/driver-main.js'],
    build: () => runBuild('chaos', process.execPath, [tsc, '-b', 'lab/chaos']),
  })
}

/**
 * Runs a command of the repository, even from a fresh checkout. First installs missing packages and
 * builds outdated parts (`prepare` may install system packages). Then runs `entry`, a path below
 * the root, as a child process in this process's own group. Forwards signals, and exits with the
 * status of the child. The child keeps the working directory of the caller, so that a relative
 * DATA_DIR means the same for both; npm runs this process in the root of the repository.
 */
export async function runBuilt({ prepare = async () => {}, build, entry, nodeArguments = [], args = [] }) {
  try {
    requireNode()
    forwardSignals()
    await withSetupLock(async () => {
      await installPackages()
      await prepare()
      await build()
    })
    const child = await run(process.execPath, [...nodeArguments, join(root, entry), ...args], {
      cwd: process.cwd(),
      stdio: 'inherit',
    })
    process.exit(child.status)
  } catch (error) {
    fail(error)
  }
}

/**
 * Prints an error and ends the process with status 1. An error that the user can fix is printed as
 * one line, an unexpected error with its stack.
 */
export function fail(error) {
  if (error instanceof SetupError) process.stderr.write(`${error.message}\n`)
  else process.stderr.write(`${error?.stack ?? error}\n`)
  process.exit(1)
}
