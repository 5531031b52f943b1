/**
 * An `Aim` is a target to which the message list scrolls by itself: the first unread message, a
 * given message, or the end. This file stores the aim and loads the page that contains its message.
 * `use-place.ts` scrolls to it.
 */
import type { Messages, TimelineView } from '@chorus/client'
import { useEffect, useRef, useState, type Dispatch, type SetStateAction } from 'react'
import { attempt } from '../notices/explain-error.ts'
import { seqOf, type MessageRow } from './rows.ts'
import type { ListRows } from './use-list-rows.ts'

/**
 * Target to which the message list scrolls by itself as soon as the messages there are loaded. If
 * the user scrolls, the target is dropped, unless the user asked for it.
 */
export type Aim =
  | { readonly at: 'nothing' }
  | { readonly at: 'end' }
  /**
   * The target is the first unread message. It is certain only after this device has caught up with
   * the server.
   */
  | { readonly at: 'unread' }
  | {
      readonly at: 'message'
      readonly seq: number
      /** Distance of the message from the top of the list. Left out: the message is centred. */
      readonly offsetPx?: number
      /**
       * Whether the user asked to go to this message. If so, the list highlights the message on
       * arrival, and shows a notice if it cannot be loaded.
       */
      readonly isAsked: boolean
    }

export const noAim: Aim = { at: 'nothing' }

export interface AimState {
  readonly aim: Aim
  readonly setAim: Dispatch<SetStateAction<Aim>>
  /**
   * Index of the row to which the list must scroll; -1 if that row is not loaded or there is no
   * such row.
   */
  readonly index: number
  /** Whether the list must load another page before it can scroll to its target. */
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
  /** Whether this device has caught up with the server, so that it knows every unread message. */
  readonly isDecided: boolean
  readonly hasArrived: boolean
}

/**
 * Loads the page that contains the target of an aim. Waits while another page is loading, because
 * the client would drop a second request.
 */
export function useAimedPage({ aim, setAim, index, needsPage }: AimState, options: AimedPageOptions): void {
  const { view, messages, unreadAfter, isCurrent, isDecided, hasArrived } = options
  const loads = useRef<{ readonly aim: Aim; readonly count: number }>({ aim, count: 0 })
  useEffect(() => {
    if (aim.at === 'nothing' || view.loading !== 'nothing') return
    if (!needsPage) {
      // This device has caught up and no message is unread: scroll to the end instead.
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

/**
 * Returns whether the target of an aim is on a page that is not loaded. Called only if the target's
 * row is missing.
 */
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
