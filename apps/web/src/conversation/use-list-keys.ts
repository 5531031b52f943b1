/**
 * Keyboard control of the message list. The arrow keys, Home and End move between messages. ← and →
 * move to the buttons of a message. Letters run actions on a message.
 */
import { useCallback, type KeyboardEvent } from 'react'
import { flushSync } from 'react-dom'
import { latinKey } from '../ui/keys.ts'
import { useMessageActions, type MessageActions } from './message-actions.ts'
import { aroundIndex, keysOf } from './message-list-layout.ts'
import type { MessageRow } from './rows.ts'
import { noAim, type AimState } from './use-aim.ts'
import type { ListRows } from './use-list-rows.ts'
import { unreadLinePx, type ListPlace } from './use-place.ts'

/** CSS selector of the elements inside a message that ← and → reach. */
const stops = '.quote, .card button, .message-toolbar button, .reaction, .message-failed button'

/**
 * Returns a function that moves the focus to a row of the list. Draws the row first if it is not in
 * the DOM.
 */
export function useFocusRow(
  { names, keys }: ListRows,
  { scroller, setRangeKeys }: ListPlace,
  setAim: AimState['setAim'],
  setReachable: (key: string) => void,
): (index: number) => void {
  return useCallback(
    (index: number) => {
      const row = names[index]
      if (row === undefined) return
      flushSync(() => {
        setAim(noAim)
        setReachable(row.key)
        if (scroller.childAt(index) !== undefined) return
        scroller.wantRow(row, unreadLinePx)
        setRangeKeys(keysOf(aroundIndex(index, keys.length), keys))
      })
      scroller.reveal(index)
      scroller.childAt(index)?.querySelector<HTMLElement>('.message')?.focus({ preventScroll: true })
    },
    [names, keys, scroller, setRangeKeys, setAim, setReachable],
  )
}

type Act = () => void

/** Returns the handler of key presses in the message list. */
export function useListKeys(
  rows: readonly MessageRow[],
  focusRow: (index: number) => void,
): (event: KeyboardEvent<HTMLDivElement>) => void {
  const actions = useMessageActions()
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof HTMLElement)) return
    const article = event.target.closest<HTMLElement>('.message')
    const key = article?.closest<HTMLElement>('[data-row]')?.dataset['row']
    const index = rows.findIndex((row) => row.key === key)
    const row = rows[index]
    if (article === null || row === undefined) return
    const act =
      moveToRow(event.key, index, rows.length, focusRow) ??
      moveInMessage(event.key, event.target, article) ??
      (event.target === article ? actOnMessage(latinKey(event.nativeEvent), row, article, actions) : undefined)
    if (act === undefined) return
    event.preventDefault()
    event.stopPropagation()
    act()
  }
}

function moveToRow(key: string, index: number, count: number, focusRow: (index: number) => void): Act | undefined {
  switch (key) {
    case 'ArrowUp':
      return () => focusRow(Math.max(0, index - 1))
    case 'ArrowDown':
      return () => focusRow(Math.min(count - 1, index + 1))
    case 'Home':
      return () => focusRow(0)
    case 'End':
      return () => focusRow(count - 1)
  }
  return undefined
}

/**
 * Moves the focus between a message and the elements inside it. Escape returns to the message.
 * Returns undefined for other keys.
 */
function moveInMessage(key: string, focused: HTMLElement, article: HTMLElement): Act | undefined {
  switch (key) {
    case 'ArrowRight':
    case 'ArrowLeft': {
      const buttons = [...article.querySelectorAll<HTMLElement>(stops)]
      const at = buttons.indexOf(focused)
      const next = at + (key === 'ArrowRight' ? 1 : -1)
      if (buttons.length === 0 || (at === -1 && key === 'ArrowLeft')) return undefined
      return () => (buttons[next] ?? article).focus()
    }
    case 'Escape':
      return focused === article ? undefined : () => article.focus()
  }
  return undefined
}

function actOnMessage(key: string, row: MessageRow, article: HTMLElement, actions: MessageActions): Act | undefined {
  if (row.item.kind !== 'message' || row.item.message.deletedAt !== null) return undefined
  const { message } = row.item
  switch (key) {
    case 'r':
      return () => actions.reply(message)
    case 'e':
      return () => row.isMine && actions.edit(message)
    case 'a':
      return () => actions.pickReaction(message, article.querySelector('.bubble') ?? article)
    case 'm':
    case 'enter':
      return () => actions.openMenu(message, article.querySelector('.bubble') ?? article)
    case 'delete':
      return () => actions.askToDelete(message)
  }
  return undefined
}
