/**
 * Checker rule A3: a client saw a text that no client wrote in this form. Either no sent or edited
 * message of the history has the text, or the text was written in another conversation or by
 * another user. Checks deliveries, pages and rows of the log.
 */
import type { History } from '../history.ts'
import type { PlaceLike, Rule } from '../rule.ts'

interface Written {
  readonly conversation: string
  /** Sender of a sent message. Undefined for an edit, which keeps the message's own sender. */
  readonly sender: string | undefined
  /** Sequence number (seq) of the edited message; undefined for a sent message. */
  readonly target: number | undefined
}

/** A text of a message in a delivery, a page or a row of the log. */
interface Seen {
  readonly conversation: string
  readonly target: number
  readonly hash: number
  readonly sender: string | undefined
}

export const phantom: Rule = {
  id: 'A3',
  name: 'phantom or corrupt',
  unit: 'texts seen',
  needs: 'sends, and deliveries, pages or rows of messages',
  blindTo: 'other fields than the text: replyTo, data, times; texts are compared by hash',
  check({ history }, _settings, findings) {
    const { written, deletions } = collectWritten(history)
    if (written.size === 0) return

    const judge = (seen: Seen, who: () => string, places: readonly PlaceLike[], t?: number) => {
      findings.judged += 1
      const problem = findProblem(seen, written, deletions)
      if (problem === undefined) return
      findings.report(() => `${who()} message ${seen.target} of ${seen.conversation} ${problem()}`, places, t)
    }

    const { deliveries, names } = history
    for (let index = 0; index < deliveries.length; index++) {
      const delivery = deliveries.at(index)
      if (delivery.kind !== 'c' && delivery.kind !== 'e' && delivery.kind !== 'd') continue
      judge(
        {
          conversation: names.nameOf(delivery.conversation),
          target: delivery.target,
          hash: delivery.hash,
          // The user who edits or deletes a message need not be its sender, so only a new message's
          // sender is checked.
          sender: delivery.kind === 'c' ? names.nameOf(delivery.actor) : undefined,
        },
        () => `${names.nameOf(delivery.observer)} received`,
        [delivery],
        delivery.t,
      )
    }
    for (const page of history.pages) {
      const { conversation, process } = page.invoke
      for (const { seq, hash, sender } of page.page.items) {
        judge({ conversation, target: seq, hash, sender }, () => `${process} read`, [page], page.t)
      }
    }
    for (const [conversation, rows] of history.rows) {
      for (const row of rows) {
        if (row.kind !== 'c') continue
        judge({ conversation, target: row.seq, hash: row.hash, sender: row.actor }, () => 'the log holds', [row])
      }
    }
  },
}

/** Collects the texts that clients sent, by hash, and the messages that they deleted. */
function collectWritten(history: History) {
  const written = new Map<number, Written>()
  const deletions = new Set<string>()
  for (const { hash, user, conversation } of history.sends.values()) {
    written.set(hash, { conversation, sender: user, target: undefined })
  }
  for (const { invoke } of history.operations) {
    if (invoke.op === 'edit') {
      written.set(invoke.hash, { conversation: invoke.conversation, sender: undefined, target: invoke.target })
    } else if (invoke.op === 'delete') deletions.add(`${invoke.conversation} ${invoke.target}`)
  }
  return { written, deletions }
}

/** Returns what is wrong with a text, or undefined if a client wrote it in this form. */
function findProblem(
  { conversation, target, hash, sender }: Seen,
  written: ReadonlyMap<number, Written>,
  deletions: ReadonlySet<string>,
): (() => string) | undefined {
  if (hash === 0) {
    if (deletions.has(`${conversation} ${target}`)) return undefined
    return () => 'without its text, although it was not deleted'
  }
  const source = written.get(hash)
  if (source === undefined) return () => 'with a text that no user wrote'
  if (source.conversation !== conversation || (source.target !== undefined && source.target !== target)) {
    return () => `with a text written for ${source.target ?? 'a message'} of ${source.conversation}`
  }
  if (source.sender !== undefined && sender !== undefined && source.sender !== sender) {
    return () => `as if sent by ${sender}; ${source.sender ?? '?'} wrote it`
  }
  return undefined
}
