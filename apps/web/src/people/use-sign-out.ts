import { useChat } from '@chorus/react'
import { useCallback } from 'react'
import { attempt } from '../notices/explain-error.ts'

/**
 * Returns a function that signs the user out. It asks for confirmation if messages are not sent
 * yet, because signing out deletes them.
 */
export function useSignOut(): () => void {
  const chat = useChat()
  return useCallback(() => {
    const waiting = chat.outbox.get().filter(({ status }) => status.state !== 'acknowledged').length
    const question = `${waiting === 1 ? 'One message has' : `${waiting} messages have`} not been sent yet and will be deleted. Sign out anyway?`
    if (waiting > 0 && !window.confirm(question)) return
    attempt(chat.signOut(), 'Couldn’t sign out')
  }, [chat])
}
