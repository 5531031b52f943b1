// @vitest-environment happy-dom
import type {
  ChatClient,
  ConnectionStatus,
  ConversationSummary,
  Observable,
  Presence,
  SessionState,
  TimelineView,
  User,
} from '@chorus/client'
import { createChatClient } from '@chorus/client'
import { act, cleanup, render, renderHook, screen } from '@testing-library/react'
import { Profiler, StrictMode, type ReactNode } from 'react'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  ChatProvider,
  useChat,
  useConnection,
  useConversation,
  useConversationPresence,
  useConversationUnread,
  useConversations,
  useLiveValues,
  useMembers,
  useMessages,
  useOutbox,
  usePresence,
  useReadMarkers,
  useSession,
  useStorage,
  useTyping,
  useUnread,
  useUser,
} from './index.ts'

interface TestCell<Value> extends Observable<Value> {
  readonly set: (value: Value) => void
  readonly watchers: () => number
}

/** Creates an observable like the client's: it notifies listeners at most once per microtask. */
function cell<Value>(initial: Value): TestCell<Value> {
  let value = initial
  let isScheduled = false
  const listeners = new Set<() => void>()
  return {
    get: () => value,
    set(next) {
      value = next
      if (isScheduled) return
      isScheduled = true
      queueMicrotask(() => {
        isScheduled = false
        for (const listener of [...listeners]) listener()
      })
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    watchers: () => listeners.size,
  }
}

function createStage() {
  const cells = {
    session: cell<SessionState>({ status: 'unknown' }),
    connection: cell<ConnectionStatus>({ state: 'idle' }),
    conversations: cell<readonly ConversationSummary[]>([]),
    unread: cell(0),
    summary: cell<ConversationSummary | undefined>(undefined),
    view: cell<TimelineView>({ items: [], isLoaded: false, hasOlder: false, hasNewer: false, loading: 'newest' }),
    typing: cell<readonly string[]>([]),
    ada: cell<User | undefined>(undefined),
    bob: cell<User | undefined>({ id: 'bob', handle: 'bob', name: 'Bob', avatar: null, bot: false }),
    presence: cell<Presence>({ user: 'ada', status: 'unknown', lastSeen: null }),
  }
  const handles = { summary: cells.summary }
  const observeUser = vi.fn((id: string) => (id === 'ada' ? cells.ada : cells.bob))
  const conversation = {
    id: 'c',
    get summary() {
      return handles.summary
    },
    messages: { view: cells.view },
    typing: { users: cells.typing },
  }
  const client = {
    session: cells.session,
    connection: cells.connection,
    conversations: cells.conversations,
    unread: cells.unread,
    users: { observe: observeUser },
    presence: { observe: () => cells.presence },
    conversation: () => conversation,
  } as unknown as ChatClient
  const wrapper = ({ children }: { readonly children: ReactNode }) => (
    <StrictMode>
      <ChatProvider client={client}>{children}</ChatProvider>
    </StrictMode>
  )
  return { cells: { ...cells, handles }, client, wrapper, observeUser }
}

const settle = (change: () => void): Promise<void> =>
  act(async () => {
    change()
    await Promise.resolve()
  })

afterEach(cleanup)

describe('the React hooks', () => {
  it('`useChat` returns the client, and throws without a provider', () => {
    const { client, wrapper } = createStage()
    expect(renderHook(() => useChat(), { wrapper }).result.current).toBe(client)
    const quiet = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    expect(() => renderHook(() => useChat())).toThrow(
      'unable to find the chat client; wrap this component in a ChatProvider',
    )
    quiet.mockRestore()
  })

  it('a hook returns the same object as the client, before and after a change', async () => {
    const { cells, wrapper } = createStage()
    const { result } = renderHook(() => useConnection(), { wrapper })
    expect(result.current).toEqual({ state: 'idle' })
    const ready: ConnectionStatus = { state: 'ready', transport: 'socket-io' }
    await settle(() => cells.connection.set(ready))
    expect(result.current).toBe(ready)
  })

  it('hooks with a conversation id return the data of that conversation', async () => {
    const { cells, wrapper } = createStage()
    const { result } = renderHook(
      () => ({
        summary: useConversation('c'),
        view: useMessages('c'),
        typing: useTyping('c'),
        list: useConversations(),
      }),
      { wrapper },
    )
    expect(result.current.summary).toBeUndefined()
    expect(result.current.view.loading).toBe('newest')
    await settle(() => {
      cells.typing.set(['ada'])
      cells.view.set({ items: [], isLoaded: true, hasOlder: false, hasNewer: false, loading: 'nothing' })
    })
    expect(result.current.typing).toEqual(['ada'])
    expect(result.current.view.isLoaded).toBe(true)
  })

  it('`useUser` returns the user of its current id, and none without an id', async () => {
    const { cells, wrapper } = createStage()
    const initialProps: { id: string | undefined } = { id: 'ada' }
    const { result, rerender } = renderHook(({ id }) => useUser(id), { wrapper, initialProps })
    expect(result.current).toBeUndefined()
    expect(cells.ada.watchers()).toBe(1)
    rerender({ id: 'bob' })
    expect(result.current?.name).toBe('Bob')
    expect(cells.ada.watchers()).toBe(0)
    rerender({ id: undefined })
    expect(result.current).toBeUndefined()
    expect(cells.bob.watchers()).toBe(0)
  })

  it('a hook requests its data from the client once, not on every render', () => {
    const { wrapper, observeUser } = createStage()
    const { rerender } = renderHook(() => useUser('bob'), { wrapper })
    const calls = observeUser.mock.calls.length
    rerender()
    rerender()
    expect(observeUser.mock.calls.length).toBe(calls)
  })

  it('a hook unsubscribes when its component unmounts', () => {
    const { cells, wrapper } = createStage()
    const { unmount } = renderHook(() => usePresence('ada'), { wrapper })
    expect(cells.presence.watchers()).toBe(1)
    unmount()
    expect(cells.presence.watchers()).toBe(0)
  })

  it('a component renders once for a burst of changes', async () => {
    const { cells, client } = createStage()
    const renders: string[] = []
    const Unread = () => <output>{useUnread()}</output>
    render(
      <ChatProvider client={client}>
        <Profiler id='unread' onRender={(id) => renders.push(id)}>
          <Unread />
        </Profiler>
      </ChatProvider>,
    )
    await settle(() => {
      for (let unread = 1; unread <= 100; unread += 1) cells.unread.set(unread)
    })
    expect(screen.getByRole('status').textContent).toBe('100')
    expect(renders).toHaveLength(2)
  })

  it('hooks return empty values until the client starts, and then follow the session', async () => {
    const { cells, wrapper } = createStage()
    const idle = createChatClient({ url: 'http://chat.example' })
    const wrapIdle = ({ children }: { readonly children: ReactNode }) => (
      <ChatProvider client={idle}>{children}</ChatProvider>
    )
    const { result } = renderHook(
      () => [
        useSession().status,
        useConversation('c'),
        useMessages('c').items,
        useMembers('c'),
        useReadMarkers('c').size,
        useTyping('c'),
        useConversationPresence('c').size,
        useConversationUnread('c'),
        useLiveValues('c', 'location').size,
        useUser('u'),
        usePresence('u')?.status,
        useOutbox(),
        useStorage(),
        useUnread(),
      ],
      { wrapper: wrapIdle },
    )
    expect(result.current).toEqual([
      'unknown',
      undefined,
      [],
      undefined,
      0,
      [],
      0,
      0,
      0,
      undefined,
      'unknown',
      [],
      'memory',
      0,
    ])
    const looked = renderHook(() => useConversation('c'), { wrapper })
    await settle(() => cells.summary.set({ name: 'Of Ada' } as ConversationSummary))
    expect(looked.result.current?.name).toBe('Of Ada')
    cells.handles.summary = cell<ConversationSummary | undefined>(undefined)
    await settle(() => cells.session.set({ status: 'unknown' }))
    expect(looked.result.current).toBeUndefined()
  })
})
