/** The list of all checker rules, in order. The compiler reports a rule that is missing here. */
import type { Rule, RuleId } from '../rule.ts'
import { lostAcknowledgement } from './a01-lost-acknowledgement.ts'
import { abortedRead } from './a02-aborted-read.ts'
import { phantom } from './a03-phantom.ts'
import { duplicateRow } from './a04-duplicate-row.ts'
import { duplicateDelivery } from './a05-duplicate-delivery.ts'
import { inconsistent } from './a06-inconsistent.ts'
import { hole } from './a07-hole.ts'
import { nonMonotonic } from './a08-non-monotonic.ts'
import { senderOrder } from './a09-sender-order.ts'
import { realTime } from './a10-real-time.ts'
import { staleRead } from './a11-stale-read.ts'
import { leak } from './a12-leak.ts'
import { convergence } from './a13-convergence.ts'
import { falseRefusal } from './a14-false-refusal.ts'
import { presence } from './a15-presence.ts'
import { resources } from './a16-resources.ts'
import { crash } from './a17-crash.ts'

const table: { readonly [Id in RuleId]: Rule } = {
  A1: lostAcknowledgement,
  A2: abortedRead,
  A3: phantom,
  A4: duplicateRow,
  A5: duplicateDelivery,
  A6: inconsistent,
  A7: hole,
  A8: nonMonotonic,
  A9: senderOrder,
  A10: realTime,
  A11: staleRead,
  A12: leak,
  A13: convergence,
  A14: falseRefusal,
  A15: presence,
  A16: resources,
  A17: crash,
}

export const rules: readonly Rule[] = Object.values(table)
