// @vitest-environment happy-dom
import { ChorusError, type ChatClient, type MessageDraft, type PageMessage, type SentMessage } from '@chorus/client'
import { ChatProvider } from '@chorus/react'
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react'
import { createRef } from 'react'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { MeContext } from '../shell/me.tsx'
import { Composer, type ComposerHandle, type Writing } from './composer.tsx'
import { createDrafts, type Drafts } from './drafts.ts'

afterEach(cleanup)

const user = { id: 'me', handle: 'me', name: 'Me', avatar: null }
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

function createStage(options: { readonly send?: (draft: MessageDraft) => Promise<SentMessage> } = {}) {
  const send = vi.fn(
    options.send ?? (async () => ({ clientId: 'x', acknowledged: Promise.resolve({ seq: 1, createdAt: '' }) })),
  )
  const edit = vi.fn(async () => undefined)
  const typing = { start: vi.fn(), stop: vi.fn() }
  const client = {
    conversation: () => ({ messages: { send, edit }, typing }),
    users: { observe: () => ({ get: () => user, subscribe: () => () => undefined }) },
  } as unknown as ChatClient
  const drafts: Drafts = createDrafts('me', undefined)
  const onWriting = vi.fn()
  const onEditLast = vi.fn(() => true)
  const onReplyTo = vi.fn()
  const show = (conversation: string, writing: Writing = { mode: 'new' }, replyTo?: PageMessage) => (
    <ChatProvider client={client}>
      <MeContext value={{ user, drafts }}>
        <Composer
          key={conversation}
          ref={createRef<ComposerHandle>()}
          conversation={conversation}
          title='Ada'
          writing={writing}
          replyTo={replyTo}
          onReplyTo={onReplyTo}
          onWriting={onWriting}
          onEditLast={onEditLast}
        />
      </MeContext>
    </ChatProvider>
  )
  return { send, edit, typing, drafts, onWriting, onEditLast, onReplyTo, show }
}

const field = (): HTMLTextAreaElement => screen.getByRole('textbox')
const write = (text: string): void => {
  fireEvent.change(field(), { target: { value: text } })
}

describe('the composer', () => {
  it('sends with Enter, breaks the line with Shift-Enter, and sends nothing that is blank', async () => {
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

  it('never loses what was typed: another conversation and back, or a new page', () => {
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

  it('gives back what could not even be kept on this device', async () => {
    const { show } = createStage({ send: () => Promise.reject(new ChorusError('too-large', 'unable to keep; full')) })
    render(show('c'))
    write('precious')
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(field().value).toBe('precious')
  })

  it('edits the last message with ↑ in an empty field only', () => {
    const { show, onEditLast } = createStage()
    render(show('c'))
    write('x')
    fireEvent.keyDown(field(), { key: 'ArrowUp' })
    expect(onEditLast).not.toHaveBeenCalled()
    write('')
    fireEvent.keyDown(field(), { key: 'ArrowUp' })
    expect(onEditLast).toHaveBeenCalledOnce()
  })

  it('borrows the field for an edit and gives the draft back', async () => {
    const { show, edit, onWriting } = createStage()
    const { rerender } = render(show('c'))
    write('my draft')
    rerender(show('c', { mode: 'edit', message }))
    expect(field().value).toBe('as it was')
    write('as it is')
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(edit.mock.calls).toEqual([[7, 'as it is']])
    expect(onWriting).toHaveBeenCalledWith({ mode: 'new' })
    rerender(show('c'))
    expect(field().value).toBe('my draft')
  })

  it('gives up an edit or a reply with Escape, and names the answered message when it sends', async () => {
    const { show, send, onWriting, onReplyTo } = createStage()
    const { rerender } = render(show('c', { mode: 'edit', message }))
    fireEvent.keyDown(field(), { key: 'Escape' })
    expect(onWriting).toHaveBeenCalledWith({ mode: 'new' })
    rerender(show('c', { mode: 'new' }, message))
    fireEvent.keyDown(field(), { key: 'Escape' })
    expect(onReplyTo).toHaveBeenCalledWith(undefined)
    write('yes')
    await act(async () => {
      fireEvent.keyDown(field(), { key: 'Enter' })
    })
    expect(send.mock.calls).toEqual([[{ text: 'yes', replyTo: 7 }]])
  })

  it('says that somebody is typing, and stops with the text', () => {
    const { show, typing } = createStage()
    render(show('c'))
    write('h')
    expect(typing.start).toHaveBeenCalledOnce()
    write('')
    expect(typing.stop).toHaveBeenCalled()
  })

  it('refuses what is over the limit before the server would', () => {
    const { show, send } = createStage()
    render(show('c'))
    write('x'.repeat(20_001))
    fireEvent.keyDown(field(), { key: 'Enter' })
    expect(send).not.toHaveBeenCalled()
    expect(screen.getByRole('button', { name: 'Send' })).toHaveProperty('disabled', true)
    expect(screen.getByRole('status').textContent).toBe('-1')
  })
})
