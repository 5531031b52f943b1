/** The entry: makes the client, shows the application, and keeps its shell for the next time without a network. */
import './styles/tokens.css'
import './styles/base.css'
import { createChatClient, createIndexedDbStore } from '@chorus/client'
import { ChatProvider } from '@chorus/react'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { showNotice } from './notices/notices.ts'

const client = createChatClient({
  url: window.location.origin,
  store: createIndexedDbStore(),
  onError: (error) => console.error(error), // eslint-disable-line no-console
})

const root = document.getElementById('root')
if (root === null) throw new Error('unable to show the application; the page has no root element')

createRoot(root).render(
  <StrictMode>
    <ChatProvider client={client}>
      <App />
    </ChatProvider>
  </StrictMode>,
)

client.start().catch((error: unknown) => {
  showNotice({ tone: 'error', text: error instanceof Error ? error.message : 'Couldn’t start. Reload the page' })
})

// A new version on the server replaces hashed files: an old page that asks for one of them must load again.
window.addEventListener('vite:preloadError', (event) => {
  event.preventDefault()
  window.location.reload()
})

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  window.addEventListener('load', () => {
    navigator.serviceWorker.register('/sw.js').catch(() => undefined)
  })
}
