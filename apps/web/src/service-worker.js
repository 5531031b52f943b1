/**
 * Shows the application without a network. It answers navigations with the cached shell and hashed files from its cache, and never
 * touches anything else: the log lives in the application's own store, so `/v1` and `/socket.io` always go to the server.
 * The build puts `version` and `shell` (the files to keep) above these lines. Old caches go when a new version takes over.
 */
/* global version, shell, self, caches, fetch */
const cacheName = `chorus-shell-${version}`
const page = '/'
/** A server that is slow to answer a navigation is treated like none: the shell shows what there is. */
const navigationTimeoutMs = 3000

self.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(cacheName)
      .then((cache) => cache.addAll([new Request(page, { cache: 'reload' }), ...shell]))
      .then(() => self.skipWaiting()),
  )
})

self.addEventListener('activate', (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) =>
        Promise.all(
          names.filter((name) => name.startsWith('chorus-') && name !== cacheName).map((name) => caches.delete(name)),
        ),
      )
      .then(() => self.clients.claim()),
  )
})

self.addEventListener('fetch', (event) => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== self.location.origin) return
  if (request.mode === 'navigate') {
    if (!url.pathname.startsWith('/v1')) event.respondWith(answerNavigation(event))
    return
  }
  if (url.pathname.startsWith('/assets/') || shell.includes(url.pathname)) event.respondWith(answerFile(event))
})

async function answerNavigation(event) {
  const cache = await caches.open(cacheName)
  const fresh = fetch(event.request).then((response) => {
    if (!response.ok) throw new Error(`status ${response.status}`)
    return response
  })
  fresh.catch(() => undefined)
  const late = new Promise((_resolve, reject) => setTimeout(() => reject(new Error('timeout')), navigationTimeoutMs))
  try {
    return await Promise.race([fresh, late])
  } catch {
    return (await cache.match(page, { ignoreVary: true })) ?? fresh
  }
}

async function answerFile(event) {
  // A file's name says all about its content; that the server varies by origin or encoding does not concern the cache.
  const cached = await caches.match(event.request, { ignoreVary: true })
  if (cached !== undefined) return cached
  const response = await fetch(event.request)
  if (response.ok && response.type === 'basic') {
    const copy = response.clone()
    event.waitUntil(caches.open(cacheName).then((cache) => cache.put(event.request, copy)))
  }
  return response
}
