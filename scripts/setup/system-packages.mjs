/**
 * Installs the system packages that the commands of this repository need. Installs only on Debian
 * as root. Without root, it only reports missing packages; on other systems, it checks nothing. It
 * starts no system service, because the commands start their own processes.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { run, say, seconds, SetupError } from './steps.mjs'

/** Debian packages with the programs that `npm run cluster` starts. */
export const clusterPackages = ['postgresql', 'redis-server', 'haproxy', 'nginx']

/**
 * Debian packages with the programs that the measurements start. Without the second list (Nchan and
 * its nginx), one comparison is omitted.
 */
export const benchPackages = ['postgresql', 'redis-server']
export const benchComparisonPackages = ['nginx', 'libnginx-mod-nchan']

/**
 * Debian packages with the programs that the tests start. The headless Chromium needs half the
 * processor time of the full one.
 */
export const testPackages = [
  ...clusterPackages,
  'curl',
  'openssl',
  'pgbouncer',
  'chromium-headless-shell',
  'fonts-noto-color-emoji',
]

/**
 * Packages that can replace another one. If apt cannot install a package, its replacement is used,
 * provided it is installed.
 */
const substitutes = new Map([['chromium-headless-shell', 'chromium']])

function isDebian() {
  return existsSync('/etc/debian_version') && /^ID(_LIKE)?=.*debian/m.test(readFileSync('/etc/os-release', 'utf8'))
}

function isInstalled(name) {
  const { status, stdout } = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' })
  return status === 0 && stdout === 'installed'
}

export async function installSystemPackages(names) {
  if (!isDebian()) return
  const missing = names.filter((name) => !isInstalled(name))
  if (missing.length === 0) return
  if (process.getuid() !== 0) {
    say(`not installed: ${missing.join(', ')}; steps that need them fail or are skipped (install them, or run as root)`)
    return
  }
  const startedAt = performance.now()
  say(`installing ${missing.join(', ')} (apt-get)`)
  const options = {
    stdio: ['ignore', 2, 2],
    // RUNLEVEL=1 prevents apt from starting system services.
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  }
  for (const args of [
    ['-q', 'update'],
    ['-q', '-y', '--no-install-recommends', 'install', ...missing],
  ]) {
    const { status } = await run('apt-get', args, options)
    if (status === 0) continue
    const needed = missing.filter((name) => !isInstalled(substitutes.get(name) ?? name))
    if (needed.length > 0)
      throw new SetupError(`unable to install ${needed.join(', ')}; apt-get ended with status ${status}`)
    say(`unable to install ${missing.join(', ')}; what is installed in their place is used`)
    return
  }
  say(`installed ${missing.join(', ')} in ${seconds(performance.now() - startedAt)}`)
}
