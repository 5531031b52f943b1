/** Starts the pre-send hook and the reads that its questions need. */
import { ChorusError } from '@chorus/protocol'
import type { Parts } from '../commands/parts.ts'
import { PreSendHook } from '../hook/pre-send-hook.ts'
import { type HookFactsRequest, readHookFacts } from '../log/read-hook-facts.ts'
import { Batcher } from '../support/batcher.ts'
import type { StartContext } from './start-context.ts'
import type { Store } from './start-store.ts'

export async function startHook(
  { config, clock, lifecycle, logger, metrics }: StartContext,
  { database, time }: Store,
): Promise<Pick<Parts, 'hook' | 'hookFacts'>> {
  const hookFacts = new Batcher({
    run: (requests: readonly HookFactsRequest[]) => readHookFacts(database, requests),
    batchMax: 200,
    waitingMax: 10_000,
    refusal: () =>
      new ChorusError('unavailable', 'unable to check the message; too many messages are waiting', {
        retryAfterMs: 1_000,
      }),
  })
  const { preSendHookUrl: url, preSendHookSecret: secret, preSendHookFailure: failure } = config
  if (url === undefined || secret === undefined) return { hook: undefined, hookFacts }
  const hook = new PreSendHook({ url, secret, failure, clock, now: () => time.now(), logger, metrics })
  await lifecycle.start({ name: 'hook', stop: async () => hook.stop() })
  return { hook, hookFacts }
}
