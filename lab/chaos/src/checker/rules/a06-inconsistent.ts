/**
 * Checker rule A6: two sources disagree about the change with one sequence number (seq) of a
 * conversation, or about the text of one version of a message. Or an acknowledgement names another
 * seq than the message's row. Compares deliveries, pages and rows.
 */
import type { ChangeKind } from '../../history/index.ts'
import type { History } from '../history.ts'
import type { Findings, PlaceLike, Rule } from '../rule.ts'

interface Fact {
  readonly kind: ChangeKind
  readonly actor: string
  readonly target: number
  readonly file: number
  readonly line: number
}

interface Text {
  readonly hash: number
  readonly file: number
  readonly line: number
}

/**
 * A number larger than every sequence number of a run, so that two of them can be combined to one
 * number.
 */
const seqBase = 2 ** 26

export const inconsistent: Rule = {
  id: 'A6',
  name: 'inconsistent offset',
  unit: 'comparisons',
  needs: 'a change seen in two places, or an acknowledged message with its row',
  blindTo: 'values that are wrong in all places (that is A3)',
  check({ history }, _settings, findings) {
    const { deliveries, names } = history
    const facts = new Map<string, Map<number, Fact>>()
    const texts = new Map<string, Map<number, Text>>()
    const epochs = new Set<number>()

    const compareFact = (log: string, seq: number, fact: Fact) => {
      const known = mapOf(facts, log)
      const other = known.get(seq)
      if (other === undefined) {
        known.set(seq, fact)
        return
      }
      findings.judged += 1
      if (other.kind === fact.kind && other.actor === fact.actor && other.target === fact.target) return
      findings.report(
        () =>
          `seq ${seq} of ${conversationOf(log)} is ${describe(other)} in one place and ${describe(fact)} in another`,
        [other, fact],
      )
    }
    const compareText = (log: string, target: number, version: number, text: Text) => {
      const known = mapOf(texts, log)
      const key = target * seqBase + version
      const other = known.get(key)
      if (other === undefined) {
        known.set(key, text)
        return
      }
      findings.judged += 1
      if (other.hash === text.hash) return
      findings.report(
        () => `message ${target} of ${conversationOf(log)}, version ${version}, has two texts`,
        [other, text],
      )
    }
    const placed = ({ file, line }: PlaceLike) => ({ file, line })

    for (let index = 0; index < deliveries.length; index++) {
      const delivery = deliveries.at(index)
      epochs.add(delivery.epoch)
      if (delivery.kind === 's') continue
      const log = `${delivery.epoch} ${names.nameOf(delivery.conversation)}`
      const { kind, target, version, hash } = delivery
      compareFact(log, delivery.seq, { kind, actor: names.nameOf(delivery.actor), target, ...placed(delivery) })
      if (kind === 'c' || kind === 'e' || kind === 'd') compareText(log, target, version, { hash, ...placed(delivery) })
    }
    // Pages and rows do not name their epoch (which identifies one database). In a run with several
    // epochs it is unknown which one they belong to, so they are not compared.
    if (epochs.size <= 1) {
      const [epoch = -1] = epochs
      for (const page of history.pages) {
        const log = `${epoch} ${page.invoke.conversation}`
        for (const { seq, version, sender, hash } of page.page.items) {
          compareFact(log, seq, { kind: 'c', actor: sender, target: seq, ...placed(page) })
          compareText(log, seq, version, { hash, ...placed(page) })
        }
      }
      for (const [conversation, rows] of history.rows) {
        const log = `${epoch} ${conversation}`
        for (const row of rows) {
          if (row.kind === 's') continue
          compareFact(log, row.seq, { kind: row.kind, actor: row.actor, target: row.target, ...placed(row) })
          if (row.kind === 'c') compareText(log, row.seq, row.version, { hash: row.hash, ...placed(row) })
        }
      }
    }
    compareAcknowledgements(history, findings)
  },
}

/** Compares the seq of each acknowledgement with the seq of the message's row. */
function compareAcknowledgements(history: History, findings: Findings): void {
  for (const send of history.sends.values()) {
    const { row } = send
    if (row === undefined) continue
    for (const attempt of send.attempts) {
      const seq = attempt.outcome?.seq
      if (seq === undefined) continue
      findings.judged += 1
      if (seq === row.seq) continue
      findings.report(
        () => `message ${send.clientId} was acknowledged as seq ${seq}, and its row is seq ${row.seq}`,
        [attempt, row],
        attempt.outcome?.t,
      )
    }
  }
}

function mapOf<Value>(maps: Map<string, Map<number, Value>>, key: string): Map<number, Value> {
  const known = maps.get(key)
  if (known !== undefined) return known
  const made = new Map<number, Value>()
  maps.set(key, made)
  return made
}

function conversationOf(log: string): string {
  return log.slice(log.indexOf(' ') + 1)
}

function describe({ kind, actor, target }: Fact): string {
  return `${kind} ${target} by ${actor}`
}
