/**
 * An `Aim` is a target to which the message list scrolls by itself: the unread line, a message, or
 * the end. This file holds the aim and loads the page with its row. `use-place.ts` scrolls there.
 */
import type { Messages, TimelineView } from '@chorus/client'
import { useEffect, useRef, useState, type Dispatch, type SetStateAction } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { seqOf, type MessageRow } from './rows.ts'
import type { ListRows } from './use-list-rows.ts'

/**
 * Target to which the list scrolls by itself, once the required rows are loaded. Scrolling cancels
 * an aim that the user did not ask for.
 */
export type Aim =
  | { readonly at: 'nothing' }
  | { readonly at: 'end' }
  /** First unread message. Known as soon as this device has caught up. */
  | { readonly at: 'unread' }
  | {
      readonly at: 'message'
      readonly seq: number
      /** Offset of the message from the top of the list. By default, the message is centred. */
      readonly offsetPx?: number
      /**
       * Whether the user asked for this message. If so, a failure is shown, and the message is
       * highlighted on arrival.
       */
      readonly isAsked: boolean
    }

export const noAim: Aim = { at: 'nothing' }

export interface AimState {
  readonly aim: Aim
  readonly setAim: Dispatch<SetStateAction<Aim>>
  /** Index of the row of the aim, or -1. */
  readonly index: number
  /** Whether the row of the aim is on a page that is not loaded. */
  readonly needsPage: boolean
}

export function useAim(initialSeq: number | undefined, { rows, isLineLoaded }: ListRows, view: TimelineView): AimState {
  const [aim, setAim] = useState<Aim>(
    initialSeq === undefined ? { at: 'unread' } : { at: 'message', seq: initialSeq, isAsked: true },
  )
  const index = indexOfAim(aim, rows)
  return { aim, setAim, index, needsPage: index === -1 && needsPage(aim, view, isLineLoaded) }
}

const loadsMax = 3

interface AimedPageOptions {
  readonly view: TimelineView
  readonly messages: Messages
  readonly unreadAfter: number | undefined
  readonly isCurrent: boolean
  /** Whether the set of unread messages is certain. */
  readonly isDecided: boolean
  readonly hasArrived: boolean
}

/**
 * Loads the page that an aim needs. Waits while another page is loading, because a second request
 * would be dropped.
 */
export function useAimedPage({ aim, setAim, index, needsPage }: AimState, options: AimedPageOptions): void {
  const { view, messages, unreadAfter, isCurrent, isDecided, hasArrived } = options
  const loads = useRef<{ readonly aim: Aim; readonly count: number }>({ aim, count: 0 })
  useEffect(() => {
    if (aim.at === 'nothing' || view.loading !== 'nothing') return
    if (!needsPage) {
      // This device has caught up and nothing is unread: go to the end.
      if (aim.at === 'unread' && isDecided && index === -1 && view.isLoaded) setAim({ at: 'end' })
      return
    }
    const isPressed = aim.at === 'message' && aim.isAsked && hasArrived
    if (!isCurrent && !isPressed) return
    const giveUp = (error: unknown): void => {
      setAim((present) => (present === aim ? noAim : present))
      const isSaid = aim.at === 'end' || (aim.at === 'message' && aim.isAsked)
      const what = aim.at === 'end' ? 'Couldn’t load the newest messages' : 'Couldn’t go to that message'
      if (isSaid) attempt(Promise.reject(error instanceof Error ? error : new Error('not loaded')), what)
    }
    const count = loads.current.aim === aim ? loads.current.count + 1 : 1
    loads.current = { aim, count }
    if (count > loadsMax) giveUp(undefined)
    else if (aim.at === 'end') messages.loadNewest().catch(giveUp)
    else messages.loadAround(aimedSeq(aim, unreadAfter)).catch(giveUp)
  }, [
    aim,
    setAim,
    index,
    needsPage,
    view.loading,
    view.isLoaded,
    isCurrent,
    isDecided,
    hasArrived,
    messages,
    unreadAfter,
  ])
}

function indexOfAim(aim: Aim, rows: readonly MessageRow[]): number {
  switch (aim.at) {
    case 'nothing':
    case 'end':
      return -1
    case 'unread':
      return rows.findIndex(({ startsUnread }) => startsUnread)
    case 'message':
      return rows.findIndex((row) => seqOf(row) === aim.seq)
  }
}

/** Returns whether an aim whose row is missing needs a page that is not loaded. */
function needsPage(aim: Aim, view: TimelineView, isLineLoaded: boolean): boolean {
  switch (aim.at) {
    case 'nothing':
      return false
    case 'end':
      return view.hasNewer
    case 'unread':
      return !isLineLoaded
    case 'message':
      return true
  }
}

function aimedSeq(aim: Aim, unreadAfter: number | undefined): number {
  return aim.at === 'message' ? aim.seq : Math.max(1, unreadAfter ?? 1)
}
