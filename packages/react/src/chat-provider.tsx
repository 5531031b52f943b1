/** Gives the hooks their client. The application makes, starts and stops it: a provider that did would reconnect on every remount. */
import type { ChatClient } from '@chorus/client'
import { createContext, useContext, type ReactNode } from 'react'

const ChatContext = createContext<ChatClient | undefined>(undefined)

export interface ChatProviderProps {
  readonly client: ChatClient
  readonly children: ReactNode
}

/**
 * Makes a client available to all hooks below.
 *
 * ```tsx
 * const client = createChatClient({ url: location.origin })
 * void client.start()
 * createRoot(element).render(<ChatProvider client={client}><App /></ChatProvider>)
 * ```
 */
export function ChatProvider({ client, children }: ChatProviderProps) {
  // A context is a provider by itself only from React 19 on.
  return <ChatContext.Provider value={client}>{children}</ChatContext.Provider>
}

/** The client, for everything that is done rather than shown. */
export function useChat(): ChatClient {
  const client = useContext(ChatContext)
  if (client === undefined)
    throw new Error('unable to find the chat client; there is no ChatProvider above this component')
  return client
}
