/**
 * Card of a message: title, state, fields, and the actions that this user may take. Shows only what
 * the server signed for this message (rule CARD2). A card that is not verified is a plain block with
 * a note. While the signature is checked, the card keeps its place, so nothing moves.
 */
import type { Card, CardPayload, Json, PageMessage } from '@chorus/client'
import { useCard, useChat, useUser } from '@chorus/react'
import { type MouseEvent, useState } from 'react'
import { explainError } from '../notices/explain-error.ts'
import { useMe } from '../people/me.tsx'
import { unprovenLabel } from '../text/message-text.tsx'
import { PlainBlock } from '../text/plain-block.tsx'
import './card.css'

interface MessageCardProps {
  readonly message: PageMessage
  readonly card: Card
  /** Whether the Tab key reaches the buttons, as it reaches the message. */
  readonly isReachable: boolean
}

export function MessageCard({ message, card, isReachable }: MessageCardProps) {
  const state = useCard(message)
  switch (state?.status) {
    case 'verified':
      return (
        <section className='card' aria-label={`Card: ${state.card.title}`} data-card='verified'>
          <Content card={state.card} acted={state.acted} message={message} isReachable={isReachable} />
        </section>
      )
    case 'refused':
      return (
        <section className='card' aria-label='Card whose origin is not proven' data-card='refused'>
          <PlainBlock label={unprovenLabel} value={toPlain(card)} />
        </section>
      )
    case 'verifying':
    case undefined:
      return (
        <section className='card' aria-label='Checking a card' aria-busy data-card='verifying'>
          <div className='card-hidden' aria-hidden inert>
            {isReadable(card) && <Content card={card} acted={card.acted} message={message} isReachable={false} />}
          </div>
          <p className='card-checking'>Checking where this card comes from…</p>
        </section>
      )
  }
}

type Shown = Pick<CardPayload, 'version' | 'title' | 'state' | 'fields' | 'actions'>

interface ContentProps {
  readonly card: Shown
  readonly acted: Card['acted']
  readonly message: PageMessage
  readonly isReachable: boolean
}

function Content({ card, acted, message, isReachable }: ContentProps) {
  const { user: me } = useMe()
  const { acting, notice, act } = useAct(message, card.version)
  const mine = acted === null ? card.actions.filter(({ by }) => by?.includes(me.id) ?? true) : []
  const fields = Object.entries(card.fields)
  return (
    <>
      <p className='card-head'>
        <span className='card-title'>{card.title}</span>
        <span className='card-state'>{toWords(card.state)}</span>
      </p>
      {fields.length > 0 && (
        <dl className='pairs'>
          {fields.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
      {mine.length > 0 && (
        <div className='card-actions' role='group' aria-label={`Actions: ${card.title}`}>
          {mine.map(({ id, label }, index) => (
            <button
              key={id}
              type='button'
              className={index === 0 ? 'button button-primary' : 'button'}
              tabIndex={isReachable ? 0 : -1}
              aria-disabled={acting !== undefined}
              aria-busy={acting === id}
              onClick={(event) => act(id, event)}
            >
              <span className='truncate'>{label}</span>
            </button>
          ))}
        </div>
      )}
      {acted === null && mine.length === 0 && card.actions.length > 0 && <Waiting card={card} />}
      <div role='status'>
        {acted !== null && <Outcome card={card} acted={acted} />}
        {notice !== undefined && <p className='card-notice'>{notice}</p>}
      </div>
    </>
  )
}

/** Returns the function that takes an action, the action in progress, and the result of the last act. */
function useAct(message: PageMessage, version: number) {
  const chat = useChat()
  const { user: me } = useMe()
  const [acting, setActing] = useState<string>()
  const [result, setResult] = useState<{ readonly version: number; readonly text: string }>()

  const send = async (action: string, button: HTMLElement): Promise<void> => {
    const row = button.closest<HTMLElement>('.message')
    setActing(action)
    setResult(undefined)
    try {
      const outcome = await chat.conversation(message.conversation).messages.act({ seq: message.seq, version, action })
      if (outcome.status === 'stale')
        setResult({ version: outcome.card?.version ?? version, text: explainStale(outcome.card, version, me.id) })
    } catch (error) {
      setResult({ version, text: `Couldn’t do that. ${explainError(error)}` })
    } finally {
      setActing(undefined)
      // The buttons may be gone now. Keep the focus in the list.
      const { activeElement } = document
      if (activeElement === button || activeElement === document.body) row?.focus({ preventScroll: true })
    }
  }
  return {
    acting,
    notice: result?.version === version ? result.text : undefined,
    act: (action: string, event: MouseEvent<HTMLElement>): void => {
      if (acting === undefined) void send(action, event.currentTarget)
    },
  }
}

function explainStale(card: Card | undefined, version: number, me: string): string {
  if (card?.version !== version) return 'This changed before your choice arrived. Nothing was sent.'
  return card.acted?.actor === me ? 'You had already chosen.' : 'Someone else was first.'
}

function Outcome({ card, acted }: { readonly card: Shown; readonly acted: NonNullable<Card['acted']> }) {
  const label = card.actions.find(({ id }) => id === acted.action)?.label ?? toWords(acted.action)
  return (
    <p className='card-outcome'>
      <Name id={acted.actor} /> chose {label}
    </p>
  )
}

/** Maximum number of people that a card names. */
const namesMax = 2

function Waiting({ card }: { readonly card: Shown }) {
  const users = [...new Set(card.actions.flatMap(({ by }) => by ?? []))]
  const shown = users.length > namesMax ? [] : users
  return (
    <p className='card-outcome'>
      Waiting for{' '}
      {shown.map((id, index) => (
        <span key={id}>
          {index > 0 && ' or '}
          <Name id={id} />
        </span>
      ))}
      {shown.length === 0 && 'others'}
    </p>
  )
}

function Name({ id }: { readonly id: string }) {
  const { user: me } = useMe()
  const user = useUser(id)
  return <>{id === me.id ? 'You' : (user?.name ?? '…')}</>
}

/** Turns a name such as `awaiting-payment` into words. */
function toWords(name: string): string {
  const words = name.replaceAll(/[-_.]+/g, ' ').trim()
  return words.charAt(0).toLocaleUpperCase() + words.slice(1)
}

/** Returns whether a card has the shape that this version knows. A later server may send another one. */
function isReadable(card: Partial<Card>): boolean {
  const isText = typeof card.title === 'string' && typeof card.state === 'string'
  return isText && Boolean(card.fields) && Array.isArray(card.actions)
}

/** Returns the content of a card that is not verified, as names and values. */
function toPlain({ jws: _jws, ...card }: Card): Json {
  if (!isReadable(card)) return card as unknown as Json
  return { Title: card.title, State: toWords(card.state), ...card.fields }
}
