/**
 * Prints the benchmark's results: for each scenario a table of medians with their spread, then one
 * line per performance goal.
 */
import type { BenchResult, ScenarioResult } from './result.ts'
import { median, pairedRatio, valuesOf } from './statistics.ts'

/**
 * Columns of each scenario's table. The first column is the main figure; the table also shows its
 * ratio to each compared system.
 */
const columnsOf: Readonly<Record<string, readonly (readonly [figure: string, title: string])[]>> = {
  direct: [
    ['ackPerSecond', 'acked/s'],
    ['ackP50Ms', 'ack p50 ms'],
    ['ackP99Ms', 'ack p99'],
    ['deliveryP50Ms', 'delivery p50'],
    ['deliveryP99Ms', 'delivery p99'],
    ['serverCpu', 'server cores'],
    ['databaseCpu', 'db cores'],
    ['serverUsPerMessage', 'server µs/msg'],
    ['databaseUsPerMessage', 'db µs/msg'],
    ['generatorCpu', 'generator cores'],
    ['serverResidentMb', 'server MB'],
  ],
  'hot-room': [
    ['deliveriesPerSecond', 'deliveries/s'],
    ['messagesPerSecond', 'messages/s'],
    ['deliveryP50Ms', 'p50 ms'],
    ['deliveryP99Ms', 'p99'],
    ['lastDeliveryP99Ms', 'last p99'],
    ['serverCpu', 'server cores'],
    ['databaseCpu', 'db cores'],
    ['serverUsPerMessage', 'server µs/msg'],
    ['databaseUsPerMessage', 'db µs/msg'],
    ['generatorCpu', 'generator cores'],
    ['serverResidentMb', 'server MB'],
  ],
  single: [
    ['ackP50Ms', 'ack p50 ms'],
    ['ackP99Ms', 'ack p99'],
    ['lastDeliveryP50Ms', 'delivery p50'],
    ['lastDeliveryP99Ms', 'delivery p99'],
  ],
  idle: [
    ['kbPerConnection', 'kB/connection'],
    ['serverResidentMb', 'server MB'],
    ['serverCpu', 'server cores'],
  ],
  storm: [
    ['backSeconds', 'all back s'],
    ['backP50Ms', 'p50 ms'],
    ['backP99Ms', 'p99'],
    ['missed', 'missed'],
    ['readsMost', 'most reads'],
    ['readsMean', 'mean'],
    ['refusedHandshakes', 'refused'],
    ['refusedSends', 'sends refused'],
    ['serverCpu', 'server cores'],
    ['databaseCpu', 'db cores'],
    ['redisCpu', 'Redis cores'],
    ['generatorCpu', 'generator cores'],
    ['linkCpu', 'link cores'],
    ['serverResidentMb', 'server MB'],
  ],
  history: [['pageP50Ms', 'page p50 ms']],
  interest: [
    ['bytesPerMessage', 'Redis bytes/msg'],
    ['deliveryP50Ms', 'delivery p50 ms'],
    ['deliveryP99Ms', 'delivery p99'],
  ],
  'embedded-sends': [
    ['ackPerSecond', 'acked/s'],
    ['ackP50Ms', 'ack p50 ms'],
    ['ackP99Ms', 'ack p99'],
    ['deliveryP99Ms', 'delivery p99'],
    ['eventLoopLagP99Ms', 'loop lag p99'],
    ['eventLoopLagMaxMs', 'loop lag max'],
    ['serverCpu', 'server cores'],
    ['generatorCpu', 'generator cores'],
    ['serverResidentMb', 'server MB'],
  ],
  curves: [
    ['serverUsPerDelivery', 'server µs/delivery'],
    ['messagesPerSecond', 'messages/s'],
    ['deliveriesPerSecond', 'deliveries/s'],
    ['deliveryP50Ms', 'p50 ms'],
    ['deliveryP99Ms', 'p99'],
    ['serverCpu', 'server cores'],
    ['databaseCpu', 'db cores'],
    ['redisCpu', 'redis cores'],
    ['generatorCpu', 'generator cores'],
    ['redisBytesPerMessage', 'Redis bytes/msg'],
    ['restMb', 'MB at rest'],
  ],
  start: [['listeningSeconds', 'to listening s']],
  tokens: [
    ['cachedMicroseconds', 'µs/check'],
    ['requestsPerSecond', 'requests/s'],
    ['refusedAfterMs', 'refused after ms'],
  ],
  'bulk-users': [['putSeconds', 's/1 000 users']],
  subjects: [['lookUpP50Ms', 'look-up p50 ms']],
  outbox: [
    ['deliveryP50Ms', 'delivery p50 ms'],
    ['deliveryP99Ms', 'delivery p99'],
    ['messages', 'messages'],
  ],
}

export function printReport(result: BenchResult, print: (line: string) => void): void {
  const { environment } = result
  const { machine, versions } = environment
  print('')
  print(
    `commit ${environment.commit}${environment.changedFiles > 0 ? ` and ${environment.changedFiles} changed files` : ''}, ` +
      `${machine.cores} × ${machine.cpu}, ${machine.memoryGb} GB, load before ${machine.loadBefore}`,
  )
  print(
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
  )
  for (const scenario of result.scenarios) printScenario(scenario, print)
  print('')
  for (const { goals } of result.scenarios)
    for (const { id, met, text } of goals) print(`${id} ${met ? 'met' : 'missed'}: ${text}`)
}

function printScenario(result: ScenarioResult, print: (line: string) => void): void {
  const columns = columnsOf[result.scenario] ?? []
  const keys = [...new Set(result.rounds.map(({ variant }) => variant))].flatMap((variant) =>
    Object.keys(result.targets).map((target) => ({ target, variant })),
  )
  const rows: string[][] = []
  for (const { target, variant } of keys) {
    const all = result.rounds.filter((round) => round.target === target && round.variant === variant)
    if (all.length === 0) continue
    const counted = all.filter(({ invalid }) => invalid === undefined).length
    rows.push([
      [target, variant].filter((part) => part !== '').join(', '),
      counted === all.length ? String(counted) : `${counted} of ${all.length}`,
      ...columns.map(([figure], index) => {
        const values = valuesOf(result.rounds, { target, variant, figure })
        if (values.length === 0) return '–'
        const spread =
          index === 0 && values.length > 1 ? ` (${short(Math.min(...values))}–${short(Math.max(...values))})` : ''
        return `${short(median(values))}${spread}`
      }),
    ])
  }
  print('')
  print(`== ${result.scenario}: medians of the valid rounds (minimum–maximum)`)
  printTable(['target', 'rounds', ...columns.map(([, title]) => title)], rows, print)
  printRatios(result, print)
  for (const note of result.notes) print(`note: ${note}`)
  for (const { round, target, variant, invalid } of result.rounds)
    if (invalid !== undefined) print(`not valid: round ${round} of ${target} ${variant}: ${invalid}`)
}

function printRatios({ scenario, rounds, targets }: ScenarioResult, print: (line: string) => void): void {
  const [figure, title] = columnsOf[scenario]?.[0] ?? ['', '']
  for (const variant of new Set(rounds.map((round) => round.variant))) {
    for (const peer of Object.keys(targets).filter((name) => !name.startsWith('chorus'))) {
      const shared = new Set(rounds.filter(({ target }) => target === peer).map(({ round }) => round))
      const both = rounds.filter(({ round }) => shared.has(round))
      const ratio = pairedRatio(both, { target: 'chorus', peer, variant, figure })
      if (ratio !== undefined)
        print(
          `ratio: chorus ÷ ${peer}${variant && `, ${variant}`}: ${ratio.toFixed(2)} in ${title} (median of paired rounds)`,
        )
    }
  }
}

function printTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  print: (line: string) => void,
): void {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
  print(line(head))
  for (const row of rows) print(line(row))
}

export function short(value: number): string {
  if (value >= 100) return Math.round(value).toLocaleString('en').replaceAll(',', ' ')
  if (value >= 10) return value.toFixed(1)
  return value.toFixed(2)
}
