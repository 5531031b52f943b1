import { describe, expect, it, vi } from 'vitest'
import { createReloadOnce, type Surroundings } from './missing-script.ts'

function createPage(change: Partial<Surroundings> = {}) {
  const data = new Map<string, string>()
  const reload = vi.fn()
  const surroundings: Surroundings = {
    storage: { getItem: (key) => data.get(key) ?? null, setItem: (key, value) => void data.set(key, value) },
    isOnline: () => true,
    fetch: async () => new Response('<!doctype html>'),
    reload,
    ...change,
  }
  return { reload, missing: (build: string) => createReloadOnce(build, surroundings)() }
}

describe('a script that fails to load', () => {
  it('a missing script reloads the page at most once for each build', async () => {
    const { reload, missing } = createPage()
    for (const build of ['a', 'a', 'a', 'b', 'b']) await missing(build)
    expect(reload).toHaveBeenCalledTimes(2)
  })

  it('several missing scripts reload the page only once', async () => {
    const { reload } = createPage()
    const data = new Map<string, string>()
    const missing = createReloadOnce('a', {
      storage: { getItem: (key) => data.get(key) ?? null, setItem: (key, value) => void data.set(key, value) },
      isOnline: () => true,
      fetch: async () => new Response(''),
      reload,
    })
    await Promise.all([missing(), missing(), missing()])
    expect(reload).toHaveBeenCalledTimes(1)
  })

  it.each<[string, Partial<Surroundings>]>([
    ['offline', { isOnline: () => false }],
    ['while the server does not answer', { fetch: () => Promise.reject(new TypeError('Failed to fetch')) }],
    ['while the server fails', { fetch: async () => new Response('', { status: 503 }) }],
    ['while the server delivers the same build', { fetch: async () => new Response('<script src="/assets/a">') }],
    ['without storage', { storage: undefined }],
    [
      'where storage refuses',
      {
        storage: {
          getItem: () => null,
          setItem: () => {
            throw new Error('quota')
          },
        },
      },
    ],
  ])('a missing script does not reload the page %s', async (_when, change) => {
    const { reload, missing } = createPage(change)
    await missing('http://127.0.0.1/assets/a')
    expect(reload).not.toHaveBeenCalled()
  })
})
