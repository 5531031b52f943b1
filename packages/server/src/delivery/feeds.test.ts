/**
 * Tests the feeds of all conversations together: hints of another database epoch, repeated hints,
 * and gap reads during a change of epoch.
 */
import { describe, expect, it } from 'vitest'
import { feedLimits, type GapPage } from './feed.ts'
import type { FeedsOptions } from './feeds.ts'
import { conversation, DeliveryFixture, messageChange } from './testing/delivery-fixture.ts'

describe('feeds and hints of another epoch', () => {
  it('[RES2] [PUB1] drops and reports hints of another database epoch, and accepts its own', async () => {
    let foreign = 0
    const fixture = new DeliveryFixture({ onForeignEpoch: () => foreign++ })
    fixture.appendMessages(2)
    const { transport } = await fixture.subscribe('ada', 0)
    const marker = { user: 'ada', conversation, readSeq: 9, json: '{"readSeq":9}' }
    await fixture.bus.subscribe('u:ada')
    fixture.elsewhere.publish(`c:${conversation}`, {
      kind: 'changes',
      epoch: 'another',
      conversation,
      changes: [messageChange(1, 'of another history')],
    })
    fixture.elsewhere.publish('u:ada', { kind: 'read-marker', epoch: 'another', ...marker })
    await fixture.turn()
    expect(transport.events).toEqual([])
    expect(foreign).toBe(2)
    fixture.hint(1, 2)
    fixture.elsewhere.publish('u:ada', { kind: 'read-marker', epoch: 'epoch', ...marker })
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([1, 2])
    expect(transport.eventsNamed('conversation')).toMatchObject([{ readSeq: 9 }])
    expect(foreign).toBe(2)
  })

  it('ignores a repeated or late read marker', async () => {
    const fixture = new DeliveryFixture()
    const { transport } = await fixture.subscribe('ada', 0)
    await fixture.bus.subscribe('u:ada')
    for (const readSeq of [4, 4, 3, 5, 4])
      fixture.elsewhere.publish('u:ada', {
        kind: 'read-marker',
        epoch: 'epoch',
        user: 'ada',
        conversation,
        readSeq,
        json: JSON.stringify({ readSeq }),
      })
    await fixture.turn()
    expect(transport.eventsNamed('conversation').map(({ readSeq }) => readSeq)).toEqual([4, 5])
  })
})

describe('feeds during a change of epoch', () => {
  /** Opens feeds whose database reads end only when the test lets them. */
  const openWithSlowReads = () => {
    const reads: ((page: GapPage) => void)[] = []
    const readGap: FeedsOptions['readGap'] = () => new Promise((resolve) => reads.push(resolve))
    return { fixture: new DeliveryFixture({ readGap }), reads }
  }

  it('[RES2] delivers nothing from a gap read begun before an epoch change', async () => {
    const { fixture, reads } = openWithSlowReads()
    fixture.appendMessages(3)
    const before = await fixture.subscribe('ada', 0)
    fixture.hint(3)
    await fixture.turn()
    fixture.clock.advance(feedLimits.gapWaitMs)
    await fixture.turn()
    expect(reads).toHaveLength(1)
    fixture.feeds.clear()
    const after = await fixture.subscribe('bob', 0)
    reads[0]?.({ changes: [messageChange(1), messageChange(2), messageChange(3)], asOf: 3, removals: [] })
    await fixture.turn()
    expect(before.transport.events).toEqual([])
    expect(after.transport.events).toEqual([])
    expect(fixture.repaired).toBe(0)
  })

  it('[RES2] drops accepted changes, positions and markers on an epoch change', async () => {
    const fixture = new DeliveryFixture()
    fixture.appendMessages(3)
    const { transport } = await fixture.subscribe('ada', 0)
    fixture.feeds.noteMarker('ada', conversation, 3)
    // Accept the changes, and clear the feeds before the changes are written to the subscribers.
    for (const change of fixture.log) fixture.feeds.get(conversation)?.accept(change)
    fixture.feeds.clear()
    await fixture.turn()
    expect(transport.seqsOf(conversation)).toEqual([])
    expect(fixture.feeds.noteMarker('ada', conversation, 1)).toBe(false)
    // In the new epoch the log begins with a seq below that of the old epoch.
    const { transport: anew } = await fixture.subscribe('bob', 0)
    fixture.hint(1)
    await fixture.turn()
    expect(anew.seqsOf(conversation)).toEqual([1])
  })
})
