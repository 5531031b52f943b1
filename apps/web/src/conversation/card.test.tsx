// @vitest-environment happy-dom
import {
  ChorusError,
  type ActOutcome,
  type Card,
  type CardAct,
  type CardState,
  type ChatClient,
  type PageMessage,
} from '@chorus/client'
import { ChatProvider } from '@chorus/react'
import { act, cleanup, fireEvent, render, screen } from '@testing-library/react'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createDrafts } from '../drafts/drafts.ts'
import { MeContext } from '../people/me.tsx'
import { describeMessage } from '../summary/title.ts'
import { MessageCard } from './card.tsx'

afterEach(cleanup)

const me = { id: 'me', handle: 'me', name: 'Me', avatar: null, bot: false }
const names: Readonly<Record<string, string>> = { ada: 'Ada', bob: 'Bob' }

const signed = {
  iss: 'http://chat.test',
  conversation: 'c',
  card: 'x',
  version: 1,
  type: 'offer',
  title: 'Blue shoes',
  fields: { Size: '42', Price: '30 €' },
  actions: [
    { id: 'accept', label: 'Accept' },
    { id: 'decline', label: 'Decline', by: ['ada', 'bob'] },
  ],
  state: 'awaiting-payment',
  iat: 1,
}

// The unsigned fields differ, so that a test sees which of them are shown.
const beside: Card = {
  version: 1,
  type: 'offer',
  title: 'Gold shoes',
  fields: { Price: '1 €' },
  actions: [],
  state: 'open',
  acted: null,
  jws: 'a.b.c',
}

const message: PageMessage = {
  conversation: 'c',
  seq: 7,
  version: 7,
  clientId: 'x',
  sender: 'bot',
  text: '',
  replyTo: null,
  attachments: [],
  data: null,
  createdAt: '2026-11-22T10:00:00Z',
  editedAt: null,
  deletedAt: null,
  reactions: [],
  card: beside,
}

const verified = (card: Partial<typeof signed> = {}, acted: Card['acted'] = null): CardState => ({
  status: 'verified',
  card: { ...signed, ...card },
  acted,
})

function show(state: CardState, outcome: () => Promise<ActOutcome> = () => new Promise(() => undefined)) {
  const constant = <Value,>(value: Value) => ({ get: () => value, subscribe: () => () => undefined })
  const observed = constant(state)
  const take = vi.fn((_act: CardAct) => outcome())
  const client = {
    session: constant({ status: 'signed-in' }),
    conversation: () => ({ messages: { card: () => observed, act: take } }),
    users: { observe: (id: string) => constants[id] ?? constant(undefined) },
  } as unknown as ChatClient
  const constants = Object.fromEntries(Object.entries(names).map(([id, name]) => [id, constant({ id, name })]))
  const { container } = render(
    <ChatProvider client={client}>
      <MeContext value={{ user: me, drafts: createDrafts('me', undefined) }}>
        <MessageCard message={message} card={beside} isReachable />
      </MeContext>
    </ChatProvider>,
  )
  return { take, container }
}

const buttons = (): (string | null)[] => screen.queryAllByRole('button').map(({ textContent }) => textContent)

describe('a card', () => {
  it('[CARD2] shows the signed payload and the actions of this user', () => {
    const { container } = show(verified())
    expect(screen.getByRole('region', { name: 'Card: Blue shoes' })).toBeDefined()
    expect([...container.querySelectorAll('dt, dd')].map(({ textContent }) => textContent)).toEqual([
      'Size',
      '42',
      'Price',
      '30 €',
    ])
    expect(container.textContent).toContain('Awaiting payment')
    expect(container.textContent).not.toContain('Gold')
    expect(buttons()).toEqual(['Accept'])
  })

  it('[CARD1] acts once, with the version on the screen', async () => {
    const { take } = show(verified({ version: 3 }))
    const button = screen.getByRole('button', { name: 'Accept' })
    fireEvent.click(button)
    fireEvent.click(button)
    expect(take.mock.calls).toEqual([[{ seq: 7, version: 3, action: 'accept' }]])
    expect(button.getAttribute('aria-disabled')).toBe('true')
    expect(button.getAttribute('aria-busy')).toBe('true')
    await act(async () => undefined)
  })

  it('[CARD1] shows that another member acted first', async () => {
    const acted = { seq: 8, action: 'decline', actor: 'ada' }
    show(verified(), () => Promise.resolve({ status: 'stale', card: { ...beside, acted } }))
    fireEvent.click(screen.getByRole('button', { name: 'Accept' }))
    await screen.findByText('Someone else was first.')
  })

  it('an act that fails says why, and the button works again', async () => {
    show(verified(), () => Promise.reject(new ChorusError('unavailable', 'unable to act; offline')))
    fireEvent.click(screen.getByRole('button', { name: 'Accept' }))
    await screen.findByText('Couldn’t do that. The server can’t be reached. Try again in a moment.')
    expect(screen.getByRole('button', { name: 'Accept' }).getAttribute('aria-disabled')).toBe('false')
  })

  it('shows the outcome instead of the buttons', () => {
    const { container } = show(verified({}, { seq: 8, action: 'accept', actor: 'ada' }))
    expect(container.textContent).toContain('Ada chose Accept')
    expect(buttons()).toEqual([])
    cleanup()
    expect(show(verified({}, { seq: 8, action: 'gone', actor: 'me' })).container.textContent).toContain(
      'You chose Gone',
    )
  })

  it('names the users that a card waits for, and a final card has no button', () => {
    const [, decline] = signed.actions
    const { container } = show(verified({ actions: [decline!] }))
    expect(container.textContent).toContain('Waiting for Ada or Bob')
    cleanup()
    expect(show(verified({ actions: [] })).container.textContent).not.toContain('Waiting')
    expect(buttons()).toEqual([])
  })

  it('[CARD2] shows a card that is not verified as a plain block with a note', () => {
    const { container } = show({ status: 'refused', reason: 'signature' })
    expect(screen.getByText('Where this comes from isn’t proven')).toBeDefined()
    expect([...container.querySelectorAll('dd')].map(({ textContent }) => textContent)).toEqual([
      'Gold shoes',
      'Open',
      '1 €',
    ])
    expect(buttons()).toEqual([])
  })

  it('[CARD2] hides its content while the signature is checked', () => {
    show({ status: 'verifying' })
    expect(screen.getByRole('region', { name: 'Checking a card' }).getAttribute('aria-busy')).toBe('true')
    expect(document.querySelector('.card-hidden')?.getAttribute('aria-hidden')).toBe('true')
  })

  it('a list names a message with a card by the title of the card', () => {
    expect(describeMessage(message)).toBe('Gold shoes')
  })
})
