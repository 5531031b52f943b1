// @vitest-environment happy-dom
import { describe, expect, it, vi } from 'vitest'
import { createDrafts, forgetDrafts } from './drafts.ts'
import { createStorage } from './testing/draft-storage.ts'

describe('drafts', () => {
  it('[APP1] keeps a draft across reloads, per user and conversation', () => {
    const storage = createStorage()
    createDrafts('ada', storage).write('c1', { text: 'half a sen', replyTo: 3 })
    const again = createDrafts('ada', storage)
    expect(again.read('c1')).toEqual({ text: 'half a sen', replyTo: 3 })
    expect(again.read('c2')).toEqual({ text: '' })
    expect(createDrafts('bob', storage).read('c1')).toEqual({ text: '' })
  })

  it('removes an empty draft', () => {
    const storage = createStorage()
    const drafts = createDrafts('ada', storage)
    drafts.write('c1', { text: 'x' })
    drafts.write('c1', { text: '  ' })
    expect(createDrafts('ada', storage).read('c1')).toEqual({ text: '' })
  })

  it('keeps the newest 200 drafts', () => {
    const storage = createStorage()
    const drafts = createDrafts('ada', storage)
    for (let index = 0; index <= 200; index += 1) drafts.write(`c${index}`, { text: 'x' })
    const again = createDrafts('ada', storage)
    expect(again.read('c0').text).toBe('')
    expect(again.read('c1').text).toBe('x')
    expect(again.read('c200').text).toBe('x')
    expect(storage.length).toBe(200)
  })

  it.each(['not json', '{}', '[]', 'null', '{"text":1}', '{"text":"","edits":[1,{"seq":"1","text":""}]}'])(
    'starts empty when storage holds invalid data: %j',
    (stored) => {
      expect(createDrafts('ada', createStorage({ 'chorus.draft.ada.c1': stored })).read('c1')).toEqual({ text: '' })
    },
  )

  it('migrates drafts from the single key of earlier versions', () => {
    const storage = createStorage({ 'chorus.drafts.ada': '[["c1",{"text":"old","replyTo":2}],["c2",{"text":1}],7]' })
    expect(createDrafts('ada', storage).read('c1')).toEqual({ text: 'old', replyTo: 2 })
    expect(storage.getItem('chorus.drafts.ada')).toBeNull()
  })

  it('[APP1] shares drafts between tabs, and keeps those of the other tab', () => {
    const storage = createStorage()
    const [here, there] = [createDrafts('ada', storage), createDrafts('ada', storage)]
    const listener = vi.fn()
    here.subscribe(listener)
    expect(here.read('c1').text).toBe('')
    storage.as(there, 'c1', { text: 'typed there' })
    expect(listener).toHaveBeenCalled()
    here.write('c2', { text: 'typed here' })
    expect(here.read('c1').text).toBe('typed there')
    expect(createDrafts('ada', storage).read('c1').text).toBe('typed there')
  })

  it('[APP1] clears a draft that another tab has sent', () => {
    const storage = createStorage()
    const [here, there] = [createDrafts('ada', storage), createDrafts('ada', storage)]
    here.subscribe(() => undefined)
    storage.as(there, 'c1', { text: 'to be sent' })
    expect(here.read('c1').text).toBe('to be sent')
    storage.as(there, 'c1', { text: '' })
    here.write('c2', { text: 'x' })
    expect(here.read('c1').text).toBe('')
    expect(createDrafts('ada', storage).read('c1').text).toBe('')
  })

  it('[APP1] keeps both texts when two tabs type at the same time', () => {
    const storage = createStorage()
    const [here, there] = [createDrafts('ada', storage), createDrafts('ada', storage)]
    here.read('c1')
    there.write('c1', { text: 'left', edits: [{ seq: 1, text: 'an edit' }] })
    here.write('c1', { text: 'right', replyTo: 4 })
    const both = { text: 'left\nright', replyTo: 4, edits: [{ seq: 1, text: 'an edit' }] }
    expect(here.read('c1')).toEqual(both)
    expect(createDrafts('ada', storage).read('c1')).toEqual(both)
  })

  it('reopens an edit that was being saved when the page closed', () => {
    const storage = createStorage()
    createDrafts('ada', storage).write('c1', { text: '', edits: [{ seq: 3, text: 'x', state: 'saving' }] })
    expect(createDrafts('ada', storage).read('c1').edits).toEqual([{ seq: 3, text: 'x' }])
  })

  it('removes the drafts of a user at sign-out', () => {
    const storage = createStorage()
    for (const user of ['ada', 'bob']) createDrafts(user, storage).write('c1', { text: user })
    forgetDrafts('ada', storage)
    expect(createDrafts('ada', storage).read('c1').text).toBe('')
    expect(createDrafts('bob', storage).read('c1').text).toBe('bob')
  })

  it('keeps drafts in memory when storage fails', () => {
    const drafts = createDrafts('ada', {
      ...createStorage(),
      setItem: () => {
        throw new Error('quota')
      },
    })
    drafts.write('c1', { text: 'x' })
    expect(drafts.read('c1').text).toBe('x')
  })
})
