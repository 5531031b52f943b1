import { describe, expect, it } from 'vitest'
import { hueOf, initialsOf, lettersOf } from './identity.ts'

describe('identity of a person', () => {
  it.each([
    ['Ada Lovelace', 'AL'],
    ['ada', 'A'],
    ['Grace Brewster Murray Hopper', 'GH'],
    ['  ', '?'],
    ['👩‍🚀 Sally', '👩‍🚀S'],
    ['Éloïse', 'É'],
  ])('shortens the name %j to %j', (name, expected) => expect(initialsOf(name)).toBe(expected))

  it.each([
    ['general', 'GE'],
    ['x', 'X'],
    ['Group number 7', 'G7'],
    ['release-notes', 'RN'],
    ['#team: design', 'TD'],
    ['Ada, Bob and 3 more', 'AM'],
    ['  ', '#'],
    ['日本語', '日本'],
    ['👩‍🚀', '👩‍🚀'],
  ])('takes the letters of the group or channel %j: %j', (name, expected) => expect(lettersOf(name)).toBe(expected))

  it('gives the same id the same hue, and uses all twelve', () => {
    const hues = new Set(Array.from({ length: 500 }, (_, index) => hueOf(`user-${index}`)))
    expect(hues.size).toBe(12)
    expect(hueOf('user-1')).toBe(hueOf('user-1'))
  })
})
