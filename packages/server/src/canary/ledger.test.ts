/** Tests how the canary counts received messages and lost, doubled and reordered ones. */
import { describe, expect, it } from 'vitest'
import { CanaryLedger, ledgerLimits } from './ledger.ts'

function open() {
  const said: string[] = []
  const ledger = new CanaryLedger({
    received: (from) => void said.push(`received ${from}`),
    lost: (from) => void said.push(`lost ${from}`),
    doubled: (from) => void said.push(`doubled ${from}`),
    reordered: (from) => void said.push(`reordered ${from}`),
  })
  let seq = 0
  return {
    ledger,
    said: () => said.splice(0),
    receive: (from: string, number: number, at = 0, own = ++seq) =>
      ledger.receive(own, { from, boot: `boot of ${from}`, number }, at),
    seq: () => seq,
  }
}

describe('the ledger of the canary', () => {
  it('reports no problem for ordered canary messages from several servers', () => {
    const { receive, said, ledger } = open()
    for (const number of [5, 6, 7]) {
      receive('a', number)
      receive('b', number + 10)
    }
    ledger.settle(ledgerLimits.lostAfterMs * 2)
    expect(new Set(said())).toEqual(new Set(['received a', 'received b']))
  })

  it('waits for skipped message numbers, then counts each as lost once', () => {
    const { receive, said, ledger } = open()
    receive('a', 1)
    receive('a', 4, 1_000)
    said()
    ledger.settle(1_000 + ledgerLimits.lostAfterMs - 1)
    expect(said()).toEqual([])
    ledger.settle(1_000 + ledgerLimits.lostAfterMs)
    ledger.settle(1_000 + ledgerLimits.lostAfterMs * 2)
    expect(said()).toEqual(['lost a', 'lost a'])
  })

  it('counts a late message number as out of order, not as lost', () => {
    const { receive, said, ledger } = open()
    for (const number of [1, 3, 2, 4]) receive('a', number)
    ledger.settle(ledgerLimits.lostAfterMs * 2)
    expect(said().filter((line) => !line.startsWith('received'))).toEqual(['reordered a'])
  })

  it('counts a seq received twice as doubled, but not the repeats of a resume', () => {
    const { receive, said, ledger, seq } = open()
    receive('a', 1)
    receive('a', 2)
    expect(receive('a', 2, 0, seq())).toBe(false)
    ledger.resume()
    expect(receive('a', 2, 0, seq())).toBe(false)
    receive('a', 3)
    expect(receive('a', 3, 0, seq())).toBe(false)
    expect(said()).toEqual(['received a', 'received a', 'doubled a', 'received a', 'doubled a'])
  })

  it('starts counting again when a server restarts or the database epoch changes', () => {
    const { ledger, said, receive } = open()
    receive('a', 100)
    ledger.receive(50, { from: 'a', boot: 'another', number: 1 }, 0)
    ledger.restart()
    ledger.receive(3, { from: 'a', boot: 'boot of a', number: 90 }, 0)
    ledger.settle(ledgerLimits.lostAfterMs * 2)
    expect(said()).toEqual(['received a', 'received a', 'received a'])
  })

  it('[LIM1] bounds the number of server starts and of skipped numbers', () => {
    const { ledger, said, receive } = open()
    receive('a', 1)
    receive('a', ledgerLimits.missingMax + 12)
    expect(said().filter((line) => line === 'lost a')).toHaveLength(10)
    ledger.settle(ledgerLimits.lostAfterMs)
    expect(said()).toHaveLength(ledgerLimits.missingMax)
  })
})
