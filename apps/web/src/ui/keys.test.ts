// @vitest-environment happy-dom
import { describe, expect, it, vi } from 'vitest'
import { guardCompositions, isComposing, latinKey } from './keys.ts'

const press = (key: string, code = '', shiftKey = false) => latinKey({ key, code, shiftKey })

describe('keyboard events', () => {
  it.each([
    ['k', 'KeyK', 'k'],
    ['K', 'KeyK', 'k'],
    ['л', 'KeyK', 'k'],
    ['Л', 'KeyK', 'k'],
    ['κ', 'KeyK', 'k'],
    ['ל', 'KeyK', 'k'],
    ['لا', 'KeyB', 'b'],
    // On Dvorak and AZERTY keyboards, Latin letters have other positions. The letter counts, not
    // the position.
    ['k', 'KeyV', 'k'],
    ['q', 'KeyA', 'q'],
    ['Enter', 'Enter', 'enter'],
    ['ö', 'Semicolon', 'ö'],
  ])('the key %j at the position %s counts as %j', (key, code, expected) => expect(press(key, code)).toBe(expected))

  it('the question mark of an Arabic keyboard layout counts as ?', () => expect(press('؟', 'Slash', true)).toBe('?'))

  it.each([
    [{ isComposing: true, keyCode: 13 }, true],
    [{ isComposing: false, keyCode: 229 }, true],
    [{ isComposing: false, keyCode: 13 }, false],
  ])('keys of an input method are recognized: %j', (event, expected) => expect(isComposing(event)).toBe(expected))

  it('listeners of the page do not receive keys that an input method handles', () => {
    guardCompositions(window)
    const field = document.createElement('input')
    const listener = vi.fn()
    document.body.append(field)
    for (const target of [field, document, window]) target.addEventListener('keydown', listener)
    const enter = (init: KeyboardEventInit) =>
      new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true, ...init })
    expect(field.dispatchEvent(enter({ isComposing: true }))).toBe(false)
    expect(field.dispatchEvent(enter({ keyCode: 229 }))).toBe(false)
    expect(listener).not.toHaveBeenCalled()
    expect(field.dispatchEvent(enter({ keyCode: 13 }))).toBe(true)
    expect(listener).toHaveBeenCalledTimes(3)
  })
})
