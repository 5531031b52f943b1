/**
 * Starts Nchan, a publish/subscribe module of nginx in C, for comparison: one channel, plain
 * WebSockets, nothing stored. It has no users, no acknowledgements and no support for several
 * machines (that would need its Redis mode), and a message is only its text. So no performance goal
 * compares with it. It shows how fast the hardware could be. The Debian package is
 * `libnginx-mod-nchan`.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { findFreePort, makeTempDir, removeTempDir } from '@chorus/testkit'
import { RawConnection } from '../load/raw-connection.ts'
import type { Target } from './target.ts'

const binary = '/usr/sbin/nginx'
const nchanModule = '/usr/lib/nginx/modules/ngx_nchan_module.so'
const startTimeoutMs = 10_000
const path = '/room'

/** Returns why Nchan cannot run on this machine; undefined when it can. */
export function whyNoNchan(): string | undefined {
  const missing = [binary, nchanModule].filter((file) => !existsSync(file))
  return missing.length === 0 ? undefined : `nchan is left out; ${missing.join(' and ')} not found`
}

export async function startNchan(workers: number): Promise<Target> {
  const folder = makeTempDir('nchan')
  const port = await findFreePort()
  const config = join(folder, 'nginx.conf')
  mkdirSync(join(folder, 'logs'))
  writeFileSync(config, configuration(folder, port, workers))
  const child = spawn(binary, ['-p', folder, '-c', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit')
  const end = (): void => void child.kill('SIGTERM')
  process.once('exit', end)
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-2_000)
  })
  const stop = async (): Promise<void> => {
    process.off('exit', end)
    if (child.exitCode === null && child.signalCode === null) {
      end()
      await exited
    }
    removeTempDir(folder)
  }
  try {
    await whenAnswering(port)
  } catch {
    await stop()
    throw new Error(`unable to start nchan; ${said}`)
  }
  const refuse = (): never => {
    throw new Error('unable to measure nchan; it supports only one room')
  }
  return {
    name: 'nchan',
    description: `Nchan in nginx (C), ${workers === 1 ? 'one worker' : `${workers} workers`}, one channel of plain WebSockets, nothing stored, nothing acknowledged`,
    ports: [port],
    processes: [{ role: 'server', pid: child.pid ?? 0, withChildren: true }],
    pairs: refuse,
    async room(people, senders) {
      return {
        members: Array.from({ length: people }, () => ({ plainPath: path, group: 0, hears: true })),
        senders: Array.from({ length: senders }, (_, member) => ({ member, payloadHead: '', clientIds: false })),
      }
    },
    idle: refuse,
    ownFigures: async () => ({}),
    stop,
  }
}

async function whenAnswering(port: number): Promise<void> {
  const giveUpAtMs = performance.now() + startTimeoutMs
  const nothing = (): void => undefined
  const events = { acknowledged: nothing, message: nothing, settled: nothing, ended: nothing }
  for (;;) {
    try {
      const connection = await RawConnection.open({ host: '127.0.0.1', port, plainPath: path, events })
      connection.close()
      return
    } catch (error) {
      if (performance.now() > giveUpAtMs) throw error
      await pause(50)
    }
  }
}

/**
 * Returns the nginx configuration. Each worker process has its own listening socket, which spreads
 * the connections evenly over the workers.
 */
function configuration(folder: string, port: number, workers: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (kind) => `  ${kind}_temp_path ${join(folder, kind)};`,
  )
  return `load_module ${nchanModule};
daemon off;
worker_processes ${workers};
pid ${join(folder, 'pid')};
error_log stderr error;
events { worker_connections 20000; }
http {
  access_log off;
${temporary.join('\n')}
  server {
    listen 127.0.0.1:${port} reuseport;
    location = ${path} {
      nchan_pubsub websocket;
      nchan_channel_id room;
      nchan_store_messages off;
    }
  }
}
`
}
