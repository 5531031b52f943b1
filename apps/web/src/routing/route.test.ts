import { describe, expect, it } from 'vitest'
import { formatRoute, parseRoute, type Route } from './route.ts'

const conversation = '0192f0c1-7b1a-7000-8000-0123456789ab'

describe('routes', () => {
  it.each<[string, Route]>([
    ['/', { at: 'home' }],
    [`/c/${conversation}`, { at: 'conversation', conversation }],
    [`/c/${conversation}/42`, { at: 'conversation', conversation, seq: 42 }],
    ['/settings', { at: 'settings', section: 'profile' }],
    ['/settings/sessions', { at: 'settings', section: 'sessions' }],
  ])('the address %s is parsed to a route and formatted back', (path, route) => {
    expect(parseRoute(path)).toEqual(route)
    expect(formatRoute(route)).toBe(path)
  })

  it.each([
    '/nowhere',
    '/c',
    '/c/not-an-id',
    `/c/${conversation}/0`,
    `/c/${conversation}/1/2`,
    '/settings/unknown',
    '//evil.example',
  ])('the unknown address %s leads to the home route', (path) => expect(parseRoute(path)).toEqual({ at: 'home' }))
})
