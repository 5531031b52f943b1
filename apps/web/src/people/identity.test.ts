import { describe, expect, it } from 'vitest'
import { hueOf, initialsOf } from './identity.ts'

describe('what stands in for a person', () => {
  it.each([
    ['Ada Lovelace', 'AL'],
    ['ada', 'A'],
    ['Grace Brewster Murray Hopper', 'GH'],
    ['  ', '?'],
    ['👩‍🚀 Sally', '👩‍🚀S'],
    ['Éloïse', 'É'],
  ])('shortens %j to %j', (name, expected) => expect(initialsOf(name)).toBe(expected))

  it('gives the same id the same hue, and uses all twelve', () => {
    const hues = new Set(Array.from({ length: 500 }, (_, index) => hueOf(`user-${index}`)))
    expect(hues.size).toBe(12)
    expect(hueOf('user-1')).toBe(hueOf('user-1'))
  })
})
