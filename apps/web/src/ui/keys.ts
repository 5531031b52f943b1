/**
 * Reads keyboard events the same way in every field and list: keys of an input method are never commands, and a shortcut
 * follows the place of its key where the layout has no Latin letters.
 */
interface Key {
  readonly key: string
  readonly code: string
  readonly shiftKey: boolean
}

interface ComposedKey {
  readonly isComposing: boolean
  readonly keyCode: number
}

/**
 * True while an input method (Japanese, Chinese, Korean, dictation) takes the key. Safari ends the composition before it
 * reports the key that ended it; that key and every key of an input method have the code 229.
 */
export function isComposing({ isComposing: isInside, keyCode }: ComposedKey): boolean {
  return isInside || keyCode === 229
}

/** Returns the key in lower case; on a layout without Latin letters, the letter that a Latin keyboard has at its place. */
export function latinKey({ key, code, shiftKey }: Key): string {
  if (/[^\u0000-\u007f]/.test(key)) {
    const letter = /^Key([A-Z])$/.exec(code)?.[1]
    if (letter !== undefined) return letter.toLowerCase()
    if (code === 'Slash' && shiftKey) return '?'
  }
  return key.toLowerCase()
}

/**
 * Keeps the keys of an input method from every listener of the page, so that a new field cannot forget to ask. Enter would
 * also submit the form of a one-line field.
 */
export function guardCompositions(page: Window): void {
  page.addEventListener(
    'keydown',
    (event) => {
      if (!isComposing(event)) return
      event.stopImmediatePropagation()
      if (event.key === 'Enter' && event.target instanceof HTMLInputElement) event.preventDefault()
    },
    true,
  )
}
