import { describe, expect, it } from 'vitest'
import { createDrafts } from './drafts.ts'

function createStorage(initial: Record<string, string> = {}) {
  const data = new Map(Object.entries(initial))
  return {
    getItem: (key: string) => data.get(key) ?? null,
    setItem: (key: string, value: string) => void data.set(key, value),
  }
}

describe('drafts', () => {
  it('survive a reload, per person and conversation', () => {
    const storage = createStorage()
    createDrafts('ada', storage).write('c1', { text: 'half a sen', replyTo: 3 })
    const again = createDrafts('ada', storage)
    expect(again.read('c1')).toEqual({ text: 'half a sen', replyTo: 3 })
    expect(again.read('c2')).toEqual({ text: '' })
    expect(createDrafts('bob', storage).read('c1')).toEqual({ text: '' })
  })

  it('go when they are empty', () => {
    const storage = createStorage()
    const drafts = createDrafts('ada', storage)
    drafts.write('c1', { text: 'x' })
    drafts.write('c1', { text: '  ' })
    expect(createDrafts('ada', storage).read('c1')).toEqual({ text: '' })
  })

  it('keep the newest 200', () => {
    const drafts = createDrafts('ada', createStorage())
    for (let index = 0; index <= 200; index += 1) drafts.write(`c${index}`, { text: 'x' })
    expect(drafts.read('c0').text).toBe('')
    expect(drafts.read('c1').text).toBe('x')
    expect(drafts.read('c200').text).toBe('x')
  })

  it.each(['not json', '{}', '[1,["c1"],["c1",{"text":1}]]'])('start empty from damaged storage %j', (stored) => {
    expect(createDrafts('ada', createStorage({ 'chorus.drafts.ada': stored })).read('c1')).toEqual({ text: '' })
  })

  it('live in memory when storage refuses', () => {
    const drafts = createDrafts('ada', {
      getItem: () => null,
      setItem: () => {
        throw new Error('quota')
      },
    })
    drafts.write('c1', { text: 'x' })
    expect(drafts.read('c1').text).toBe('x')
  })
})
