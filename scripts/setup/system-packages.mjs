/**
 * What the commands need of the system: on Debian as root it is installed, elsewhere it is named. No service of the
 * system's own is started: what runs is started by the commands themselves.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { run, say, seconds, SetupError } from './steps.mjs'

/** What `npm run cluster` starts, as Debian packages. */
export const clusterPackages = ['postgresql', 'redis-server', 'haproxy', 'nginx']

/** What the measurements start. Without Nchan, and the nginx that it is a part of, one comparison is left out. */
export const benchPackages = ['postgresql', 'redis-server']
export const benchComparisonPackages = ['nginx', 'libnginx-mod-nchan']

/** What the tests start. The browser without a window of its own needs half the processor time of the whole one. */
export const testPackages = [
  ...clusterPackages,
  'curl',
  'openssl',
  'pgbouncer',
  'chromium-headless-shell',
  'fonts-noto-color-emoji',
]

/** Packages that serve in the place of another one that cannot be installed. */
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
    say(`not installed: ${missing.join(', ')}; what needs them fails or is skipped (install them, or run as root)`)
    return
  }
  const startedAt = performance.now()
  say(`installing ${missing.join(', ')} (apt-get)`)
  const options = {
    stdio: ['ignore', 2, 2],
    // RUNLEVEL=1: do not start services of the system's own.
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
