// @vitest-environment happy-dom
import { describe, expect, it, vi } from 'vitest'
import { createDrafts, forgetDrafts } from './drafts.ts'
import { createStorage } from './testing/draft-storage.ts'

describe('drafts', () => {
  it('[APP1] a draft survives a reload, per user and conversation', () => {
    const storage = createStorage()
    createDrafts('ada', storage).write('c1', { text: 'half a sen', replyTo: 3 })
    const again = createDrafts('ada', storage)
    expect(again.read('c1')).toEqual({ text: 'half a sen', replyTo: 3 })
    expect(again.read('c2')).toEqual({ text: '' })
    expect(createDrafts('bob', storage).read('c1')).toEqual({ text: '' })
  })

  it('a draft that contains only blanks is removed', () => {
    const storage = createStorage()
    const drafts = createDrafts('ada', storage)
    drafts.write('c1', { text: 'x' })
    drafts.write('c1', { text: '  ' })
    expect(createDrafts('ada', storage).read('c1')).toEqual({ text: '' })
  })

  it('storage keeps only the newest 200 drafts', () => {
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
    'an invalid stored draft is read as an empty draft: %j',
    (stored) => {
      expect(createDrafts('ada', createStorage({ 'chorus.draft.ada.c1': stored })).read('c1')).toEqual({ text: '' })
    },
  )

  it('drafts of earlier versions, stored under one key, are migrated', () => {
    const storage = createStorage({ 'chorus.drafts.ada': '[["c1",{"text":"old","replyTo":2}],["c2",{"text":1}],7]' })
    expect(createDrafts('ada', storage).read('c1')).toEqual({ text: 'old', replyTo: 2 })
    expect(storage.getItem('chorus.drafts.ada')).toBeNull()
  })

  it('[APP1] a tab shows the drafts of another tab and does not overwrite them', () => {
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

  it('[APP1] a draft is cleared after another tab has sent it', () => {
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

  it('[APP1] a draft keeps both texts when two tabs type at once', () => {
    const storage = createStorage()
    const [here, there] = [createDrafts('ada', storage), createDrafts('ada', storage)]
    here.read('c1')
    there.write('c1', { text: 'left', edits: [{ seq: 1, text: 'an edit' }] })
    here.write('c1', { text: 'right', replyTo: 4 })
    const both = { text: 'left\nright', replyTo: 4, edits: [{ seq: 1, text: 'an edit' }] }
    expect(here.read('c1')).toEqual(both)
    expect(createDrafts('ada', storage).read('c1')).toEqual(both)
  })

  it('an edit that was being saved when the page closed is open again', () => {
    const storage = createStorage()
    createDrafts('ada', storage).write('c1', { text: '', edits: [{ seq: 3, text: 'x', state: 'saving' }] })
    expect(createDrafts('ada', storage).read('c1').edits).toEqual([{ seq: 3, text: 'x' }])
  })

  it('signing out removes the drafts of this user only', () => {
    const storage = createStorage()
    for (const user of ['ada', 'bob']) createDrafts(user, storage).write('c1', { text: user })
    forgetDrafts('ada', storage)
    expect(createDrafts('ada', storage).read('c1').text).toBe('')
    expect(createDrafts('bob', storage).read('c1').text).toBe('bob')
  })

  it('a draft stays in memory when the browser storage fails', () => {
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
