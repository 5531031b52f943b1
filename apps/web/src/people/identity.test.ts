import { describe, expect, it } from 'vitest'
import { hueOf, initialsOf, lettersOf } from './identity.ts'

describe('the default picture of a person or channel', () => {
  it.each([
    ['Ada Lovelace', 'AL'],
    ['ada', 'A'],
    ['Grace Brewster Murray Hopper', 'GH'],
    ['  ', '?'],
    ['👩‍🚀 Sally', '👩‍🚀S'],
    ['Éloïse', 'É'],
  ])('the initials of the person %j are %j', (name, expected) => expect(initialsOf(name)).toBe(expected))

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
  ])('the letters of the group or channel %j are %j', (name, expected) => expect(lettersOf(name)).toBe(expected))

  it('an id always gets the same hue, out of twelve', () => {
    const hues = new Set(Array.from({ length: 500 }, (_, index) => hueOf(`user-${index}`)))
    expect(hues.size).toBe(12)
    expect(hueOf('user-1')).toBe(hueOf('user-1'))
  })
})
