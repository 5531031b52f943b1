/**
 * Entry of the application: creates the client, renders the application, and registers the service
 * worker, which serves it without a network.
 */
import './styles/shared.css'
import { createChatClient, createIndexedDbStore } from '@chorus/client'
import { ChatProvider } from '@chorus/react'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { showNotice } from './notices/notices.ts'
import { refuseFiles } from './shell/refuse-files.ts'
import { guardCompositions } from './ui/keys.ts'
import { createReloadOnce } from './ui/missing-script.ts'
import { ErrorBoundary } from './ui/trouble.tsx'

// Must run before React adds its own key listeners, because it hides the keys of an input method
// (such as a Japanese keyboard) from them.
guardCompositions(window)
refuseFiles(window)

const client = createChatClient({
  url: window.location.origin,
  store: createIndexedDbStore(),
  onError: (error) => console.error(error), // eslint-disable-line no-console
})

const root = document.getElementById('root')
if (root === null) throw new Error('unable to show the application; the page has no root element')

createRoot(root).render(
  <StrictMode>
    <ErrorBoundary what='Chorus'>
      <ChatProvider client={client}>
        <App />
      </ChatProvider>
    </ErrorBoundary>
  </StrictMode>,
)

client.start().catch((error: unknown) => {
  showNotice({
    tone: 'error',
    text: error instanceof Error ? error.message : 'Chorus couldn’t start. Reload the page.',
  })
})

const reloadOnce = createReloadOnce(import.meta.url, {
  storage: sessionStorageOrNone(),
  isOnline: () => navigator.onLine,
  fetch: (...request) => fetch(...request),
  reload: () => window.location.reload(),
})
window.addEventListener('vite:preloadError', () => void reloadOnce())

function sessionStorageOrNone(): Storage | undefined {
  try {
    return window.sessionStorage
  } catch {
    return undefined
  }
}

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  window.addEventListener('load', () => {
    navigator.serviceWorker.register('/sw.js').catch(() => undefined)
  })
}
