/**
 * The actions that a user can take on a message (reply, edit, react and so on), as one object. The
 * object stays the same while a conversation is open, so that it never causes the rows to render
 * again.
 */
import type { PageMessage } from '@chorus/client'
import { createContext, useContext } from 'react'
import type { MenuAnchor } from '../ui/menu.tsx'

export interface MessageActions {
  readonly reply: (message: PageMessage) => void
  readonly edit: (message: PageMessage) => void
  readonly askToDelete: (message: PageMessage) => void
  readonly toggleReaction: (message: PageMessage, emoji: string) => void
  readonly pickReaction: (message: PageMessage, anchor: MenuAnchor) => void
  readonly openMenu: (message: PageMessage, anchor: MenuAnchor) => void
  readonly jumpTo: (seq: number) => void
  readonly retry: (clientId: string) => void
  readonly discard: (clientId: string) => void
  /**
   * Returns the message with this seq if it is loaded already, otherwise undefined. Used for
   * quotes.
   */
  readonly find: (seq: number) => PageMessage | undefined
}

export const MessageActionsContext = createContext<MessageActions | undefined>(undefined)

export function useMessageActions(): MessageActions {
  const actions = useContext(MessageActionsContext)
  if (actions === undefined) throw new Error('unable to act on a message; this component is outside a conversation')
  return actions
}
