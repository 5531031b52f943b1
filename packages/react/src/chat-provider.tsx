/**
 * React context that gives the hooks their client. The application creates, starts and stops the
 * client. A provider that did this would reconnect each time it is mounted again.
 */
import type { ChatClient } from '@chorus/client'
import { createContext, useContext, type ReactNode } from 'react'

const ChatContext = createContext<ChatClient | undefined>(undefined)

export interface ChatProviderProps {
  readonly client: ChatClient
  readonly children: ReactNode
}

/**
 * Provides a client to the hooks of all components below it.
 *
 * ```tsx
 * const client = createChatClient({ url: location.origin })
 * void client.start()
 * createRoot(element).render(<ChatProvider client={client}><App /></ChatProvider>)
 * ```
 */
export function ChatProvider({ client, children }: ChatProviderProps) {
  // React 18 needs `.Provider`. Only React 19 accepts the context itself as a provider.
  return <ChatContext.Provider value={client}>{children}</ChatContext.Provider>
}

/**
 * Returns the client of the nearest `ChatProvider`, to call its methods. Throws without a
 * `ChatProvider` above the component.
 */
export function useChat(): ChatClient {
  const client = useContext(ChatContext)
  if (client === undefined) throw new Error('unable to find the chat client; wrap this component in a ChatProvider')
  return client
}
