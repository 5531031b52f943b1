/**
 * Hook that returns one message by its seq, for quotes and for the composer. Fetches the message
 * from the server if it is not loaded.
 */
import type { PageMessage } from '@chorus/client'
import { useChat } from '@chorus/react'
import { useEffect, useState } from 'react'
import { describeMessage } from '../summary/title.ts'

export type FoundMessage = PageMessage | 'missing' | undefined

/**
 * Returns the message, undefined while it is being fetched, or `missing` if it cannot be fetched.
 */
export function useMessage(conversation: string, seq: number, loaded?: PageMessage): FoundMessage {
  const chat = useChat()
  const [fetched, setFetched] = useState<{ readonly seq: number; readonly message: PageMessage | 'missing' }>()
  const found = loaded ?? (fetched?.seq === seq ? fetched.message : undefined)
  const isNeeded = found === undefined

  useEffect(() => {
    if (!isNeeded) return
    let isWanted = true
    chat
      .conversation(conversation)
      .messages.get(seq)
      .then((message) => isWanted && setFetched({ seq, message }))
      .catch(() => isWanted && setFetched({ seq, message: 'missing' }))
    return () => {
      isWanted = false
    }
  }, [chat, conversation, seq, isNeeded])

  return found
}

export function describeFound(message: FoundMessage): string {
  if (message === undefined) return '…'
  return message === 'missing' ? 'Message not available' : describeMessage(message)
}
