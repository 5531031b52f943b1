/**
 * Runs `npm test` (or another npm script) on a bare machine: a minimal Debian made by debootstrap,
 * with only Node and npm. So it finds software that the tests use but no script installs. Must run
 * as root on Debian; takes half an hour with `npm test`. The npm script runs in its own mount and
 * process namespaces, so no mount or process remains after it.
 *
 *   node scripts/check-minimal-root.mjs [--keep] [npm arguments …]     default: test
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fail, forwardSignals, root, run, say, SetupError } from './setup/steps.mjs'
import { installSystemPackages } from './setup/system-packages.mjs'

const checkoutPath = '/chorus'
/**
 * Files that a machine needs to reach its package registries. Each one that exists is copied into
 * the minimal Debian.
 */
const registrySettings = [
  '/etc/resolv.conf',
  '/etc/apt/apt.conf.d',
  '/etc/ssl/certs',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
]

async function must(command, args, options) {
  const { status } = await run(command, args, options)
  if (status !== 0) throw new SetupError(`unable to run ${command} ${args[0]}; it ended with status ${status}`)
}

function copyInto(target, path) {
  if (existsSync(path)) cpSync(path, join(target, path), { recursive: true, force: true, verbatimSymlinks: true })
}

function installNode(target) {
  const npm = dirname(dirname(realpathSync(join(dirname(process.execPath), 'npm'))))
  const modules = join(target, 'usr/local/lib/node_modules')
  mkdirSync(modules, { recursive: true })
  cpSync(process.execPath, join(target, 'usr/local/bin/node'))
  cpSync(npm, join(modules, 'npm'), { recursive: true })
  for (const name of ['npm', 'npx']) {
    symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(target, 'usr/local/bin', name))
  }
}

try {
  if (process.getuid() !== 0) throw new SetupError('unable to make a minimal root; this must run as root')
  const args = process.argv.slice(2).filter((argument) => argument !== '--keep')
  const isKept = process.argv.includes('--keep')
  forwardSignals()
  await installSystemPackages(['debootstrap', 'git'])
  const codename = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable'
  const target = mkdtempSync(join(tmpdir(), 'chorus-minimal-'))
  try {
    say(`making a minimal Debian ${codename} in ${target}`)
    await must('debootstrap', ['--variant=minbase', codename, target])
    // Only root may enter a folder of mkdtemp, but Postgres runs as another user.
    chmodSync(target, 0o755)
    for (const path of registrySettings) copyInto(target, path)
    writeFileSync(
      join(target, 'etc/apt/sources.list'),
      ['', '-updates'].map((suffix) => `deb http://deb.debian.org/debian ${codename}${suffix} main\n`).join(''),
    )
    installNode(target)
    const npmSettings = join(homedir(), '.npmrc')
    if (existsSync(npmSettings)) cpSync(npmSettings, join(target, 'root/.npmrc'))
    // On a network that inspects TLS, npm needs the certificate authority of that network.
    const authorities = process.env['NODE_EXTRA_CA_CERTS'] ?? ''
    if (authorities !== '') copyInto(target, authorities)
    await must('git', ['clone', '--quiet', root, join(target, checkoutPath)])
    const npm = args.length === 0 ? ['test'] : args
    say(`npm ${npm.join(' ')} in it`)
    const script = `
      mount --bind /dev ${target}/dev && mount -t sysfs sysfs ${target}/sys && mount -t proc proc ${target}/proc &&
      mount -t tmpfs tmpfs ${target}/dev/shm &&
      exec chroot ${target} /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
        NODE_EXTRA_CA_CERTS='${authorities}' CI=true sh -c 'cd ${checkoutPath} && exec npm "$@"' npm "$@"`
    const { status } = await run('unshare', [
      '--mount',
      '--pid',
      '--fork',
      '--kill-child',
      'sh',
      '-c',
      script,
      'sh',
      ...npm,
    ])
    process.exitCode = status
  } finally {
    if (!isKept) rmSync(target, { recursive: true, force: true })
  }
} catch (error) {
  fail(error)
}
