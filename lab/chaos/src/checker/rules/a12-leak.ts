/**
 * Checker rule A12: a client received data that it must not see.
 *
 * - After a removal with sequence number (seq) k, no delivery or page may contain a seq or version
 *   above k, until a new membership was at least requested.
 * - After the removal was acknowledged, no page may arrive at all.
 * - Some time after the removal (`liveBoundMs`), no live value such as typing may arrive.
 * - Users who were never members receive nothing, and no row of a non-member is stored.
 * - Some time after a session was revoked, it has no delivery, no page and no open connection.
 *
 * Removals are judged by the rows of the log, which needs no clock. Revocations can only be judged
 * by time. Their maximum time is longer while Redis is down, and starts again when a fault that was
 * active in between is healed.
 */
import type { Micros } from '../../history/index.ts'
import type { Facts } from '../facts.ts'
import type { History, Operation } from '../history.ts'
import { isMemberAt, limitAt, type Membership } from '../memberships.ts'
import type { CheckSettings, Findings, Rule } from '../rule.ts'

export const leak: Rule = {
  id: 'A12',
  name: 'leak',
  unit: 'deliveries, pages, live values and rows',
  needs: 'rows of the dump, and deliveries or pages',
  blindTo: 'attachments, previews and search; changes that arrived on a revoked connection within the bound',
  check(facts, settings, findings) {
    const { history } = facts
    if (history.rowCount > 0) {
      checkDeliveries(facts, findings)
      checkPages(facts, findings)
      checkLiveValues(facts, settings, findings)
      checkRows(facts, findings)
    }
    const revocations = checkRevocations(facts, settings, findings)
    const removals = history.operations.filter(
      ({ invoke, outcome }) => isDone(outcome) && invoke.op === 'member-remove',
    )
    findings.note = `${removals.length} removals and ${revocations} revocations were acknowledged`
  },
}

function isDone(outcome: Operation['outcome']): boolean {
  return outcome?.type === 'ok'
}

function checkDeliveries({ history, memberships }: Facts, findings: Findings): void {
  const { deliveries, names } = history
  const known = new Map<number, { readonly user: string; readonly membership: Membership } | undefined>()
  for (let index = 0; index < deliveries.length; index++) {
    const delivery = deliveries.at(index)
    const key = delivery.observer * names.size + delivery.conversation
    let pair = known.get(key)
    if (pair === undefined && !known.has(key)) {
      const user = history.observers.get(names.nameOf(delivery.observer))?.user
      const conversation = names.nameOf(delivery.conversation)
      pair =
        user === undefined || !history.rows.has(conversation)
          ? undefined
          : { user, membership: memberships.of(conversation, user) }
      known.set(key, pair)
    }
    if (pair === undefined) continue
    findings.judged += 1
    const newest = Math.max(delivery.seq, delivery.version)
    const limit = limitAt(pair.membership, delivery.t)
    if (newest <= limit) continue
    const { user } = pair
    findings.report(
      () =>
        `${names.nameOf(delivery.observer)} of ${user} received seq ${delivery.seq} (version ${delivery.version}) of ${names.nameOf(delivery.conversation)}; ${describeLimit(limit)}`,
      [delivery],
      delivery.t,
    )
  }
}

function checkPages({ history, memberships }: Facts, findings: Findings): void {
  for (const page of history.pages) {
    const { conversation, user, process, t: askedT } = page.invoke
    if (!history.rows.has(conversation)) continue
    const membership = memberships.of(conversation, user)
    findings.judged += 1
    const limit = limitAt(membership, page.t)
    const shown = page.page.items.find(({ seq, version }) => Math.max(seq, version) > limit)
    if (shown !== undefined) {
      findings.report(
        () =>
          `${process} of ${user} read seq ${shown.seq} (version ${shown.version}) of ${conversation}; ${describeLimit(limit)}`,
        [page],
        page.t,
      )
      continue
    }
    const removal = membership.removals.find(({ seq, notAfterT }) => seq === limit && notAfterT < askedT)
    if (removal === undefined) continue
    findings.report(
      () =>
        `${process} of ${user} asked for a page of ${conversation} after the removal at seq ${removal.seq}, and got one`,
      [page],
      page.t,
    )
  }
}

function checkLiveValues(
  { history, memberships, disturbed }: Facts,
  { liveBoundMs, slackMs }: CheckSettings,
  findings: Findings,
): void {
  const boundMicros = (liveBoundMs + slackMs) * 1_000
  for (const live of history.lives) {
    const user = history.observers.get(live.observer)?.user
    if (user === undefined || !history.rows.has(live.conversation)) continue
    findings.judged += 1
    const membership = memberships.of(live.conversation, user)
    const limit = limitAt(membership, live.t)
    if (limit === Number.POSITIVE_INFINITY) continue
    const removedT = membership.removals.find(({ seq }) => seq === limit)?.notAfterT ?? Number.NEGATIVE_INFINITY
    if (live.t <= removedT + boundMicros) continue
    // While a fault is active, a server may learn of the removal late.
    const isDisturbed = disturbed.some(
      ({ startT, healT, boundMs }) => startT <= live.t && healT + boundMs * 1_000 >= removedT,
    )
    if (isDisturbed) continue
    findings.report(
      () => `${live.observer} of ${user} received a live value of ${live.conversation}; ${describeLimit(limit)}`,
      [live],
      live.t,
    )
  }
}

function checkRows({ history, memberships }: Facts, findings: Findings): void {
  for (const [conversation, rows] of history.rows) {
    for (const row of rows) {
      if (row.kind !== 'c' && row.kind !== 'e' && row.kind !== 'd' && row.kind !== '+' && row.kind !== '-') continue
      findings.judged += 1
      if (isMemberAt(memberships.of(conversation, row.actor), row.seq)) continue
      findings.report(
        () => `seq ${row.seq} of ${conversation} was stored for ${row.actor}, who was not a member at that time`,
        [row],
      )
    }
  }
}

/** Checks all revoked sessions and returns their number. */
function checkRevocations(facts: Facts, settings: CheckSettings, findings: Findings): number {
  const { history } = facts
  const overT = new Map<string, Micros>()
  for (const { invoke, outcome } of history.operations) {
    if (invoke.op !== 'revoke' || outcome?.type !== 'ok') continue
    overT.set(invoke.session, revocationOverT(facts, settings, outcome.t))
  }
  if (overT.size === 0) return 0

  const { deliveries, names } = history
  const overTOfObserver = new Map<number, Micros | undefined>()
  for (let index = 0; index < deliveries.length; index++) {
    const delivery = deliveries.at(index)
    let t = overTOfObserver.get(delivery.observer)
    if (t === undefined && !overTOfObserver.has(delivery.observer)) {
      const session = history.observers.get(names.nameOf(delivery.observer))?.session
      t = session === undefined ? undefined : overT.get(session)
      overTOfObserver.set(delivery.observer, t)
    }
    if (t === undefined || delivery.t <= t) continue
    const dueT = t
    findings.report(
      () =>
        `${names.nameOf(delivery.observer)} received seq ${delivery.seq} of ${names.nameOf(delivery.conversation)}; its session should have ended at ${history.secondsOf(dueT)} s`,
      [delivery],
      delivery.t,
    )
  }
  for (const page of history.pages) {
    const t = page.invoke.session === undefined ? undefined : overT.get(page.invoke.session)
    if (t === undefined || page.invoke.t <= t) continue
    findings.report(() => `${page.invoke.process} read a page with a session that should have ended`, [page], page.t)
  }
  for (const { opened, closedT, session } of openConnections(history)) {
    const t = overT.get(session)
    if (t === undefined) continue
    findings.judged += 1
    if (closedT <= t || opened.t > closedT) continue
    // A client whose network is broken notices late that its session has ended.
    if (
      facts.faultSpans.some(
        ({ affects, startT, healT }) => affects.includes('client') && startT <= t && healT >= opened.t,
      )
    )
      continue
    findings.report(
      () =>
        `connection ${opened.connection} stayed open after its session should have ended at ${history.secondsOf(t)} s`,
      [opened],
      closedT === Number.POSITIVE_INFINITY ? undefined : closedT,
    )
  }
  return overT.size
}

/** Returns the time from which on a revoked session must not work anywhere. */
function revocationOverT({ faultSpans, stalls }: Facts, settings: CheckSettings, revokedT: Micros): Micros {
  const slackMicros = settings.slackMs * 1_000
  const boundT = revokedT + settings.revokeBoundMs * 1_000 + slackMicros
  let overT = boundT
  for (const { affects, startT, healT } of [...faultSpans, ...stalls]) {
    if (startT > boundT || healT + slackMicros < revokedT) continue
    if (affects.includes('redis')) {
      overT = Math.max(overT, revokedT + settings.revokeBoundWithoutRedisMs * 1_000 + slackMicros)
    }
    overT = Math.max(overT, healT + settings.revokeBoundMs * 1_000 + slackMicros)
  }
  return overT
}

function openConnections(
  history: History,
): readonly { readonly opened: History['connections'][number]; readonly closedT: Micros; readonly session: string }[] {
  const opened = new Map<string, History['connections'][number]>()
  const lives: { opened: History['connections'][number]; closedT: Micros; session: string }[] = []
  for (const event of history.connections) {
    switch (event.state) {
      case 'open':
      case 'ready':
        if (!opened.has(event.connection)) opened.set(event.connection, event)
        break
      case 'closing':
      case 'closed': {
        const begun = opened.get(event.connection)
        if (begun === undefined) break
        opened.delete(event.connection)
        lives.push({ opened: begun, closedT: event.t, session: begun.session })
        break
      }
      case 'reset':
      case 'moving':
        break
    }
  }
  for (const begun of opened.values()) {
    lives.push({ opened: begun, closedT: Number.POSITIVE_INFINITY, session: begun.session })
  }
  return lives
}

function describeLimit(limit: number): string {
  return limit === 0 ? 'the user had not joined' : `the user was removed at seq ${limit}`
}
