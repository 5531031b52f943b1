// @vitest-environment happy-dom
import { ChorusError, type ChatClient, type MessageDraft, type PageMessage, type SentMessage } from '@chorus/client'
import { ChatProvider } from '@chorus/react'
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react'
import { createRef } from 'react'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDrafts, type Drafts } from '../drafts/drafts.ts'
import { createStorage } from '../drafts/testing/draft-storage.ts'
import { MeContext } from '../people/me.tsx'
import { Composer, type ComposerHandle } from './composer.tsx'

afterEach(cleanup)

const user = { id: 'me', handle: 'me', name: 'Me', avatar: null, bot: false }
const message: PageMessage = {
  conversation: 'c',
  seq: 7,
  version: 7,
  clientId: 'x',
  sender: 'me',
  text: 'as it was',
  replyTo: null,
  attachments: [],
  data: null,
  createdAt: '2026-11-22T10:00:00Z',
  editedAt: null,
  deletedAt: null,
  reactions: [],
}

interface StageOptions {
  readonly send?: (draft: MessageDraft) => Promise<SentMessage>
  readonly edit?: () => Promise<undefined>
  readonly drafts?: Drafts
}

function createStage(options: StageOptions = {}) {
  const send = vi.fn(
    options.send ?? (async () => ({ clientId: 'x', acknowledged: Promise.resolve({ seq: 1, createdAt: '' }) })),
  )
  const edit = vi.fn(options.edit ?? (async () => undefined))
  const typing = { start: vi.fn(), stop: vi.fn() }
  const client = {
    conversation: () => ({
      messages: {
        send,
        edit,
        get: async () => message,
        view: { get: () => ({ items: [{ kind: 'message', key: 'x', message, isMine: true }] }) },
      },
      typing,
    }),
    users: { observe: () => ({ get: () => user, subscribe: () => () => undefined }) },
  } as unknown as ChatClient
  const drafts = options.drafts ?? createDrafts('me', undefined)
  const handle = createRef<ComposerHandle>()
  const show = (conversation: string) => (
    <ChatProvider client={client}>
      <MeContext value={{ user, drafts }}>
        <Composer key={conversation} ref={handle} conversation={conversation} title='Ada' />
      </MeContext>
    </ChatProvider>
  )
  return { send, edit, typing, drafts, handle, show }
}

const field = (): HTMLTextAreaElement => screen.getByRole('textbox')
const write = (text: string): void => {
  fireEvent.change(field(), { target: { value: text } })
}

describe('the composer', () => {
  it('Enter sends the text unless it is blank; Shift-Enter does not send', async () => {
    const { send, show } = createStage()
    render(show('c'))
    fireEvent.keyDown(field(), { key: 'Enter' })
    write('   ')
    fireEvent.keyDown(field(), { key: 'Enter' })
    write('hello')
    fireEvent.keyDown(field(), { key: 'Enter', shiftKey: true })
    fireEvent.keyDown(field(), { key: 'Enter', isComposing: true })
    expect(send).not.toHaveBeenCalled()
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(send.mock.calls).toEqual([[{ text: 'hello' }]])
    expect(field().value).toBe('')
  })

  it('the composer keeps typed text while another conversation is open', () => {
    const { show, drafts } = createStage()
    const { rerender, unmount } = render(show('c1'))
    write('half a sen')
    rerender(show('c2'))
    expect(field().value).toBe('')
    rerender(show('c1'))
    expect(field().value).toBe('half a sen')
    unmount()
    expect(drafts.read('c1').text).toBe('half a sen')
  })

  it('the text returns to the composer when the outbox cannot store it', async () => {
    const { show } = createStage({ send: () => Promise.reject(new ChorusError('too-large', 'unable to keep; full')) })
    render(show('c'))
    write('precious')
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(field().value).toBe('precious')
  })

  it('text that could not be stored returns to the field, before newer text', async () => {
    let refuse: (error: Error) => void = () => undefined
    const { show } = createStage({ send: () => new Promise((_resolve, reject) => (refuse = reject)) })
    render(show('c'))
    write('precious')
    fireEvent.keyDown(field(), { key: 'Enter' })
    write('newer')
    await act(async () => refuse(new ChorusError('too-large', 'unable to keep; full')))
    expect(field().value).toBe('precious\nnewer')
  })

  it('[APP1] a draft stays in storage until the outbox has stored the message', async () => {
    const storage = createStorage()
    let keep: (sent: SentMessage) => void = () => undefined
    const { show } = createStage({
      drafts: createDrafts('me', storage),
      send: () => new Promise((resolve) => (keep = resolve)),
    })
    render(show('c'))
    write('precious')
    fireEvent.keyDown(field(), { key: 'Enter' })
    expect(field().value).toBe('')
    expect(createDrafts('me', storage).read('c').text).toBe('precious')
    await act(async () => keep({ clientId: 'x', acknowledged: Promise.resolve({ seq: 1, createdAt: '' }) }))
    expect(createDrafts('me', storage).read('c').text).toBe('')
  })

  it('↑ starts an edit of the last message, but only in an empty field', () => {
    const { show } = createStage()
    render(show('c'))
    write('x')
    fireEvent.keyDown(field(), { key: 'ArrowUp' })
    expect(field().value).toBe('x')
    write('')
    fireEvent.keyDown(field(), { key: 'ArrowUp' })
    expect(field().value).toBe('as it was')
  })

  it('[APP1] Enter does not send while an input method composes text', () => {
    const { show, send } = createStage()
    render(show('c'))
    write('にほん')
    fireEvent.keyDown(field(), { key: 'Enter', isComposing: true })
    fireEvent.keyDown(field(), { key: 'Enter', keyCode: 229 })
    expect(send).not.toHaveBeenCalled()
  })

  it('the composer shows the draft again after an edit is saved', async () => {
    const { show, edit, handle } = createStage()
    render(show('c'))
    write('my draft')
    act(() => handle.current?.edit(message))
    expect(field().value).toBe('as it was')
    write('as it is')
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(edit.mock.calls).toEqual([[7, 'as it is']])
    expect(field().value).toBe('my draft')
  })

  it('[APP1] an unfinished edit survives a change of conversation and a reload', () => {
    const storage = createStorage()
    const { show, handle } = createStage({ drafts: createDrafts('me', storage) })
    const { rerender, unmount } = render(show('c1'))
    act(() => handle.current?.edit(message))
    write('half an ed')
    rerender(show('c2'))
    expect(field().value).toBe('')
    rerender(show('c1'))
    expect(field().value).toBe('half an ed')
    unmount()
    render(createStage({ drafts: createDrafts('me', storage) }).show('c1'))
    expect(field().value).toBe('half an ed')
    expect(screen.getByRole('button', { name: 'Save' })).toBeDefined()
  })

  it('[APP1] an edit that the server refuses returns to the composer', async () => {
    let refuse: (error: Error) => void = () => undefined
    const { show, handle } = createStage({ edit: () => new Promise((_resolve, reject) => (refuse = reject)) })
    const { rerender } = render(show('c'))
    act(() => handle.current?.edit(message))
    write('as it is')
    fireEvent.keyDown(field(), { key: 'Enter' })
    expect(field().value).toBe('')
    rerender(show('other'))
    await act(async () => refuse(new ChorusError('unavailable', 'unable to edit; no network')))
    rerender(show('c'))
    expect(field().value).toBe('as it is')
  })

  it('starting a reply keeps an unfinished edit for later', () => {
    const { show, handle } = createStage()
    render(show('c'))
    act(() => handle.current?.edit(message))
    write('half an ed')
    act(() => handle.current?.reply(message))
    expect(field().value).toBe('')
    fireEvent.keyDown(field(), { key: 'Escape' })
    act(() => handle.current?.edit(message))
    expect(field().value).toBe('half an ed')
  })

  it('Escape cancels an edit or a reply; a sent reply refers to its message', async () => {
    const { show, send, drafts, handle } = createStage()
    render(show('c'))
    act(() => handle.current?.edit(message))
    fireEvent.keyDown(field(), { key: 'Escape' })
    expect(field().value).toBe('')
    act(() => handle.current?.reply(message))
    fireEvent.keyDown(field(), { key: 'Escape' })
    expect(drafts.read('c')).toEqual({ text: '' })
    act(() => handle.current?.reply(message))
    write('yes')
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(send.mock.calls).toEqual([[{ text: 'yes', replyTo: 7 }]])
    expect(drafts.read('c').replyTo).toBeUndefined()
  })

  it('the composer shows the changes that another tab makes to the draft', () => {
    const storage = createStorage()
    const { show } = createStage({ drafts: createDrafts('me', storage) })
    const other = createDrafts('me', storage)
    render(show('c'))
    act(() => storage.as(other, 'c', { text: 'from the other tab', replyTo: 7 }))
    expect(field().value).toBe('from the other tab')
    act(() => storage.as(other, 'c', { text: '' }))
    expect(field().value).toBe('')
    expect(storage.length).toBe(0)
  })

  it('the composer reports typing while its field has text', () => {
    const { show, typing } = createStage()
    render(show('c'))
    write('h')
    expect(typing.start).toHaveBeenCalledOnce()
    write('')
    expect(typing.stop).toHaveBeenCalled()
  })

  it('the composer sends no text that exceeds the length limit', () => {
    const { show, send } = createStage()
    render(show('c'))
    write('x'.repeat(20_001))
    fireEvent.keyDown(field(), { key: 'Enter' })
    expect(send).not.toHaveBeenCalled()
    expect(screen.getByRole('button', { name: 'Send' })).toHaveProperty('disabled', true)
    expect(screen.getByRole('status').textContent).toBe('-1')
  })
})
