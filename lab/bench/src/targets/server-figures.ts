/**
 * Reads a Chorus server's own metrics from its Prometheus port, as differences since the last call:
 * sizes of batches, delay of the event loop, and deliveries that the sweep had to repair (the sweep
 * polls the log for missed rows).
 */
import { request } from 'node:http'

const previous = new Map<string, ReadonlyMap<string, number>>()
const timeoutMs = 5_000

export async function readFigures(url: string): Promise<Record<string, number>> {
  const now = parse(await fetchText(url))
  const before = previous.get(url) ?? new Map<string, number>()
  previous.set(url, now)
  const since = (name: string): number => (now.get(name) ?? 0) - (before.get(name) ?? 0)
  const mean = (name: string): number =>
    since(`${name}_count`) === 0 ? 0 : Math.round((since(`${name}_sum`) / since(`${name}_count`)) * 100) / 100
  const lagMs = (quantile: string): number =>
    Math.round((now.get(`chorus_event_loop_lag_seconds{quantile="${quantile}"}`) ?? 0) * 100_000) / 100
  return {
    rowsPerCommit: mean('chorus_append_batch_rows'),
    changesPerEvent: mean('chorus_delivery_batch_changes'),
    eventLoopLagP99Ms: lagMs('0.99'),
    eventLoopLagMaxMs: lagMs('1'),
    repairedByGap: since('chorus_repaired_changes_total{by="gap"}'),
    repairedBySweep: since('chorus_repaired_changes_total{by="sweep"}'),
  }
}

function parse(text: string): Map<string, number> {
  const figures = new Map<string, number>()
  for (const line of text.split('\n')) {
    const space = line.lastIndexOf(' ')
    if (line.startsWith('#') || space === -1) continue
    figures.set(line.slice(0, space), Number(line.slice(space + 1)))
  }
  return figures
}

function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { agent: false, signal: AbortSignal.timeout(timeoutMs) }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk: string) => {
        text += chunk
      })
      incoming.once('end', () => resolve(text))
      incoming.once('error', reject)
    })
    outgoing.once('error', reject)
    outgoing.end()
  })
}
