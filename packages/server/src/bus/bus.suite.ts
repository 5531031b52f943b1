/**
 * Contract suite for every implementation of the bus. The test file of each implementation runs it.
 */
import { afterEach, describe, expect, it } from 'vitest'
import type { LoggedChange } from '../support/logged-change.ts'
import { conversation, memberChange, messageChange } from '../delivery/testing/delivery-fixture.ts'
import type { Bus, BusChannel, BusMessage } from './bus.ts'

export interface BusSuiteOptions {
  /** Opens `count` buses that reach each other, one for each simulated server. */
  readonly open: (count: number) => Promise<Bus[]>
  /** Resolves when every message published so far has arrived or can no longer arrive. */
  readonly settle: () => Promise<void>
}

export function describeBus(name: string, { open, settle }: BusSuiteOptions): void {
  describe(`the ${name} bus`, () => {
    let opened: Bus[] = []
    afterEach(async () => {
      await Promise.all(opened.map((bus) => bus.close()))
    })

    const start = async (count: number) => {
      opened = await open(count)
      return opened.map((bus) => {
        const received: BusMessage[] = []
        // Ignore these live values of other conversations: some test files publish them to see that
        // all earlier messages have arrived.
        bus.onMessage((message) => {
          if (message.kind !== 'live' || message.conversation === conversation) received.push(message)
        })
        return { bus, received }
      })
    }
    const room: BusChannel = `c:${conversation}`
    const user = '01900000-0000-7000-8000-00000000a11c'
    const changes = (...list: readonly LoggedChange[]): BusMessage => ({
      kind: 'changes',
      epoch: 'epoch',
      conversation,
      changes: list,
    })
    const message = (seq: number): BusMessage => changes(messageChange(seq))
    const seqsOf = (messages: readonly BusMessage[]): number[] =>
      messages.flatMap((received) => (received.kind === 'changes' ? received.changes.map(({ seq }) => seq) : []))

    it('[PUB1] the bus delivers only to subscribers of a channel, once confirmed', async () => {
      const [one, two, three] = await start(3)
      await two!.bus.subscribe(room)
      await three!.bus.subscribe('c:01900000-0000-7000-8000-00000000beef')
      one!.bus.publish(room, message(1))
      await settle()
      expect(seqsOf(two!.received)).toEqual([1])
      expect(two!.received[0]).toEqual(message(1))
      expect(three!.received).toEqual([])
    })

    it('[PUB1] publishing never throws, never waits and never calls listeners synchronously', async () => {
      const [one, two] = await start(2)
      await two!.bus.subscribe(room)
      const outcome = one!.bus.publish(room, message(1)) as unknown
      expect(outcome).toBeUndefined()
      expect(two!.received).toEqual([])
      await settle()
      expect(seqsOf(two!.received)).toEqual([1])
      await one!.bus.close()
      expect(() => one!.bus.publish(room, message(2))).not.toThrow()
    })

    it('the bus delivers every kind of message unchanged', async () => {
      const [one, two] = await start(2)
      const messages: (readonly [BusChannel, BusMessage])[] = [
        [room, changes(messageChange(1, 'Grüße 👋'), memberChange(2, 'member.joined', user))],
        [room, { kind: 'live', conversation, json: '{"key":"typing"}' }],
        [`u:${user}`, { kind: 'membership', user, conversation }],
        [`u:${user}`, { kind: 'read-marker', epoch: 'epoch', user, conversation, readSeq: 2, json: '{"readSeq":2}' }],
        [`p:${user}`, { kind: 'presence', user }],
        ['all', { kind: 'revoked', sessions: [user] }],
      ]
      for (const [channel] of messages) await two!.bus.subscribe(channel)
      for (const [channel, sent] of messages) {
        one!.bus.publish(channel, sent)
        await settle()
      }
      expect(two!.received).toEqual(messages.map(([, sent]) => sent))
    })

    it('[NODE1] [ACL1] the bus delivers a burst complete and in order, with membership effects', async () => {
      const [one, two] = await start(2)
      await two!.bus.subscribe(room)
      const sent = Array.from({ length: 500 }, (_, index) =>
        index % 50 === 20
          ? memberChange(index + 1, index % 100 === 20 ? 'member.left' : 'member.joined', user)
          : messageChange(index + 1),
      )
      // Publish single changes, pairs and larger groups in turn.
      for (let at = 0, count = 1; at < sent.length; at += count, count = (count % 7) + 1)
        one!.bus.publish(room, changes(...sent.slice(at, at + count)))
      await settle()
      const arrived = two!.received.flatMap((received) => (received.kind === 'changes' ? received.changes : []))
      expect(arrived).toEqual(sent)
    })

    it('the bus does not deliver a message to its own publisher', async () => {
      const [one, two] = await start(2)
      await one!.bus.subscribe(room)
      await two!.bus.subscribe(room)
      one!.bus.publish(room, { kind: 'live', conversation, json: '{}' })
      await settle()
      expect(two!.received).toHaveLength(1)
      expect(one!.received).toEqual([])
    })

    it('the bus delivers nothing after unsubscribing, and delivers again after resubscribing', async () => {
      const [one, two] = await start(2)
      await two!.bus.subscribe(room)
      two!.bus.unsubscribe(room)
      one!.bus.publish(room, message(1))
      await settle()
      expect(two!.received).toEqual([])
      await two!.bus.subscribe(room)
      one!.bus.publish(room, message(2))
      await settle()
      expect(seqsOf(two!.received)).toEqual([2])
    })

    it('calls a message listener once for each message, even after subscribing twice', async () => {
      const [one, two] = await start(2)
      const heard: number[] = []
      two!.bus.onMessage(({ kind }) => {
        if (kind === 'changes') heard.push(1)
      })
      await two!.bus.subscribe(room)
      await two!.bus.subscribe(room)
      one!.bus.publish(room, message(1))
      await settle()
      expect(heard).toEqual([1])
      expect(two!.bus.degraded()).toBeUndefined()
    })
  })
}
