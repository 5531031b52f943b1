/**
 * Service worker that shows the application without a network. It answers page loads with the
 * cached application shell (its page, scripts and styles), and serves files with a hash in their
 * name from its cache. It never touches other requests: messages have their own store in the
 * client, so `/v1` and `/socket.io` always go to the server. The build adds the constants `version`
 * and `shell` (the files to cache) above these lines. A new version deletes old caches when it
 * takes over.
 */
/* global version, shell, self, caches, fetch */
const cacheName = `chorus-shell-${version}`
const page = '/'
/**
 * Timeout of a page load. If the server is slower, it counts as unreachable, and the cached shell
 * is shown.
 */
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
  // Ignore the server's Vary header (origin and encoding): the file name is a hash of the content,
  // so the content is always right.
  const cached = await caches.match(event.request, { ignoreVary: true })
  if (cached !== undefined) return cached
  const response = await fetch(event.request)
  if (response.ok && response.type === 'basic') {
    const copy = response.clone()
    event.waitUntil(caches.open(cacheName).then((cache) => cache.put(event.request, copy)))
  }
  return response
}
